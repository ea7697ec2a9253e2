// SecureTransport as a client beside a C program on the same mbedTLS, in one run: processor time of the client's thread; the server is the C program's for both.
import CTLSPeers
import Glibc
import Kernel
import SAL
import SecureTransport

@main enum Main {
    static func main() async throws {
        guard CommandLine.arguments.count == 2 else {
            return print("usage: bench-tls CERTIFICATES\nMeasures TLS beside a C program on the same mbedTLS: the least of 15 rounds. CERTIFICATES: what make-certificates.sh made.")
        }
        tls_peer_print_lines()
        let directory = CommandLine.arguments[1]
        let loop = EventLoop.start()
        let thread = await loop.value { pthread_self() }
        var missed: [String] = []
        for kind in [Kind.certificate, .preSharedKey] {
            let bench = try Bench(loop, thread, kind, suite(kind, "AES-128-GCM"), directory)
            try await bench.run(&missed)
        }
        let datagrams = try Bench(loop, thread, .preSharedKey, suite(.preSharedKey, "AES-128-GCM"), directory)
        try await datagrams.runDatagrams(&missed)
        for name in ["AES-128-GCM", "CHACHA20-POLY1305", "AES-128-CCM", "AES-128-CBC-SHA"] {
            let bench = try Bench(loop, thread, .preSharedKey, suite(.preSharedKey, name), directory)
            await bench.runBulk(name, &missed)
        }
        print(missed.isEmpty ? "every goal is met" : "goals missed: \(missed.joined(separator: "; "))")
        loop.stop()
    }
}

enum Kind {
    case certificate, preSharedKey
}

/// The number of a suite.
func suite(_ kind: Kind, _ cipher: String) -> Int32 {
    switch (kind, cipher) {
    case (.certificate, _): 0xC02B  // TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
    case (_, "CHACHA20-POLY1305"): 0xCCAB
    case (_, "AES-128-CCM"): 0xC0A4
    case (_, "AES-128-CBC-SHA"): 0x008C
    default: 0x00A8  // TLS_PSK_WITH_AES_128_GCM_SHA256
    }
}

extension EventLoop {
    /// Calls `body` on the loop.
    func value<Value>(_ body: @escaping @Sendable () -> Value) async -> Value {
        nonisolated(unsafe) var result: Value?
        await withCheckedContinuation { continuation in
            execute {
                result = body()
                continuation.resume()
            }
        }
        return result!
    }
}

/// Runs blocking work on a thread of its own.
func onThread<Value: Sendable>(_ body: @escaping @Sendable () -> Value) async -> Value {
    let done = Completion()
    nonisolated(unsafe) var result: Value?
    _ = try? KernelTask {
        result = body()
        try? done.post()
    }
    try? await done.wait()
    return result!
}

func readFile(_ path: String) -> [UInt8] {
    guard let file = fopen(path, "r") else { fatalError("there is no \(path)") }
    defer { fclose(file) }
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 65_536)
    while true {
        let count = fread(&buffer, 1, buffer.count, file)
        guard count > 0 else { return bytes }
        bytes += buffer[..<count]
    }
}

struct Bench: @unchecked Sendable {
    let loop: EventLoop
    let thread: pthread_t
    let kind: Kind
    let name: String
    let port: UInt16
    let client: OpaquePointer
    let network: SecureNetwork
    let resuming: SecureNetwork
    let rounds = 15

    let configuration: TLSConfiguration
    let directory: String

    init(_ loop: EventLoop, _ thread: pthread_t, _ kind: Kind, _ suite: Int32, _ directory: String) throws {
        self.directory = directory
        self.loop = loop
        self.thread = thread
        self.kind = kind
        let peerKind = kind == .certificate ? TLS_PEER_CERTIFICATE : TLS_PEER_PSK
        name = kind == .certificate ? "ECDHE-ECDSA, P-256" : "pre-shared key"
        let server = tls_peer_server_start(peerKind, "\(directory)/good-ec.crt", "\(directory)/good-ec.key", suite)
        port = tls_peer_server_port(server)
        client = tls_peer_client_make(peerKind, "\(directory)/root.crt", suite, 0)
        var configuration = TLSConfiguration(trust: .anchors(readFile("\(directory)/root.crt")))
        configuration.serverName = Array("localhost".utf8)
        if suite == 0x008C { configuration.suites = .legacyPreSharedKey }
        if kind == .preSharedKey {
            configuration.identity = .preSharedKey(identity: Array("device".utf8), key: SecretBytes(Array(1...16)))
        }
        resuming = try SecureNetwork(over: LinuxNetwork(loop: loop), configuration)
        configuration.sessions = nil
        network = try SecureNetwork(over: LinuxNetwork(loop: loop), configuration)
        self.configuration = configuration
    }

    /// Handshakes over datagrams; the server is ours for both.
    func runDatagrams(_ missed: inout [String]) async throws {
        let serverLoop = EventLoop.start()
        defer { serverLoop.stop() }
        let listener = DatagramListener()
        let port = try await serverLoop.value {
            Result { () throws(SecureTransportError) in
                let server = try SecureDatagramServer(
                    at: SocketAddress(address: .loopbackIPv4, port: 0),
                    over: LinuxNetwork(loop: serverLoop),
                    TLSServerConfiguration { _ in SecretBytes(Array(1...16)) },
                    handler: listener
                )
                listener.server = server
                return server.localAddress?.port ?? 0
            }
        }.get()
        nonisolated(unsafe) let client = tls_peer_client_make(TLS_PEER_PSK, "", 0xCCAC, 1)
        let network = try SecureDatagramNetwork(over: LinuxNetwork(loop: loop), configuration)
        let count = 1_000
        let (ours, raw) = await least {
            let done = Completion()
            let caller = DatagramCaller(network, port, count, done)
            let start = await cpu()
            await loop.value { caller.next() }
            try? await done.wait()
            return Double(await cpu() - start) / Double(count)
        } _: {
            await onThread { Double(tls_peer_datagram_handshakes(client, port, Int32(count))) / Double(count) }
        }
        row("\(name), full handshake over datagrams", ours / 1_000, raw / 1_000, "µs", &missed)
    }

