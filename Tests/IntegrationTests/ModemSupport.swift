import ATAdapter
import CLinux
import Kernel
import ModemSimulator
import SAL
import Testing

@testable import HubSimulator

/// The owner of a stream under test: it keeps what it is told, and can be waited for from anywhere.
final class StreamProbe: ByteStreamHandler, Sendable {
    struct State {
        var received: [UInt8] = []
        var isOpen = false
        var isClosed = false
        var error: SocketError?
        /// How much more is taken.
        var window = Int.max
    }

    /// What it was told so far.
    let state = Guarded(State())
    private let outgoing = Guarded<(bytes: [UInt8], sent: Int)>(([], 0))
    private let stream = Guarded<LoopConfined<any ByteStream>?>(nil)
    private let loop: EventLoop

    init(on loop: EventLoop) { self.loop = loop }

    /// Opens the stream.
    func connect(over network: any Network, port: UInt16, host: String = "127.0.0.1", timeout: Duration = .seconds(20))
    {
        let box = LoopConfined(network)
        loop.execute {
            let stream = box.value.connect(
                to: Endpoint(host: host, port: port),
                deadline: self.loop.now + timeout,
                handler: self
            )
            self.stream.withLock { $0 = LoopConfined(stream) }
        }
    }

    /// Sends `bytes`, as fast as they are taken.
    func send(_ bytes: [UInt8]) {
        loop.execute {
            self.outgoing.withLock { $0 = (Array($0.bytes[$0.sent...]) + bytes, 0) }
            self.pump()
        }
    }

    /// Takes `count` bytes more.
    func open(window count: Int) {
        loop.execute {
            self.state.withLock { $0.window = count }
            self.stream.withLock { $0 }?.value.resumeReceiving()
        }
    }

    func close() { loop.execute { self.stream.withLock { $0 }?.value.close() } }

    private func pump() {
        guard let stream = stream.withLock({ $0 })?.value else { return }
        while true {
            let rest = outgoing.withLock { Array($0.bytes[$0.sent...].prefix(4_096)) }
            guard !rest.isEmpty else { return }
            let count = stream.send(rest.span)
            outgoing.withLock { $0.sent += count }
            if count < rest.count { return }
        }
    }

    func opened() {
        state.withLock { $0.isOpen = true }
        pump()
    }

    func writable() { pump() }

    func received(_ bytes: Span<UInt8>) -> Int {
        state.withLock { state in
            let count = min(bytes.count, state.window)
            if state.window != .max { state.window -= count }
            for index in 0..<count { state.received.append(bytes[index]) }
            return count
        }
    }

    func closed(_ error: SocketError?) {
        state.withLock { state in
            precondition(!state.isClosed, "closed comes once")
            state.isClosed = true
            state.error = error
        }
    }

    /// Whether `condition` holds within `timeout`.
    func eventually(_ timeout: Duration = .seconds(20), _ condition: @escaping @Sendable (State) -> Bool) async -> Bool
    {
        await offPool { waitUntil(timeout: timeout) { condition(self.state.withLock { $0 }) } }
    }
}

/// A TCP server on 127.0.0.1 made of plain system calls, with a thread per connection.
final class RawServer: Sendable {
    private let listener: Int32
    let port: UInt16

    /// `serve` is given each connection, on a thread of its own; the connection is closed when it returns.
    init(_ serve: @escaping @Sendable (Int32) -> Void) {
        let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                _ = bind(listener, $0, size)
                getsockname(listener, $0, &size)
            }
        }
        listen(listener, 16)
        self.listener = listener
        port = UInt16(bigEndian: address.sin_port)
        Self.thread {
            while true {
                let descriptor = accept(listener, nil, nil)
                guard descriptor >= 0 else { return }
                Self.thread {
                    serve(descriptor)
                    CLinux.close(descriptor)
                }
            }
        }
    }

    deinit {
        shutdown(listener, Int32(SHUT_RDWR))
        CLinux.close(listener)
    }

    /// A server that sends back what it gets.
    static func echo() -> RawServer {
        RawServer { descriptor in
            var chunk = [UInt8](repeating: 0, count: 16_384)
            while true {
                let count = recv(descriptor, &chunk, chunk.count, 0)
                guard count > 0, sendAll(Array(chunk[..<count]), to: descriptor) else { return }
            }
        }
    }

    /// Sends all of `bytes`.
    @discardableResult
    static func sendAll(_ bytes: [UInt8], to descriptor: Int32) -> Bool {
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { CLinux.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
            guard count > 0 else { return false }
            rest = rest.dropFirst(count)
        }
        return true
    }

    private static func thread(_ body: @escaping @Sendable () -> Void) {
        let loop = EventLoop.start()
        loop.execute {
            body()
            loop.stop()
        }
    }
}

/// A modem of the stack on a simulated one.
final class TestModem: Sendable {
    let simulator: ModemSimulator
    let loop = EventLoop.start()
    private let modem: LoopConfined<Modem>

    init(_ configuration: ModemSimulatorConfiguration = ModemSimulatorConfiguration()) async throws {
        simulator = try ModemSimulator(configuration)
        let loop = loop
        let driver = try #require(ModemDriver(named: configuration.dialect.rawValue))
        var own = ModemConfiguration()
        own.apn = Array("cmnet".utf8)
        own.pin = Array((configuration.pin ?? "").utf8)
        modem = LoopConfined(try await openModem(at: simulator.path, as: driver, on: loop, own))
    }

    deinit {
        simulator.stop()
        loop.stop()
    }

    var network: Modem { modem.value }

    func connect(port: UInt16, host: String = "127.0.0.1", timeout: Duration = .seconds(20)) -> StreamProbe {
        let probe = StreamProbe(on: loop)
        connect(probe, port: port, host: host, timeout: timeout)
        return probe
    }

    func connect(_ probe: StreamProbe, port: UInt16, host: String = "127.0.0.1", timeout: Duration = .seconds(20)) {
        probe.connect(over: network, port: port, host: host, timeout: timeout)
    }

    /// The simulator's last lines, for the comment of a failure.
    var transcript: String { simulator.transcript.suffix(20).joined(separator: "\n") }

    /// Sends `bytes` to a server that echoes, and checks what comes back.
    func checkEcho(_ bytes: [UInt8], port: UInt16) async {
        let probe = connect(port: port)
        probe.send(bytes)
        let isComplete = await probe.eventually { $0.received.count >= bytes.count || $0.isClosed }
        let state = probe.state.withLock { $0 }
        #expect(
            isComplete && state.received == bytes,
            "\(state.received.count) bytes, \(String(describing: state.error))"
        )
        probe.close()
        #expect(await probe.eventually { $0.isClosed && $0.error == nil })
    }
}

/// A modem of the stack at the device `path`.
func openModem(
    at path: String,
    as driver: ModemDriver = .espAT,
    on loop: EventLoop,
    _ configuration: ModemConfiguration = ModemConfiguration()
) async throws -> Modem {
    // The modem is the loop's; only its use from here is not.
    let result: Result<LoopConfined<Modem>, SocketError> = await loop.call {
        Result { () throws(SocketError) in
            LoopConfined(try Modem.open(driver, path: path, loop: loop, configuration: configuration))
        }
    }
    return try result.get().value
}
