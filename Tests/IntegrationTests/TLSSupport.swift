import CLinux
import Kernel
import SAL
import SecureTransport
import Testing

@testable import HubSimulator

/// OpenSSL's `s_server` on a port of this machine.
final class TLSServer: Sendable {
    /// The key and its identity that the servers with a pre-shared key have.
    static let identity = Array("device-1".utf8)
    static let key = (0..<16).map { UInt8($0 &* 7 &+ 3) }
    static let preSharedKey = ["-nocert", "-psk", hex(key), "-psk_identity", "device-1"]

    let port: UInt16
    private let program: TestProgram
    private let reservation: ReservedPort

    /// A server that says each line backwards, and closes after the line `CLOSE`.
    init(_ options: [String], version: String = "-tls1_2") async throws {
        reservation = try ReservedPort(address: "127.0.0.1", port: 0)
        port = reservation.number
        program = try TestProgram("openssl", ["s_server", "-accept", "127.0.0.1:\(port)", version, "-rev"] + options)
        let isUp = await program.prints("ACCEPT")
        try #require(isUp, "\(program.output)")
    }

    var output: String { program.output }
    func signal(_ number: Int32) { program.signal(number) }
    func prints(_ text: String) async -> Bool { await program.prints(text) }
}

/// OpenSSL's `s_server` that sends what is written to a pipe, and writes what it receives to a file.
final class TLSPipeServer: Sendable {
    let port: UInt16
    private let program: TestProgram
    private let reservation: ReservedPort
    private let directory: String
    private let pipe: Int32

    init(_ options: [String]) async throws {
        let directory = try temporaryDirectory()
        self.directory = directory
        reservation = try ReservedPort(address: "127.0.0.1", port: 0)
        let port = reservation.number
        self.port = port
        try #require(mkfifo("\(directory)/in", 0o600) == 0)
        // Opened both ways, so that neither side waits for the other.
        pipe = clinux_open("\(directory)/in", O_RDWR | O_CLOEXEC, 0)
        let arguments = (["-accept", "127.0.0.1:\(port)", "-tls1_2", "-quiet"] + options).joined(separator: " ")
        program = try TestProgram(
            "sh",
            ["-c", "exec openssl s_server \(arguments) < \(directory)/in > \(directory)/out"]
        )
        // A connection to find out would be one of its errors.
        let digits = hex([UInt8(port >> 8), UInt8(port & 255)]).uppercased()
        let isUp = await eventually {
            let sockets = String(decoding: (try? readFile("/proc/net/tcp")) ?? [], as: UTF8.self)
            return sockets.contains("0100007F:\(digits) 00000000:0000 0A")
        }
        try #require(isUp, "\(program.output)")
    }

    /// The errors that it has met.
    var output: String { program.output }
    func prints(_ text: String) async -> Bool { await program.prints(text) }

    deinit {
        program.signal(SIGKILL)
        close(pipe)
        removeDirectory(directory)
    }

    /// Sends all of `bytes`, from a thread that may wait.
    func send(_ bytes: [UInt8]) async {
        await offPool { [pipe] in
            var sent = 0
            while sent < bytes.count {
                let count = bytes.withUnsafeBytes {
                    write(pipe, $0.baseAddress?.advanced(by: sent), bytes.count - sent)
                }
                guard count > 0 else { return }
                sent += count
            }
        }
    }

    /// What it has received, once that is `count` bytes.
    func received(_ count: Int) async -> [UInt8] {
        let path = "\(directory)/out"
        _ = await eventually {
            var status = stat()
            return stat(path, &status) == 0 && Int(status.st_size) >= count
        }
        return (try? readFile(path)) ?? []
    }
}

/// A listener of plain system calls, for what no server would do.
final class RawListener: Sendable {
    let port: UInt16
    private let listener: Int32

    init() throws {
        listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let listener = listener
        try withUnsafeMutablePointer(to: &address) { pointer in
            try pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                try #require(bind(listener, $0, size) == 0)
                try #require(listen(listener, 8) == 0)
                try #require(getsockname(listener, $0, &size) == 0)
            }
        }
        port = UInt16(bigEndian: address.sin_port)
    }

    deinit { close(listener) }

    /// Takes one connection; blocks until there is one.
    func accept() -> Int32 { CLinux.accept(listener, nil, nil) }

    /// Takes one connection, reads what comes first, says `answer`, and closes.
    func serve(_ answer: [UInt8]) async {
        await offPool { [listener] in
            let connection = CLinux.accept(listener, nil, nil)
            var buffer = [UInt8](repeating: 0, count: 4_096)
            _ = read(connection, &buffer, buffer.count)
            _ = CLinux.send(connection, answer, answer.count, Int32(MSG_NOSIGNAL))
            close(connection)
        }
    }
}

/// A TLS client and the loop that it lives on; it remembers what it is told, and takes at most `window` bytes.
final class TLSClient: ByteStreamHandler, @unchecked Sendable {
    // @unchecked: everything but `loop` is used on the loop only, or by the test after it has waited for that.
    enum End: Sendable { case close, abort }