    /// Records of 16 KiB to and fro.
    func runBulk(_ suite: String, _ missed: inout [String]) async {
        let (size, count) = (16_384, 1_000)
        let (ours, raw) = await least { await echo(size, count) } _: { await onThread { Double(tls_peer_echo(client, port, Int32(size), Int32(count))) / Double(count) } }
        // Each byte was encrypted once and decrypted once.
        row("\(suite), encrypting and decrypting", 2_000 * Double(size) / ours, 2_000 * Double(size) / raw, "MB/s", &missed, isRate: true)
    }

    func run(_ missed: inout [String]) async throws {
        let handshakes: Int32 = kind == .certificate ? 100 : 500
        for resumes in [false, true] {
            var (rawBytes, ourBytes) = (0, 0)
            let (ours, raw) = await least {
                let before = tls_peer_server_traffic()
                let used = await connect(resumes ? resuming : network, Int(handshakes))
                ourBytes = Int(tls_peer_server_traffic() - before) / Int(handshakes)
                return used
            } _: {
                let before = tls_peer_server_traffic()
                let used = await onThread { Double(tls_peer_handshakes(client, port, handshakes, resumes ? 1 : 0)) / Double(handshakes) }
                rawBytes = Int(tls_peer_server_traffic() - before) / Int(handshakes)
                return used
            }
            row("\(name), \(resumes ? "resumed" : "full") handshake", ours / 1_000, raw / 1_000, "µs", &missed)
            print("\(pad("    bytes on the wire, both ways", 52)) \(text(Double(ourBytes))) \(text(Double(rawBytes))) B")
        }
        for (size, count) in [(64, 5_000), (16_384, 1_000)] {
            let (ours, raw) = await least { await echo(size, count) } _: { await onThread { Double(tls_peer_echo(client, port, Int32(size), Int32(count))) / Double(count) } }
            row("\(name), echo of \(size) B", ours / 1_000, raw / 1_000, "µs", &missed)
        }
        let count = 300
        let raw = await onThread { Double(tls_peer_hold(client, port, Int32(count))) / Double(count) }
        let ours = await hold(count)
        print("\(pad("\(name), heap of a session (both ends)", 52)) \(text(ours)) \(text(raw)) B   \(text(ours - raw)) more (goal: 1024)")
        if ours - raw > 1_024 { missed.append("\(name): memory") }
    }

    /// The least of each, taken in turns: what else the machine does then meets both.
    private func least(_ ours: () async -> Double, _ raw: () async -> Double) async -> (ours: Double, raw: Double) {
        var least = (Double.infinity, Double.infinity)
        for _ in 0..<rounds {
            least.0 = min(least.0, await ours())
            least.1 = min(least.1, await raw())
        }
        return least
    }

    private func cpu() async -> Int64 { await loop.value { [thread] in tls_peer_cpu(thread) } }

    private func connect(_ network: SecureNetwork, _ count: Int) async -> Double {
        let done = Completion()
        let caller = Caller(network, port, count, done)
        // One before, whose session the others resume.
        let start = await cpu()
        await loop.value { caller.next() }
        try? await done.wait()
        return Double(await cpu() - start) / Double(count)
    }

    private func echo(_ size: Int, _ count: Int) async -> Double {
        let done = Completion()
        let ready = Completion()
        let echo = Echo(size, count, ready, done)
        await loop.value { [network, port, loop] in
            echo.stream = network.connect(
                to: Endpoint(host: "127.0.0.1", port: port),
                deadline: loop.now + .seconds(10),
                handler: echo
            )
        }
        try? await ready.wait()
        let start = await cpu()
        await loop.value { echo.send() }
        try? await done.wait()
        let used = Double(await cpu() - start) / Double(count)
        await loop.value { echo.stream?.close() }
        return used
    }

    private func hold(_ count: Int) async -> Double {
        let before = tls_peer_heap()
        let done = Completion()
        let holder = Holder(count, done)
        await loop.value { [network, port] in holder.open(network, port) }
        try? await done.wait()
        let used = Double(tls_peer_heap() - before) / Double(count)
        await loop.value { holder.close() }
        return used
    }

    private func row(
        _ name: String,
        _ ours: Double,
        _ raw: Double,
        _ unit: String,
        _ missed: inout [String],
        isRate: Bool = false
    ) {
        // Above 1 is worse.
        let ratio = isRate ? raw / ours : ours / raw
        print("\(pad(name, 52)) \(text(ours)) \(text(raw)) \(unit)   \(text(ratio)) (goal: 1.03\(ratio <= 1.03 ? ", met" : ", missed"))")
        if ratio > 1.03 { missed.append(name) }
    }

    private func pad(_ text: String, _ width: Int) -> String {
        text + String(repeating: " ", count: max(0, width - text.count))
    }

    private func text(_ value: Double) -> String {
        let hundredths = Int((value * 100).rounded())
        let magnitude = abs(hundredths)
        let text = "\(hundredths < 0 ? "-" : "")\(magnitude / 100).\(magnitude % 100 < 10 ? "0" : "")\(magnitude % 100)"
        return String(repeating: " ", count: max(0, 10 - text.count)) + text
    }
}
