import Glibc
import Kernel
import SAL

@testable import ATAdapter

/// A serial line with a script of a modem at its other end: command lines go in, and what the script says comes out, cut as
/// wished, in a later turn.
final class ScriptedStream: ByteStream, EndOfTurnHandler {
    var handler: (any ByteStreamHandler)?
    /// All command lines so far, payload as `<5 bytes>`.
    var lines: [String] = []
    var payloads: [[UInt8]] = []
    /// What the modem says to a command line; `nil` leaves it to ``usual(_:)``.
    var answer: (String) -> String? = { _ in nil }
    /// What the modem says after a payload.
    var payloadAnswer: (Int) -> String = { "\r\nRecv \($0) bytes\r\n\r\nSEND OK\r\n" }
    /// How many bytes are taken at once.
    var window = Int.max
    private(set) var isClosed = false
    private let loop: EventLoop
    private var cutter: Cutter
    private var input: [UInt8] = []
    private var payloadLeft = 0
    private var pending: [[UInt8]] = []
    private lazy var turnEnd = EndOfTurn(on: loop)

    init(loop: EventLoop, cut: Cut = .whole) {
        self.loop = loop
        cutter = Cutter(cut)
    }

    /// A modem with firmware 2.2 that knows its network.
    static func usual(_ line: String) -> String {
        switch line {
        case "ATE0": "ATE0\r\n\r\nOK\r\n"
        case "AT+GMR": "AT version:2.2.0.0(abc)\r\nSDK version:v4\r\n\r\nOK\r\n"
        case "AT+CWJAP?": "+CWJAP:\"a \\\",b\",\"02:00:00:00:00:01\",6,-47\r\n\r\nOK\r\n"
        case "AT+CIPRECVLEN?": "+CIPRECVLEN:0,0,0,0,0\r\n\r\nOK\r\n"
        case "AT+CIPCLOSE", "AT+CIPCLOSE=5": "\r\nERROR\r\n"
        default:
            if line.hasPrefix("AT+CIPSTART=") {
                "\(line.dropFirst(12).prefix(1)),CONNECT\r\n\r\nOK\r\n"
            } else if line.hasPrefix("AT+CIPSEND=") {
                "\r\nOK\r\n\r\n>"
            } else if line.hasPrefix("AT+CIPCLOSE=") {
                "\(line.dropFirst(12)),CLOSED\r\n\r\nOK\r\n"
            } else if line.hasPrefix("AT+CIPRECVDATA=") {
                "\r\nERROR\r\n"
            } else if line.hasPrefix("AT+CIPDOMAIN=") {
                "+CIPDOMAIN:\"192.0.2.7\"\r\n\r\nOK\r\n"
            } else {
                "\r\nOK\r\n"
            }
        }
    }

    /// The modem says something by itself.
    func say(_ text: String) { say(Array(text.utf8)) }

    func say(_ bytes: [UInt8]) {
        pending += cutter.pieces(of: bytes)
        wake()
    }

    /// The plug is pulled.
    func unplug() {
        isClosed = true
        handler?.closed(.deviceRestarted)
        handler = nil
    }

    func send(_ bytes: Span<UInt8>) -> Int {
        let count = min(window, bytes.count)
        for index in 0..<count { take(bytes[index]) }
        return count
    }

    private func take(_ byte: UInt8) {
        input.append(byte)
        if payloadLeft > 0 {
            payloadLeft -= 1
            guard payloadLeft == 0 else { return }
            lines.append("<\(input.count) bytes>")
            payloads.append(input)
            say(payloadAnswer(input.count))
            input = []
        } else if input.suffix(2) == [13, 10] {
            let line = String(decoding: input.dropLast(2), as: UTF8.self)
            input = []
            lines.append(line)
            let text = answer(line) ?? Self.usual(line)
            if line.hasPrefix("AT+CIPSEND="), text.hasSuffix(">") || text.hasSuffix("> ") {
                payloadLeft = Int(line.split(separator: ",")[1]) ?? 0
            }
            // Here a line end is due too, which is not counted.
            if line.hasPrefix("AT+TCMQTTPUBL=") || line.hasPrefix("AT+TCMQTTPUBRAW="), text.hasSuffix(">\r\n") {
                payloadLeft = (Int(line.split(separator: ",").last ?? "") ?? 0) + 2
            }
            say(text)
        }
    }

