import ATAdapter
import Glibc
import Jobs
import Kernel
import SAL

let usage = """
    usage: bench-at [--plugin FILE]
               Measures what a modem's driver takes for each byte of the serial line, the modem itself being a few prepared lines in the same
               process. --plugin is QEMU's to count instructions (Sources/instructions.c).
           bench-at --driver NAME --mode receive|send|lines --count BYTES
               Does one job, and prints what it took as a line of JSON: so many bytes of payload received or sent in pieces of 1,024, or of lines
               that say nothing new.
    """

/// The serial line, and at its end a modem whose answers are prepared.
final class PreparedModem: ByteStream {
    var handler: (any ByteStreamHandler)?
    private var owed: [[UInt8]] = []
    private var line: [UInt8] = []
    private var payloadLeft = 0
    private let isPush: Bool
    /// The number that the driver has given the connection.
    private(set) var link: Character = "0"
    /// What the modem has for its reader, in pieces.
    var waiting = 0
    static let payload = [UInt8](repeating: 0x61, count: 1_024)
    private let read = Array("\r\n+QIRD: 1024\r\n".utf8) + payload + Array("\r\nOK\r\n".utf8)
    private let empty = Array("\r\n+QIRD: 0\r\n\r\nOK\r\n".utf8)

    init(isPush: Bool) { self.isPush = isPush }

    func resumeReceiving() {}
    func close() {}
    func abort() {}

    func send(_ bytes: Span<UInt8>) -> Int {
        for index in bytes.indices {
            // The line feed of a terminator is no payload.
            if payloadLeft > 0, bytes[index] != 0x0A {
                payloadLeft -= 1
                if payloadLeft == 0 { say("\r\nSEND OK\r\n") }
            } else if bytes[index] == 0x0D {
                answer()
                line.removeAll(keepingCapacity: true)
            } else if bytes[index] != 0x0A {
                line.append(bytes[index])
            }
        }
        return bytes.count
    }

    private func say(_ text: String) { owed.append(Array(text.utf8)) }
    private func isLine(_ text: StaticString) -> Bool {
        line.count >= text.utf8CodeUnitCount && memcmp(line, text.utf8Start, text.utf8CodeUnitCount) == 0
    }

    private func answer() {
        if isLine("AT+QIRD=") {
            owed.append(waiting > 0 ? read : empty)
            if waiting > 0 { waiting -= 1 }
        } else if isLine("AT+CIPSEND=") || isLine("AT+QISEND=") {
            payloadLeft = line.drop { $0 != UInt8(ascii: ",") }.dropFirst().reduce(0) { 10 * $0 + Int($1 & 15) }
            say(isPush ? "\r\nOK\r\n\r\n>" : "\r\n> ")
        } else if isLine("AT+CIPSTART=") {
            link = Character(UnicodeScalar(line[12]))
            say("\(link),CONNECT\r\n\r\nOK\r\n")
        } else if isLine("AT+QIOPEN=") {
            link = Character(UnicodeScalar(line[12]))
            say("\r\nOK\r\n\r\n+QIOPEN: \(link),0\r\n")
        } else if isLine("AT+QIACT?") {
            say("\r\n+QIACT: 1,1,1,\"10.1.2.3\"\r\n\r\nOK\r\n")
        } else if isLine("AT+CPIN?") {
            say("\r\n+CPIN: READY\r\n\r\nOK\r\n")
        } else if isLine("AT+CEREG?") {
            say("\r\n+CEREG: 0,1\r\n\r\nOK\r\n")
        } else if isLine("AT+CIPRECVMODE") {
            // So that it is pushed.
            say("\r\nERROR\r\n")
        } else {
            say("\r\nOK\r\n")
        }
    }

    var owesAnswers: Bool { !owed.isEmpty }

    /// Says what is owed.
    func settle() {
        let answers = owed
        owed.removeAll(keepingCapacity: true)
        for answer in answers { say(answer) }
    }

    func say(_ bytes: [UInt8]) { _ = handler?.received(bytes.span) }
}

final class Owner: ByteStreamHandler {
    var received = 0
    var isOpen = false
    /// Why it is closed.
    var end: String?
    func attemptFailed(_ address: SocketAddress, _ error: SocketError) {}
    func opened() { isOpen = true }
    func received(_ bytes: Span<UInt8>) -> Int {
        received += bytes.count
        return bytes.count
    }
    func writable() {}
    func peerEnded() {}
    func closed(_ error: SocketError?) { end = error.map { "\($0)" } ?? "the peer has closed it" }
}

