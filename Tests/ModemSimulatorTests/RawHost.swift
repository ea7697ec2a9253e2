import CLinux
import ModemSimulator
import Testing

/// A host that talks to a modem by plain system calls, with none of the stack.
final class RawHost {
    let modem: ModemSimulator
    private let lineEnd: String
    /// Peers that live as long as the host.
    var peers: [RawPeer] = []
    private var terminal: Int32 = -1
    private var input: [UInt8] = []

    init(_ configuration: ModemSimulatorConfiguration = ModemSimulatorConfiguration()) throws {
        modem = try ModemSimulator(configuration)
        // Cellular modems take a line feed for payload, if a prompt is due.
        lineEnd = configuration.dialect == .espat ? "\r\n" : "\r"
        try open()
    }

    /// A host at any modem, which may listen on a port.
    init(_ modem: ModemSimulator) throws {
        self.modem = modem
        lineEnd = "\r"
        try open()
    }

    /// A host of a cellular modem; `ATE0` is behind it.
    convenience init(
        _ dialect: ModemDialect,
        _ change: (inout ModemSimulatorConfiguration) -> Void = { _ in }
    ) throws {
        var configuration = ModemSimulatorConfiguration()
        configuration.dialect = dialect
        change(&configuration)
        try self.init(configuration)
        send("ATE0\r")
        #expect(read(upTo: "OK\r\n").hasSuffix("\r\nOK\r\n"))
    }

    init(generation: ModemSimulatorConfiguration.Generation, _ faults: Faults = Faults()) throws {
        var configuration = ModemSimulatorConfiguration()
        configuration.generation = generation
        configuration.faults = faults
        configuration.signal = -60
        modem = try ModemSimulator(configuration)
        lineEnd = "\r\n"
        try open()
    }

    deinit {
        if terminal >= 0 { close(terminal) }
        modem.stop()
    }

    /// Closes the terminal.
    func hangUp() {
        close(terminal)
        terminal = -1
    }

    /// Opens the modem's terminal, for the first time or again.
    func open() throws {
        if terminal >= 0 { close(terminal) }
        if modem.path.hasPrefix("tcp:") {
            terminal = Self.connect(modem.path)
        } else {
            terminal = clinux_open(modem.path, O_RDWR | O_NOCTTY | O_CLOEXEC, 0)
        }
        try #require(terminal >= 0, "cannot open \(modem.path)")
        input = []
    }

    /// Connects to `tcp:127.0.0.1:PORT`.
    private static func connect(_ path: String) -> Int32 {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = (path.split(separator: ":").last.flatMap { UInt16($0) } ?? 0).bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        let outcome = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                CLinux.connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        return outcome == 0 ? descriptor : -1
    }

    /// Echo off and several links, as every driver has it.
    func setUp(isPassive: Bool) throws {
        try expect("ATE0", "ATE0\r\n\r\nOK\r\n", mayDoubleReturn: true)
        try expect("AT+CIPMUX=1", "\r\nOK\r\n")
        try expect("AT+CIPRECVMODE=\(isPassive ? 1 : 0)", "\r\nOK\r\n")
    }

    func send(_ text: String) { send(Array(text.utf8)) }

