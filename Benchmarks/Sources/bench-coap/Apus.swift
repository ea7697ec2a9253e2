import CCoAPPeers
import CoAPClient
import Glibc
import Jobs
import Kernel
import SAL
import SecureTransport

/// What the bench does with Apus: by the `async` face, or by the callbacks that firmware uses.
struct ApusJob: @unchecked Sendable {
    // @unchecked: one thread after another uses the job.
    let job: UnsafeMutablePointer<coap_job>
    let usesCallbacks: Bool

    var endpoint: Endpoint { Endpoint(host: String(cString: job.pointee.host), port: UInt16(job.pointee.port)) }

    var configuration: CoAPConfiguration {
        var configuration = CoAPConfiguration()
        // No message ID is used twice within EXCHANGE_LIFETIME (RFC 7252, 4.4): with the standard's 247 s the 65,536 of them make 250 requests a
        // second to one peer, here 600,000. Each request says itself how long it waits, so that none gives up so soon. The others take IDs as they come.
        configuration.exchangeLifetime = .milliseconds(100)
        // NSTART, which is 1 by default: all of the window is under way. So it is for libcoap.
        configuration.outstandingLimit = window
        configuration.requestLimit = window
        return configuration
    }

    private var mode: String { String(cString: job.pointee.mode) }
    var count: Int { Int(job.pointee.count) }
    private var window: Int { max(2, mode == "memory" ? count : Int(job.pointee.inflight)) }

    func run() async throws {
        let network = try openNetwork()
        switch (mode, usesCallbacks) {
        case ("con", false), ("non", false): try await requests(network)
        case ("con", true), ("non", true): try await callbacks(network)
        case ("memory", false): try await memory(network)
        case ("memory", true): try await callbackMemory(network)
        case ("down", false), ("up", false): try await bodies(network)
        case ("down", true), ("up", true): try await callbacks(network)
        case ("session", false), ("resumed", false): try await sessions(network)
        case ("session", true), ("resumed", true): try await callbackSessions(network)
        default: throw BenchError("apus cannot do \(mode)")
        }
    }

    private func openNetwork() throws -> any DatagramNetwork {
        let network = LinuxNetwork(loop: EventLoop.start())
        guard job.pointee.is_secure != 0 else { return network }
        let (identity, key) = (Array(COAP_PSK_IDENTITY.utf8), SecretBytes(Array(COAP_PSK_KEY.utf8)))
        var configuration = TLSConfiguration(identity: .preSharedKey(identity: identity, key: key))
        if mode != "resumed" { configuration.sessions = nil }
        return try SecureDatagramNetwork(over: network, configuration)
    }

    private func requests(_ network: any DatagramNetwork) async throws {
        let client = CoAPClient(to: endpoint, over: network, configuration: configuration)
        let (isConfirmable, count, window) = (mode == "con", count, Int(job.pointee.inflight))
        try await client.requests(1, isConfirmable)
        coap_job_begin(job)
        // As many tasks as the window has places, on the client's loop: elsewhere a request costs two switches of threads more.
        try await withThrowingTaskGroup(of: Void.self) { group in
            for place in 0..<window {
                let share = count / window + (place < count % window ? 1 : 0)
                group.addTask { try await client.perform { try await $0.requests(share, isConfirmable) } }
            }
            try await group.waitForAll()
        }
        coap_job_end(job)
        await client.close()
    }

    /// One body after the other, on the client's loop.
    private func bodies(_ network: any DatagramNetwork) async throws {
        let client = CoAPClient(to: endpoint, over: network, configuration: configuration)
        let (isUp, count) = (mode == "up", count)
        try await client.requests(1, true)
        coap_job_begin(job)
        try await client.perform { client in
            for _ in 0..<count {
                let response = try await client.send(bodyRequest(isUp: isUp), timeout: .seconds(60))
                guard isWhole(response, isUp: isUp) else { throw BenchError("apus got \(response.code)") }
            }
        }
        coap_job_end(job)
        await client.close()
    }

    private func callbacks(_ network: any DatagramNetwork) async throws {
        let answered = await withCheckedContinuation { (continuation: CheckedContinuation<Int, Never>) in
            let (job, endpoint, configuration) = (LoopBox(job), endpoint, configuration)
            network.loop.execute {
                let connection = CoAPConnection(
                    to: endpoint,
                    over: network,
                    configuration: configuration,
                    seed: .systemRandom()
                )
                CallbackJob(job.value, connection) { continuation.resume(returning: $0) }.start()
            }
        }
        guard answered == count else { throw BenchError("apus got \(answered) answers to \(count) requests") }
    }

    // MARK: Memory

