import CMQTTPeers
import Glibc
import Jobs
import Kernel
import MQTTClient
import SAL
import SecureTransport

/// What the bench does with Apus: by the `async` face, or by the callbacks that firmware uses.
struct ApusJob: @unchecked Sendable {
    // @unchecked: one thread after another uses the job.
    let job: UnsafeMutablePointer<mqtt_job>
    let usesCallbacks: Bool

    private var mode: String { String(cString: job.pointee.mode) }
    private var qos: QoS { QoS(rawValue: UInt8(job.pointee.qos)) ?? .atMostOnce }
    private var payload: [UInt8] { [UInt8](repeating: 0x78, count: Int(job.pointee.size)) }
    private var count: Int { Int(job.pointee.count) }
    private var endpoint: Endpoint { Endpoint(host: String(cString: job.pointee.host), port: UInt16(job.pointee.port)) }

    private func configuration(_ number: Int = 0) -> MQTTConfiguration {
        var configuration = MQTTConfiguration(clientID: Array("bench\(number)".utf8))
        configuration.version = job.pointee.version == 5 ? .v5_0 : .v3_1_1
        configuration.queue.requests = 100_000
        configuration.queue.bytes = 1 << 28
        // The sink takes as many as the others give it.
        configuration.maximumQoS2InFlight = 65_535
        return configuration
    }

    private func network(_ loop: EventLoop) throws -> any Network {
        let plain = LinuxNetwork(loop: loop)
        guard let file = job.pointee.tls_ca else { return plain }
        var configuration = TLSConfiguration(trust: .anchors(try readFile(String(cString: file))))
        configuration.sessions = nil
        return try SecureNetwork(over: plain, configuration)
    }

    func run() async throws {
        let loop = EventLoop.start()
        let network = try network(loop)
        switch (mode, usesCallbacks) {
        case ("pub", false): try await publish(loop, network)
        case ("sub", false): try await receive(network)
        case ("rtt", false): try await roundTrips(loop, network)
        case ("conns", false): try await connections(network)
        case ("connect", false): try await connects(loop, network)
        case ("pub", true), ("sub", true), ("rtt", true): await callbacks(loop, network)
        default: throw BenchError("apus has no \(mode) with callbacks")
        }
    }

    private func publish(_ loop: EventLoop, _ network: any Network) async throws {
        let client = MQTTClient(to: endpoint, over: network, configuration: configuration())
        try await client.connect()
        let (payload, qos, window) = (payload, qos, Int(job.pointee.inflight))
        mqtt_job_begin(job)
        // As many tasks as the window has places, on the client's loop.
        try await withThrowingTaskGroup(of: Void.self) { group in
            for place in 0..<window {
                let share = count / window + (place < count % window ? 1 : 0)
                group.addTask {
                    try await client.perform { client in
                        for _ in 0..<share { try await client.publish(payload, to: "bench/topic", qos: qos) }
                    }
                }
            }
            try await group.waitForAll()
        }
        if qos == .atMostOnce { try await client.publish([], to: "bench/end", qos: .atLeastOnce) }
        mqtt_job_end(job)
        await client.disconnect()
    }

    private func receive(_ network: any Network) async throws {
        let client = MQTTClient(to: endpoint, over: network, configuration: configuration())
        try await client.connect()
        let messages = await client.messages(matching: "blast", limit: 4_096)
        mqtt_job_begin(job)
        let filter = "blast/\(count)/\(job.pointee.size)/\(job.pointee.qos)"
        _ = try await client.requestSubscriptions([(filter, MQTTSubscriptionOptions(qos))])
        var received = 0
        for await _ in messages {
            received += 1
            if received == count { break }
        }
        mqtt_job_end(job)
        await client.disconnect()
    }

    private func roundTrips(_ loop: EventLoop, _ network: any Network) async throws {
        let client = MQTTClient(to: endpoint, over: network, configuration: configuration())
        try await client.connect()
        let messages = try await client.subscribe(to: "echo/1", qos: qos)
        let (payload, qos) = (payload, qos)
        let rounds = Task(executorPreference: loop) {
            var samples = [Double](repeating: 0, count: count)
            var iterator = messages.makeAsyncIterator()
            mqtt_job_begin(job)
            for index in 0..<count {
                let start = mqtt_now()
                try await client.enqueue(payload, to: "echo/1", qos: qos)
                _ = await iterator.next()
                samples[index] = mqtt_now() - start
            }
            mqtt_job_end(job)
            mqtt_job_samples(job, &samples, Int32(count))
        }
        try await rounds.value
        await client.disconnect()
    }

    private func connections(_ network: any Network) async throws {
        let before = mqtt_rss_kb()
        mqtt_job_begin(job)
        let total = Int(job.pointee.conns)
        var clients: [MQTTClient] = []
        clients.reserveCapacity(total)
        let endpoint = self.endpoint
        for number in 0..<total {
            clients.append(MQTTClient(to: endpoint, over: network, configuration: configuration(number)))
        }
        try await withThrowingTaskGroup(of: Void.self) { group in
            for (index, client) in clients.enumerated() {
                if index >= 100 { try await group.next() }
                group.addTask { try await client.connect() }
            }
            try await group.waitForAll()
        }
        mqtt_job_end(job)
        job.pointee.kb_per_conn = Double(mqtt_rss_kb() - before) / Double(total)
        withExtendedLifetime(clients) {}
    }

