import CCoAPPeers
import CoAPClient
import Jobs
import SAL

extension ApusJob {
    /// A handshake, a GET and the end, one after the other, on the loop. The first is not counted.
    func sessions(_ network: any DatagramNetwork) async throws {
        let (endpoint, configuration, count) = (endpoint, configuration, count)
        let box = LoopBox(job)
        // A client of its own for each; this one only brings the task onto the loop.
        let host = CoAPClient(to: endpoint, over: network, configuration: configuration)
        try await host.perform { _ in
            for done in 0...count {
                if done == 1 { coap_job_begin(box.value) }
                let client = CoAPClient(to: endpoint, over: network, configuration: configuration)
                let response = try await client.send(request("bench/small", isConfirmable: true), timeout: .seconds(10))
                guard response.code == .content else { throw BenchError("apus got \(response.code)") }
                await client.close()
            }
            coap_job_end(box.value)
        }
        await host.close()
    }

    func callbackSessions(_ network: any DatagramNetwork) async throws {
        let error = await withCheckedContinuation { (continuation: CheckedContinuation<CoAPError?, Never>) in
            let box = LoopBox((job, endpoint, configuration))
            network.loop.execute {
                CallbackSessions(box.value.0, network, box.value.1, box.value.2) { continuation.resume(returning: $0) }
                    .next()
            }
        }
        if let error { throw BenchError("apus got \(error)") }
    }
}

/// Sessions by callbacks: each response ends one, and the next begins.
private final class CallbackSessions {
    private let job: UnsafeMutablePointer<coap_job>
    private let network: any DatagramNetwork
    private let endpoint: Endpoint
    private let configuration: CoAPConfiguration
    private let finish: (CoAPError?) -> Void
    private var done = 0

    init(
        _ job: UnsafeMutablePointer<coap_job>,
        _ network: any DatagramNetwork,
        _ endpoint: Endpoint,
        _ configuration: CoAPConfiguration,
        _ finish: @escaping (CoAPError?) -> Void
    ) {
        self.job = job
        self.network = network
        self.endpoint = endpoint
        self.configuration = configuration
        self.finish = finish
    }

    func next() {
        if done == 1 { coap_job_begin(job) }
        let connection = CoAPConnection(
            to: endpoint,
            over: network,
            configuration: configuration,
            seed: .systemRandom()
        )
        do throws(CoAPError) {
            try connection.send(request("bench/small", isConfirmable: true), timeout: .seconds(10)) { [self] result in
                connection.close()
                switch result {
                case .success(let response) where response.code != .content:
                    finish(.refused(response.code, diagnostic: []))
                case .failure(let error): finish(error)
                case .success where done < Int(job.pointee.count):
                    done += 1
                    next()
                case .success:
                    coap_job_end(job)
                    finish(nil)
                }
            }
        } catch { finish(error) }
    }
}