    func resumeReceiving() {}
    func close() { isClosed = true }
    func abort() { isClosed = true }

    private func wake() { turnEnd.request(self) }

    func endOfTurn() {
        let pieces = pending
        pending = []
        for piece in pieces { _ = handler?.received(piece.span) }
    }
}

/// A modem at a script, on a loop that the test itself turns.
final class ModemBench {
    let loop = EventLoop()
    let stream: ScriptedStream
    let modem: Modem

    init(
        _ driver: ModemDriver = .espAT,
        cut: Cut = .whole,
        _ configure: (inout ModemConfiguration) -> Void = { _ in }
    ) {
        var configuration = ModemConfiguration()
        configure(&configuration)
        stream = ScriptedStream(loop: loop, cut: cut)
        modem = Modem(driver, serial: stream, loop: loop, configuration: configuration)
    }

    deinit {
        modem.close()
        loop.runOneTurn()
        // An ended loop lets go of the timers, and they of the modem.
        loop.stop()
        loop.run()
    }

    var isAttached: Bool { modem.state == .attached }

    /// Turns the loop until `condition` holds; returns whether it came to hold.
    @discardableResult
    func run(for limit: Duration = .seconds(10), until condition: () -> Bool) -> Bool {
        let end = loop.now + limit
        while !condition() {
            if loop.now >= end { return false }
            loop.runOneTurn()
            usleep(50)
        }
        return true
    }

    /// Turns the loop so often that all that can be done at once is done.
    func settle() { for _ in 0..<50 { loop.runOneTurn() } }

    func attach() -> Bool { run { isAttached } }

    func connect(_ host: String = "peer.example", deadline: Duration = .seconds(5)) -> (any ByteStream, Probe) {
        let probe = Probe()
        let stream = modem.connect(to: Endpoint(host: host, port: 7000), deadline: loop.now + deadline, handler: probe)
        probe.stream = stream
        return (stream, probe)
    }
}

/// A handler that keeps what it is told, and takes at most `window` bytes.
final class Probe: ByteStreamHandler, DatagramHandler {
    var stream: (any ByteStream)?
    var received: [UInt8] = []
    var datagrams: [[UInt8]] = []
    var truncated = 0
    var peer: SocketAddress?
    var isOpen = false
    var isClosed = false
    var error: SocketError?
    var writableCount = 0
    var window = Int.max
    var text: String { String(decoding: received, as: UTF8.self) }

    func opened() { isOpen = true }

    func received(_ bytes: Span<UInt8>) -> Int {
        let count = min(bytes.count, window)
        if window != .max { window -= count }
        for index in 0..<count { received.append(bytes[index]) }
        return count
    }

    func received(_ datagram: Span<UInt8>, from peer: SocketAddress, truncated: Bool) {
        datagrams.append(datagram.indices.map { datagram[$0] })
        self.peer = peer
        if truncated { self.truncated += 1 }
    }

    func writable() { writableCount += 1 }

    func closed(_ error: SocketError?) {
        precondition(!isClosed, "closed comes once")
        isClosed = true
        self.error = error
    }
}

extension ByteStream {
    func send(_ text: String) -> Int { send(Array(text.utf8)) }

    func send(_ bytes: [UInt8]) -> Int { send(bytes.span) }
}

extension DatagramSocket {
    func send(_ bytes: [UInt8], to peer: SocketAddress? = nil) throws { try send(bytes.span, to: peer) }
}