    private func connects(_ loop: EventLoop, _ network: any Network) async throws {
        let work = Task(executorPreference: loop) {
            var samples = [Double](repeating: 0, count: count)
            mqtt_job_begin(job)
            for index in 0..<count {
                let start = mqtt_now()
                let client = MQTTClient(to: endpoint, over: network, configuration: configuration(index))
                try await client.connect()
                await client.disconnect()
                samples[index] = mqtt_now() - start
            }
            mqtt_job_end(job)
            mqtt_job_samples(job, &samples, Int32(count))
        }
        try await work.value
    }

    private func callbacks(_ loop: EventLoop, _ network: any Network) async {
        await withCheckedContinuation { (continuation: CheckedContinuation<Void, Never>) in
            let (job, payload, qos, endpoint, configuration) = (LoopBox(job), payload, qos, endpoint, configuration())
            loop.execute {
                let connection = MQTTConnection(to: endpoint, over: network, configuration: configuration)
                connection.connect(handler: CallbackJob(job.value, connection, payload, qos) { continuation.resume() })
            }
        }
    }
}

/// Carries a value to the loop.
private struct LoopBox<Value>: @unchecked Sendable {
    // @unchecked: only the loop uses the value.
    let value: Value
    init(_ value: Value) { self.value = value }
}

/// A job by callbacks.
private final class CallbackJob: MQTTConnectionHandler {
    private let job: UnsafeMutablePointer<mqtt_job>
    private let connection: MQTTConnection
    private let payload: [UInt8]
    private let qos: QoS
    private let mode: String
    private let finish: () -> Void
    private let topic: [UInt8]
    private var left: Int
    private var underWay = 0
    private var samples: [Double] = []
    private var start = 0.0

    init(
        _ job: UnsafeMutablePointer<mqtt_job>,
        _ connection: MQTTConnection,
        _ payload: [UInt8],
        _ qos: QoS,
        _ finish: @escaping () -> Void
    ) {
        self.job = job
        self.connection = connection
        self.payload = payload
        self.qos = qos
        self.finish = finish
        mode = String(cString: job.pointee.mode)
        topic = Array((mode == "rtt" ? "echo/1" : "bench/topic").utf8)
        left = Int(job.pointee.count)
    }

    func connected(_ info: MQTTConnectionInfo) {
        switch mode {
        case "pub":
            mqtt_job_begin(job)
            publish()
        case "sub":
            mqtt_job_begin(job)
            let filter = "blast/\(job.pointee.count)/\(job.pointee.size)/\(job.pointee.qos)"
            _ = try? connection.subscribe(to: filter.utf8.span, options: MQTTSubscriptionOptions(qos))
        default:
            let filter = "echo/1"
            _ = try? connection.subscribe(to: filter.utf8.span, options: MQTTSubscriptionOptions(qos))
        }
    }

    func subscribed(_ request: MQTTRequestID, codes: [UInt8]) {
        guard mode == "rtt" else { return }
        mqtt_job_begin(job)
        round()
    }

    private func round() {
        start = mqtt_now()
        send()
    }

    private func send() {
        let (topic, payload) = (topic, payload)
        do throws(MQTTError) {
            if try connection.publish(topic: topic.span, payload: payload.span, qos: qos) != nil { underWay += 1 }
            left -= 1
        } catch {}
    }

    private func publish() {
        guard qos != .atMostOnce else {
            // Until no more fits; there is room again later.
            while left > 0 {
                let before = left
                send()
                if left == before { return }
            }
            end()
            return
        }
        while left > 0, underWay < Int(job.pointee.inflight) { send() }
    }

    func hasRoom() { if mode == "pub" { publish() } }

    func published(_ request: MQTTRequestID, code: MQTTReasonCode) {
        underWay -= 1
        guard mode == "pub" else { return }
        if left > 0 { publish() } else if underWay == 0 { end() }
    }

    func received(_ message: MQTTMessage) -> MQTTDisposition {
        if mode == "sub" {
            left -= 1
            if left == 0 { end() }
        } else {
            samples.append(mqtt_now() - start)
            if left > 0 { round() } else { end() }
        }
        return .taken
    }

    private func end() {
        mqtt_job_end(job)
        if mode == "rtt" { mqtt_job_samples(job, &samples, Int32(samples.count)) }
        connection.disconnect()
        finish()
    }
}

func readFile(_ path: String) throws -> [UInt8] {
    let descriptor = open(path, O_RDONLY)
    guard descriptor >= 0 else { throw BenchError("\(path) cannot be read") }
    defer { close(descriptor) }
    var bytes: [UInt8] = []
    var piece = [UInt8](repeating: 0, count: 65_536)
    while true {
        let count = read(descriptor, &piece, piece.count)
        guard count > 0 else { return bytes }
        bytes += piece[..<count]
    }
}