    let loop = EventLoop.start()
    var received: [UInt8] = []
    var isOpen = false
    var isClosed = false
    var error: SocketError?
    var failure: SecureTransportError?
    var window = Int.max
    /// How often bytes were offered.
    var offers = 0
    /// What it does in the midst of taking.
    var endsOnReceive: End?
    var wire: WireNetwork?
    private var stream: SecureStream?
    private var outgoing: [UInt8] = []
    private var condition: ((TLSClient) -> Bool)?
    private var waiter: CheckedContinuation<Void, Never>?

    init(
        _ port: UInt16,
        _ configuration: TLSConfiguration = TLSClient.preSharedKey(),
        host: String = "127.0.0.1",
        timeout: Duration = .seconds(20),
        faults: WireFaults = WireFaults()
    ) async throws {
        let network = WireNetwork(loop: loop, faults: faults)
        let secure = try SecureNetwork(over: network, configuration)
        let loop = self.loop
        await onLoop { client in
            client.wire = network
            client.stream =
                secure.connect(
                    to: Endpoint(host: host, port: port),
                    deadline: loop.now + timeout,
                    handler: client
                ) as? SecureStream
        }
    }

    deinit { loop.stop() }

    /// The configuration of a device that the servers know.
    static func preSharedKey(
        identity: [UInt8] = TLSServer.identity,
        key: [UInt8] = TLSServer.key,
        suites: TLSSuites = .secure
    ) -> TLSConfiguration {
        TLSConfiguration(identity: .preSharedKey(identity: identity, key: SecretBytes(key)), suites: suites)
    }

    func opened() { isOpen = true; check() }
    func received(_ bytes: Span<UInt8>) -> Int {
        let count = min(bytes.count, window)
        offers += 1
        if window != .max { window -= count }
        switch endsOnReceive {
        case .close: stream?.close()
        case .abort: stream?.abort()
        case nil: break
        }
        bytes.withUnsafeBufferPointer { received.append(contentsOf: $0[..<count]) }
        check()
        return count
    }
    func writable() { pump() }
    func closed(_ error: SocketError?) {
        precondition(!isClosed, "closed comes once")
        isClosed = true
        self.error = error
        failure = stream?.failure
        stream = nil
        check()
    }

    private func pump() {
        guard let stream, !outgoing.isEmpty else { return }
        outgoing.removeFirst(stream.send(outgoing.span))
    }

    private func check() {
        guard let waiter, condition?(self) ?? true else { return }
        (self.waiter, condition) = (nil, nil)
        order.withLock { _ in }
        waiter.resume()
    }

    // MARK: From a test

    /// What a continuation orders, the thread sanitizer does not see if it is resumed before its task waits; this it sees.
    private let order = Guarded(false)

    /// Calls `body` on the loop.
    @discardableResult func onLoop<Value: Sendable>(_ body: @escaping @Sendable (TLSClient) -> Value) async -> Value {
        let value = await withCheckedContinuation { continuation in
            loop.execute {
                let value = body(self)
                self.order.withLock { _ in }
                continuation.resume(returning: value)
            }
        }
        order.withLock { _ in }
        return value
    }

    /// Waits for a condition, or the end.
    func wait(for condition: @escaping @Sendable (TLSClient) -> Bool) async {
        await withCheckedContinuation { continuation in
            loop.execute {
                self.condition = { condition($0) || $0.isClosed }
                self.waiter = continuation
                self.check()
            }
        }
        order.withLock { _ in }
    }

    /// Waits for a condition of which the client itself is not told.
    func poll(for condition: @escaping @Sendable (TLSClient) -> Bool) async {
        while !(await onLoop { condition($0) || $0.isClosed }) { await offPool { _ = usleep(3_000) } }
    }

    /// Waits for the end of the handshake, which must succeed.
    func handshake() async throws {
        await wait { $0.isOpen }
        let (isOpen, cause) = await onLoop {
            ($0.isOpen, "\(String(describing: $0.failure)) \(String(describing: $0.error))")
        }
        try #require(isOpen, "\(cause)")
    }

    /// Waits for the end of the connection, and says why it ended.
    func end() async -> SecureTransportError? {
        await wait { $0.isClosed }
        return await onLoop { $0.failure }
    }

    func send(_ bytes: [UInt8]) async {
        await onLoop { client in
            client.outgoing += bytes
            client.pump()
        }
    }

    func send(_ text: String) async { await send(Array(text.utf8)) }
    func close() async { await onLoop { $0.stream?.close() } }
    func abort() async { await onLoop { $0.stream?.abort() } }
    func take(_ count: Int) async {
        await onLoop { client in
            client.window = count
            client.stream?.resumeReceiving()
        }
    }

    /// Sends a line and waits for it to come back backwards.
    func echoes(_ text: String) async -> Bool {
        await onLoop { $0.received = [] }
        await send(text + "\n")
        let expected = Array((String(text.reversed()) + "\n").utf8)
        await wait { $0.received.count >= expected.count }
        return await onLoop { $0.received == expected }
    }
}