    func send(_ bytes: [UInt8]) {
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { write(terminal, $0.baseAddress, $0.count) }
            guard count > 0 else { return }
            rest = rest.dropFirst(count)
        }
    }

    /// Sends a command line and checks that exactly `answer` comes.
    func expect(_ line: String, _ answer: String, mayDoubleReturn: Bool = false) throws {
        send(line + lineEnd)
        // 1.x echoes the carriage return twice.
        if mayDoubleReturn, read(line.utf8.count + 2) == line + "\r\r" {
            _ = read(1)
            #expect(read(answer.utf8.count - line.utf8.count - 2) == String(answer.utf8.dropFirst(line.utf8.count + 2)))
            return
        }
        let rest = mayDoubleReturn ? String(answer.utf8.dropFirst(line.utf8.count + 2)) ?? "" : answer
        #expect(read(rest.utf8.count) == rest, "after \(line)")
    }

    /// The next `count` bytes, or as many as come within five seconds.
    func read(_ count: Int) -> String {
        while input.count < count, fill(milliseconds: 5_000) {}
        defer { input.removeFirst(min(count, input.count)) }
        return String(decoding: input.prefix(count), as: UTF8.self)
    }

    /// The next `count` bytes as hexadecimal digits, or as many as come within five seconds.
    func digits(_ count: Int) -> String {
        while input.count < count, fill(milliseconds: 5_000) {}
        defer { input.removeFirst(min(count, input.count)) }
        return input.prefix(count).map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined(separator: " ")
    }

    /// Sends bytes given as hexadecimal digits, and checks that exactly `answer` comes.
    func expect(octets: String, _ answer: String) {
        send(octets.split(separator: " ").compactMap { UInt8($0, radix: 16) })
        #expect(digits((answer.count + 1) / 3) == answer, "after \(octets)")
    }

    /// Checks that exactly `text` comes next.
    func expect(_ text: String) { #expect(read(text.utf8.count) == text) }

    /// Sends a payload and checks that exactly `answer` comes.
    func expect(payload: String, _ answer: String) {
        send(payload)
        #expect(read(answer.utf8.count) == answer, "after the payload \(payload)")
    }

    /// What comes up to and with `text`; all of it, if `text` does not come within `milliseconds` of silence.
    func read(upTo text: String, milliseconds: Int32 = 5_000) -> String {
        let wanted = Array(text.utf8)
        var end = 0
        while true {
            while end + wanted.count <= input.count {
                if input[end..<(end + wanted.count)].elementsEqual(wanted) {
                    defer { input.removeFirst(end + wanted.count) }
                    return String(decoding: input.prefix(end + wanted.count), as: UTF8.self)
                }
                end += 1
            }
            guard fill(milliseconds: milliseconds) else { break }
        }
        defer { input = [] }
        return String(decoding: input, as: UTF8.self)
    }

    /// Whether nothing comes for a while.
    func isSilent(milliseconds: Int32 = 100) -> Bool { input.isEmpty && !fill(milliseconds: milliseconds) }

    private func fill(milliseconds: Int32) -> Bool {
        var poller = pollfd(fd: terminal, events: Int16(POLLIN), revents: 0)
        guard poll(&poller, 1, milliseconds) > 0 else { return false }
        var chunk = [UInt8](repeating: 0, count: 4_096)
        let count = CLinux.read(terminal, &chunk, chunk.count)
        guard count > 0 else { return false }
        input += chunk[..<count]
        return true
    }
}

/// A socket of a peer on loopback: a listener with its first connection, or a datagram socket.
final class RawPeer {
    let port: UInt16
    private var descriptor: Int32
    private let isStream: Bool
    private var peer = sockaddr_in()

    init(_ kind: __socket_type = SOCK_STREAM) {
        isStream = kind == SOCK_STREAM
        let descriptor = socket(AF_INET, Int32(kind.rawValue), 0)
        self.descriptor = descriptor
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                _ = bind(descriptor, $0, size)
                getsockname(descriptor, $0, &size)
            }
        }
        if isStream { listen(descriptor, 16) }
        port = UInt16(bigEndian: address.sin_port)
    }

    deinit { close(descriptor) }

    /// Takes the connection that the modem has opened.
    func acceptConnection() {
        let connection = accept(descriptor, nil, nil)
        close(descriptor)
        descriptor = connection
    }

    /// Sends no more, but still receives.
    func endSending() { shutdown(descriptor, Int32(SHUT_WR)) }

    func end() {
        close(descriptor)
        descriptor = -1
    }

    func send(_ text: String) {
        let bytes = Array(text.utf8)
        if isStream {
            _ = CLinux.send(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL))
            return
        }
        withUnsafePointer(to: &peer) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                _ = sendto(descriptor, bytes, bytes.count, 0, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
    }

    func receive() -> String {
        var poller = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        guard poll(&poller, 1, 5_000) > 0 else { return "" }
        var chunk = [UInt8](repeating: 0, count: 4_096)
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let count = withUnsafeMutablePointer(to: &peer) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                recvfrom(descriptor, &chunk, chunk.count, 0, $0, &size)
            }
        }
        return String(decoding: chunk.prefix(max(count, 0)), as: UTF8.self)
    }
}
