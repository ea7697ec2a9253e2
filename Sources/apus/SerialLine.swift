internal import CLinux
internal import Kernel
internal import SAL

/// Opens the serial device at `path`, or the port of a serial server with that name; throws what is wrong and what to do about it.
func openSerialLine(_ path: String, _ settings: SerialSettings, on loop: EventLoop) async throws(Failure) -> Connection
{
    do throws(SocketError) {
        if let server = try SerialServer(path, settings: settings, loop: loop) {
            do throws(ConnectError) {
                return try await Connection.open(to: server.endpoint, over: server, within: .seconds(10))
            } catch { throw error.cause }
        }
    } catch { throw serialFailure(error, path: path, settings) }
    let opened: Result<Connection, SocketError> = await loop.call {
        Result { () throws(SocketError) in
            Connection.adopt(try SerialPort.open(path: path, settings: settings, loop: loop), on: loop)
        }
    }
    do { return try opened.get() } catch { throw serialFailure(error, path: path, settings) }
}

/// Why the serial device at `path` cannot be used, and what to do about it.
func serialFailure(_ error: SocketError, path: String, _ settings: SerialSettings) -> Failure {
    if path.contains("://") { return serverFailure(error, path: path, settings) }
    return switch error {
    case .notSupported: Failure("modems of this dialect have no multiplexer: leave --cmux out")
    case .denied:
        Failure(
            "no permission for \(path): add yourself to the group that owns it ('ls -l \(path)' shows it, mostly dialout), and log in again"
        )
    case .other(ENOENT), .other(ENXIO), .other(ENODEV):
        Failure("there is no \(path): plug the modem in, and see which ports come: 'ls /dev/ttyUSB* /dev/ttyACM*'")
    case .other(EBUSY): Failure("another program has \(path): end it first ('fuser \(path)' shows it)")
    case .other(ENOTTY): Failure("\(path) is no serial device; a modem's is a /dev/ttyUSB, /dev/ttyACM or /dev/ttyS")
    case .other(EINVAL) where settings.baudRate != nil:
        Failure("\(path) has no rate of \(settings.baudRate ?? 0) bits per second; 9600, 115200 and 921600 are usual")
    case .deviceRestarted: Failure("\(path) has vanished: was the modem unplugged, or has it restarted?")
    default: Failure("cannot use \(path): \(error)")
    }
}

/// Why the port of a serial server cannot be used.
private func serverFailure(_ error: SocketError, path: String, _ settings: SerialSettings) -> Failure {
    switch error {
    case .nameNotFound: Failure("there is no \(path): a port is tcp://HOST:PORT or rfc2217://HOST:PORT")
    case .notSupported where path.hasPrefix("tcp:") && settings.baudRate != nil:
        Failure("the rate of \(path) is set at its server: leave --baud out, or use rfc2217:// if the server speaks it")
    case .notSupported:
        Failure("the server of \(path) cannot set up a line: use tcp://; or modems of this dialect have no multiplexer")
    case .refused: Failure("nobody listens at \(path); is the serial server running, and the port right?")
    case .timedOut: Failure("no answer from \(path); is the host right, and does the server speak RFC 2217?")
    case .other(EINVAL): Failure("the server of \(path) cannot set a rate of \(settings.baudRate ?? 0) bits per second")
    case .deviceRestarted: Failure("the server of \(path) has ended the connection: is its device there, and free?")
    default: Failure("cannot use \(path): \(error)")
    }
}

/// What a modem has answered.
enum ATAnswer {
    /// The lines before its `OK`.
    case lines([String])
    /// Its final result, such as `+CME ERROR: 10`.
    case refused(String)
    /// Nothing that ends an answer, in its time.
    case none
}

/// A modem that is asked by AT commands, one at a time.
actor ATTalk {
    /// Whether anything has come, understood or not.
    private(set) var hasHeard = false
    private let connection: Connection
    private let path: String

    init(_ connection: Connection, path: String) {
        self.connection = connection
        self.path = path
    }

    func end() async { await connection.abort() }

    /// Sends `command`, and waits for the end of its answer. Throws if the serial line has ended.
    func ask(_ command: String, within time: Duration = .seconds(5)) async throws(Failure) -> ATAnswer {
        do throws(SocketError) {
            // What was not asked for, and answers that came late.
            while try await read(.noWait) != nil {}
            let deadline = KernelClock.now + time
            // ESP-AT wants both; other modems skip the line feed.
            try await connection.write(command + "\r\n", .until(deadline))
            var splitter = LineSplitter()
            var lines: [String] = []
            while let bytes = try await read(.until(deadline)) {
                for line in splitter.lines(in: bytes) where line != command {
                    if line == "OK" { return .lines(lines) }
                    if isFailure(line) { return .refused(line) }
                    // No answer is so long: it is the noise of a wrong rate.
                    if lines.count < 64 { lines.append(line) }
                }
            }
            return .none
        } catch .timedOut { return .none } catch { throw serialFailure(error, path: path, SerialSettings()) }
    }

    /// What has come; `nil` if nothing does in the time.
    private func read(_ wait: Wait) async throws(SocketError) -> [UInt8]? {
        do throws(SocketError) {
            guard let bytes = try await connection.read(wait) else { throw .deviceRestarted }
            hasHeard = true
            return bytes
        } catch .timedOut { return nil }
    }
}

extension Connection {
    /// The next bytes.
    fileprivate func read(_ wait: Wait) async throws(SocketError) -> [UInt8]? { try await read(upTo: .max, wait) }
}

/// Whether a line is a final result that is not `OK` (V.250, 5.7.1; 3GPP 27.007, 9.1; 27.005, 3.2.5).
func isFailure(_ line: String) -> Bool {
    ["ERROR", "FAIL", "SEND FAIL", "NO CARRIER", "BUSY", "NO ANSWER", "NO DIALTONE", "COMMAND NOT SUPPORT"].contains(
        line
    )
        || line.hasPrefix("+CME ERROR") || line.hasPrefix("+CMS ERROR")
}

/// Cuts what a modem sends into lines; empty ones are left out, and what is no text is shown as `\x00`.
struct LineSplitter {
    /// Longer lines are cut.
    private static let maximumBytes = 2_048
    private var line: [UInt8] = []

    /// Whether a line has begun and not ended.
    var hasPart: Bool { !line.isEmpty }
    /// Whether the modem waits for a payload: `>` and perhaps a space.
    var isPrompt: Bool { line.first == UInt8(ascii: ">") && line.dropFirst().allSatisfy { $0 == 0x20 } }

    mutating func lines(in bytes: [UInt8]) -> [String] {
        var lines: [String] = []
        for byte in bytes {
            if byte == 0x0D || byte == 0x0A {
                if let text = part() { lines.append(text) }
            } else {
                line.append(byte)
                if line.count >= Self.maximumBytes, let text = part() { lines.append(text) }
            }
        }
        return lines
    }

    /// What there is of a line that has not ended; it is taken.
    mutating func part() -> String? {
        defer { line = [] }
        let isBlank = line.allSatisfy { $0 == 0x20 }
        return isBlank ? nil : Self.text(of: line)
    }

    private static func text(of bytes: [UInt8]) -> String {
        if let text = String(validating: bytes, as: UTF8.self), !bytes.contains(where: { $0 < 0x20 || $0 == 0x7F }) {
            return text
        }
        let digits = Array("0123456789ABCDEF")
        return bytes.map { byte in
            0x20..<0x7F ~= byte
                ? String(UnicodeScalar(byte)) : "\\x\(digits[Int(byte >> 4)])\(digits[Int(byte & 15)])"
        }.joined()
    }
}
