import CLinux
import CcJSON
import Kernel
import ModemSimulator
import SAL
import Testing

@testable import HubSimulator

/// `apus modem script` at a simulated modem of each family: requests in JSON, real sockets behind.
@Suite(.timeLimit(.minutes(3))) struct ModemScriptTests {
    private func script(
        _ dialect: ModemDialect,
        _ configure: (inout ModemSimulatorConfiguration) -> Void = { _ in }
    ) throws -> ModemScript {
        var configuration = ModemSimulatorConfiguration()
        configuration.dialect = dialect
        configure(&configuration)
        return try ModemScript(configuration)
    }

    @Test(arguments: ModemDialect.allCases)
    func carriesBytesBothWays(dialect: ModemDialect) async throws {
        let server = RawServer { descriptor in
            var chunk = [UInt8](repeating: 0, count: 16_384)
            while true {
                let count = recv(descriptor, &chunk, chunk.count, 0)
                guard count > 0, RawServer.sendAll(Array(chunk[..<count]), to: descriptor) else { return }
                // The last word: the server closes first.
                if chunk[..<count].last == 0x04 { return }
            }
        }
        let script = try script(dialect)
        #expect(await script.ask(#"{"op":"start"}"#).isOK, "\(script.transcript)")
        let open = await script.ask(#"{"op":"open","proto":"tcp","host":"127.0.0.1","port":\#(server.port)}"#)
        #expect(open.isOK && open.number("sock") == 1, "\(script.transcript)")
        let bytes = Array("\r\nOK\r\n> ERROR\r\n0, CLOSED\r\n+QIURC: \"recv\",0\r\n\u{1A}@".utf8) + (0...255)
        let long = (0..<12).flatMap { _ in bytes }
        for payload in [[0x2A], bytes, long] {
            #expect(
                await script.ask(#"{"cmd":"send","sock":1,"hex":"\#(hexadecimal(payload))"}"#).number("sent")
                    == payload.count
            )
            #expect(await script.receive(payload.count) == payload, "\(script.transcript)")
        }
        #expect(await script.ask(#"{"op":"recv","sock":1,"max":9,"timeout":0.2}"#).error == "timeout")
        #expect(await script.ask(#"{"op":"send","sock":1,"hex":"6279650D0A04"}"#).number("sent") == 6)
        #expect(await script.receive(6) == Array("bye\r\n\u{04}".utf8))
        for _ in 0..<2 {
            let end = await script.ask(#"{"op":"recv","sock":1}"#)
            #expect(end.isOK && end.isTrue("eof") && end.string("hex") == "", "\(script.transcript)")
        }
        #expect(await script.ask(#"{"op":"close","sock":1}"#).isOK)
        #expect(await script.ask(#"{"op":"recv","sock":1}"#).error == "no such socket")
        #expect(await script.ask(#"{"op":"quit"}"#).isOK)
        #expect(await script.status == 0)
    }

    @Test(arguments: ModemDialect.allCases)
    func keepsDatagramsApart(dialect: ModemDialect) async throws {
        let server = try DatagramEcho()
        let script = try script(dialect)
        let open = await script.ask(#"{"op":"open","proto":"udp","host":"127.0.0.1","port":\#(server.port)}"#)
        #expect(open.number("sock") == 1, "\(script.transcript)")
        let datagrams = [Array("one".utf8), Array("\r\nOK\r\n".utf8), [UInt8](repeating: 0xFF, count: 200)]
        for datagram in datagrams {
            #expect(
                await script.ask(#"{"op":"send","sock":1,"hex":"\#(hexadecimal(datagram))"}"#).number("sent")
                    == datagram.count
            )
        }
        for datagram in datagrams {
            #expect(await script.ask(#"{"op":"recv","sock":1}"#).bytes == datagram, "\(script.transcript)")
        }
        #expect(await script.ask(#"{"op":"recv","sock":1,"timeout":0.1}"#).error == "timeout")
        #expect(await script.ask(#"{"op":"close","sock":1}"#).isOK)
    }

    @Test(arguments: ModemDialect.allCases)
    func findsNamesAndTellsFailures(dialect: ModemDialect) async throws {
        let script = try script(dialect)
        #expect(
            await script.ask(#"{"op":"resolve","host":"localhost"}"#).string("addr") == "127.0.0.1",
            "\(script.transcript)"
        )
        #expect(await script.ask(#"{"op":"resolve","host":"no-such-host.invalid"}"#).error == "name not found")
        let free = try ReservedPort(address: "127.0.0.1", port: 0)
        let refused = await script.ask(#"{"op":"open","proto":"tcp","host":"127.0.0.1","port":\#(free.number)}"#)
        #expect(!refused.isOK && refused.error != nil && refused.number("sock") == nil, "\(script.transcript)")
        // The modem is as good as before.
        let server = RawServer.echo()
        #expect(
            await script.ask(#"{"op":"open","host":"localhost","port":\#(server.port)}"#).isOK,
            "\(script.transcript)"
        )
    }

    @Test func whatCannotBeUnderstoodFailsAndNoMore() async throws {
        let script = try script(.espat)
        for line in [
            "nonsense", "[1]", "{}", #"{"op":"sing"}"#, #"{"op":"open","port":1}"#,
            #"{"op":"open","host":"x","port":70000}"#,
            #"{"op":"open","host":"x","port":1,"proto":"sctp"}"#, #"{"op":"send","sock":1,"hex":"00"}"#,
            #"{"op":"recv"}"#,
            #"{"op":"resolve"}"#, #"{"op":"start","timeout":-1}"#,
        ] {
            let reply = await script.ask(line)
            #expect(!reply.isOK && reply.error != nil, "\(line)")
        }
        #expect(await script.ask(#"{"op":"start"}"#).isOK)
        await script.endInput()
        #expect(await script.status == 0)
    }

    @Test func aSIMsPINIsGivenAndNeverTwiceIfItIsWrong() async throws {
        let right = try script(.quectel) {
            $0.pin = "1234"
            $0.isRoaming = true
            $0.registrationMilliseconds = 1_500
        }
        #expect(await right.ask(#"{"op":"start"}"#).isOK, "\(right.transcript)")
        let wrong = try script(.quectel) { $0.pin = "9999" }
        #expect(await wrong.ask(#"{"op":"start"}"#).error == "the SIM wants its PIN")
        #expect(await wrong.ask(#"{"op":"start","timeout":3}"#).error == "the SIM wants its PIN")
        #expect(wrong.transcript.components(of: "AT+CPIN=\"1234\"") == 1, "\(wrong.transcript)")
        let none = try script(.sim7600) { $0.hasSIM = false }
        #expect(await none.ask(#"{"op":"start"}"#).error == "+CME ERROR: 10")
    }
}

/// A running `apus modem script`, and its modem.
private final class ModemScript: Sendable {
    struct Reply {
        private let object: UnsafeMutablePointer<cJSON>?
        private let text: String
        init(_ text: String) {
            self.text = text
            object = cJSON_Parse(text)
        }
        private func item(_ name: String) -> UnsafeMutablePointer<cJSON>? {
            cJSON_GetObjectItemCaseSensitive(object, name)
        }
        var isOK: Bool { isTrue("ok") }
        var error: String? { string("error") }
        var bytes: [UInt8]? { string("hex").flatMap(hexadecimal) }
        func isTrue(_ name: String) -> Bool { cJSON_IsTrue(item(name)) != 0 }
        func string(_ name: String) -> String? { cJSON_GetStringValue(item(name)).map { String(cString: $0) } }
        func number(_ name: String) -> Int? {
            cJSON_IsNumber(item(name)) != 0 ? Int(cJSON_GetNumberValue(item(name))) : nil
        }
    }

    private let simulator: ModemSimulator
    private let program: TestProgram
    private let input: Int32
    private let count = Guarded(0)

    init(_ configuration: ModemSimulatorConfiguration) throws {
        let directory = try temporaryDirectory()
        // A path of its own: that of a terminal may be another modem's soon, for which a program that lives on would take it.
        var configuration = configuration
        configuration.link = "\(directory)/modem"
        simulator = try ModemSimulator(configuration)
        let pipe = "\(directory)/requests"
        try #require(mkfifo(pipe, 0o600) == 0)
        program = try TestProgram(
            "sh",
            [
                "-c",
                """
                exec \(programBesideTests("apus")) modem script --tty \(simulator.path) --dialect \(configuration.dialect.rawValue) \
                --apn cmnet --pin 1234 --join net secret < \(pipe)
                """,
            ]
        )
        // Open both ways, so that writing does not fail when the program has gone.
        input = clinux_open(pipe, O_RDWR | O_CLOEXEC, 0)
    }

    deinit { simulator.stop() }

    var transcript: String { simulator.transcript.suffix(30).joined(separator: "\n") + "\n" + program.output }
    var status: Int32 { get async { await program.wait() } }

    func endInput() async { close(input) }

    /// Sends a request, and waits for its reply.
    func ask(_ request: String) async -> Reply {
        let line = Array((request + "\n").utf8)
        _ = line.withUnsafeBytes { write(input, $0.baseAddress, $0.count) }
        let index = count.withLock { count in
            defer { count += 1 }
            return count
        }
        let program = program
        func lines() -> [Substring] { program.output.split(separator: "\n") }
        _ = await eventually(within: .seconds(60)) { program.output.count { $0 == "\n" } > index }
        return Reply(index < lines().count ? String(lines()[index]) : "")
    }

    /// Receives so many bytes, in pieces.
    func receive(_ count: Int) async -> [UInt8] {
        var bytes: [UInt8] = []
        while bytes.count < count {
            guard let piece = await ask(#"{"op":"recv","sock":1}"#).bytes, !piece.isEmpty else { return bytes }
            bytes += piece
        }
        return bytes
    }
}

/// A UDP server on 127.0.0.1 that sends back what it gets.
final class DatagramEcho: Sendable {
    let port: UInt16
    private let descriptor: Int32

    init() throws {
        let descriptor = socket(AF_INET, Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
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
        port = UInt16(bigEndian: address.sin_port)
        let loop = EventLoop.start()
        loop.execute {
            var chunk = [UInt8](repeating: 0, count: 65_536)
            var peer = sockaddr_in()
            var size = socklen_t(MemoryLayout<sockaddr_in>.size)
            while true {
                let isOpen = withUnsafeMutablePointer(to: &peer) {
                    $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { peer in
                        let count = recvfrom(descriptor, &chunk, chunk.count, 0, peer, &size)
                        return count > 0 && sendto(descriptor, chunk, count, 0, peer, size) == count
                    }
                }
                if !isOpen { break }
            }
            CLinux.close(descriptor)
            loop.stop()
        }
    }

    deinit { shutdown(descriptor, Int32(SHUT_RDWR)) }
}

private func hexadecimal(_ bytes: [UInt8]) -> String {
    bytes.map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined()
}

private func hexadecimal(_ text: String) -> [UInt8]? {
    let digits = text.compactMap(\.hexDigitValue)
    guard digits.count == text.count, digits.count % 2 == 0 else { return nil }
    return stride(from: 0, to: digits.count, by: 2).map { UInt8(digits[$0] << 4 | digits[$0 + 1]) }
}

extension String {
    /// How often `text` is in it.
    fileprivate func components(of text: String) -> Int { ranges(of: text).count }
}