    private func memory(_ network: any DatagramNetwork) async throws {
        let client = CoAPClient(to: endpoint, over: network, configuration: configuration)
        // What is allocated once is there after the first.
        try await client.requests(1, true)
        let before = coap_heap_bytes()
        coap_job_begin(job)
        let tasks = (0..<count).map { _ in Task { try await client.send(request("bench/silent", isConfirmable: true)) }
        }
        try await Task.sleep(for: .milliseconds(200))
        coap_job_end(job)
        job.pointee.bytes_per_request = (coap_heap_bytes() - before) / Double(count)
        for task in tasks { task.cancel() }
        await client.close()
    }

    private func callbackMemory(_ network: any DatagramNetwork) async throws {
        let (endpoint, configuration, count) = (endpoint, configuration, count)
        let connection = await withCheckedContinuation { continuation in
            network.loop.execute {
                let connection = CoAPConnection(
                    to: endpoint,
                    over: network,
                    configuration: configuration,
                    seed: .systemRandom()
                )
                let box = LoopBox(connection)
                _ = try? connection.send(request("bench/small", isConfirmable: true)) { _ in
                    continuation.resume(returning: box)
                }
            }
        }
        let before = coap_heap_bytes()
        coap_job_begin(job)
        network.loop.execute {
            for _ in 0..<count {
                _ = try? connection.value.send(request("bench/silent", isConfirmable: true), timeout: .seconds(10)) {
                    _ in
                }
            }
        }
        try await Task.sleep(for: .milliseconds(200))
        coap_job_end(job)
        job.pointee.bytes_per_request = (coap_heap_bytes() - before) / Double(count)
        network.loop.execute { connection.value.close() }
    }
}

/// A GET, made anew for each time, as libcoap's must be.
func request(_ path: String, isConfirmable: Bool) -> CoAPRequest {
    CoAPRequest(.get, path: path, isConfirmable: isConfirmable)
}

/// A request whose body, or that of its response, has 1 MiB.
private func bodyRequest(isUp: Bool) -> CoAPRequest {
    isUp ? CoAPRequest(.put, path: "bench/large", payload: largeBody) : CoAPRequest(.get, path: "bench/large")
}

private let largeBody = [UInt8](repeating: 0, count: Int(COAP_LARGE))

private func isWhole(_ response: CoAPResponse, isUp: Bool) -> Bool {
    isUp ? response.code == .changed : response.code == .content && response.payload.count == largeBody.count
}

extension CoAPClient {
    /// One request after the other, on the client's loop.
    fileprivate func requests(_ count: Int, _ isConfirmable: Bool) async throws {
        for _ in 0..<count {
            let response = try await send(request("bench/small", isConfirmable: isConfirmable), timeout: .seconds(10))
            guard response.code == .content else { throw BenchError("apus got \(response.code)") }
        }
    }
}

/// Carries a value to the loop.
struct LoopBox<Value>: @unchecked Sendable {
    // @unchecked: only the loop uses the value.
    let value: Value
    init(_ value: Value) { self.value = value }
}

/// Requests by callbacks: each response is followed by the next request.
private final class CallbackJob {
    private let job: UnsafeMutablePointer<coap_job>
    private let connection: CoAPConnection
    private let isConfirmable: Bool
    private let isUp: Bool
    private let isLarge: Bool
    private let finish: (Int) -> Void
    private var left: Int
    private var underWay = 0
    private var answered = 0
    private var isStarted = false

    init(_ job: UnsafeMutablePointer<coap_job>, _ connection: CoAPConnection, _ finish: @escaping (Int) -> Void) {
        self.job = job
        self.connection = connection
        self.finish = finish
        let mode = String(cString: job.pointee.mode)
        isConfirmable = mode != "non"
        isUp = mode == "up"
        isLarge = isUp || mode == "down"
        left = Int(job.pointee.count)
    }

    /// The first opens the socket, and is not counted.
    func start() { send() }

    private func send() {
        let isBody = isLarge && isStarted
        let request = isBody ? bodyRequest(isUp: isUp) : request("bench/small", isConfirmable: isConfirmable)
        do throws(CoAPError) {
            try connection.send(request, timeout: .seconds(isBody ? 60 : 10)) { [self] in received($0) }
            underWay += 1
        } catch {}
    }

    private func received(_ result: Result<CoAPResponse, CoAPError>) {
        underWay -= 1
        if isStarted {
            if case .success(let response) = result {
                answered += (isLarge ? isWhole(response, isUp: isUp) : response.code == .content) ? 1 : 0
            }
        } else {
            isStarted = true
            coap_job_begin(job)
        }
        while left > 0, underWay < (isLarge ? 1 : Int(job.pointee.inflight)) {
            left -= 1
            send()
        }
        guard left == 0, underWay == 0 else { return }
        coap_job_end(job)
        connection.close()
        finish(answered)
    }
}