/// Processor time of this process, in seconds.
private func cpu() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
}

func run(_ name: String, _ mode: String, _ count: Int) throws -> Double {
    guard let driver = ModemDriver(named: name), name == "espat" || name == "quectel" else { throw BenchError(usage) }
    let loop = EventLoop()
    let line = PreparedModem(isPush: name == "espat")
    let owner = Owner()
    let modem = Modem(driver, serial: line, loop: loop)
    let stream = modem.connect(
        to: Endpoint(host: "192.0.2.7", port: 7),
        deadline: loop.now + .seconds(60),
        handler: owner
    )
    // The loop has nothing but the modem, whose work is done at the end of each turn.
    func turn() { repeat { loop.run(after: { line.settle() }, while: { false }) } while line.owesAnswers }
    for _ in 0..<5_000 where !owner.isOpen && owner.end == nil {
        turn()
        usleep(1_000)
    }
    guard owner.isOpen else { throw BenchError("the modem does not open its socket: \(owner.end ?? "no answer")") }
    let push = Array("\r\n+IPD,\(line.link),1024:".utf8) + PreparedModem.payload
    let notice = Array("\r\n+QIURC: \"recv\",\(line.link)\r\n".utf8)
    let lines = Array("\r\n+QIND: \"csq\",23,99\r\nWIFI GOT IP\r\n".utf8)
    let start = cpu()
    switch (mode, name) {
    case ("receive", "espat"): while owner.received < count, owner.end == nil { line.say(push) }
    case ("receive", _):
        line.waiting = count / 1_024
        line.say(notice)
        turn()
        guard owner.received >= count / 1_024 * 1_024 else { throw BenchError("\(owner.received) bytes of \(count)") }
    case ("send", _):
        var sent = 0
        while sent < count, owner.end == nil {
            let taken = stream.send(PreparedModem.payload.span)
            sent += taken
            turn()
        }
    case ("lines", _): for _ in 0..<count / lines.count { line.say(lines) }
    default: throw BenchError(usage)
    }
    if let end = owner.end { throw BenchError("the socket was closed: \(end)") }
    return cpu() - start
}

@main struct Bench {
    static func main() {
        do {
            var options: [String: String] = [:]
            var rest = CommandLine.arguments.dropFirst()
            while let name = rest.popFirst() {
                guard name.hasPrefix("--"), let value = rest.popFirst() else { throw BenchError(usage) }
                options[String(name.dropFirst(2))] = value
            }
            if let driver = options["driver"] {
                guard let mode = options["mode"], let count = options["count"].flatMap({ Int($0) }) else {
                    throw BenchError(usage)
                }
                print("{\"count\":\(count),\"cpu_s\":\(rounded(try run(driver, mode, count), 6))}")
            } else {
                try compare(options["plugin"])
            }
        } catch {
            let text = Array("\(error)\n".utf8)
            _ = write(2, text, text.count)
            exit(1)
        }
    }

    private static func compare(_ plugin: String?) throws {
        print(
            "What a driver takes per byte of payload, or of lines that say nothing new; and how much of a core that is on a line of 921,600 baud."
        )
        for (driver, mode) in [
            ("espat", "receive"), ("espat", "send"), ("quectel", "receive"), ("quectel", "send"), ("quectel", "lines"),
        ] {
            func arguments(_ count: Int) -> [String] { ["--driver", driver, "--mode", mode, "--count", "\(count)"] }
            let count = 50_000_000
            let times = (0..<3).compactMap { _ in Job.measure(arguments(count))?["cpu_s"] }
            guard let least = times.min() else { throw BenchError("\(driver) cannot \(mode)") }
            let nanoseconds = least / Double(count) * 1e9
            var text =
                "\(driver) \(mode): \(rounded(nanoseconds, 2)) ns/B, \(rounded(1e3 / nanoseconds, 0)) MB/s, \(rounded(nanoseconds * 92_160 / 1e7, 4)) % of a core"
            if let plugin, Job.canCountInstructions, let once = Job.instructions(arguments(1_000_000), plugin),
                let twice = Job.instructions(arguments(2_000_000), plugin)
            {
                text += ", \(rounded(Double(twice - once) / 1e6, 2)) instructions/B"
            }
            print(text)
            fflush(nil)
        }
    }
}
