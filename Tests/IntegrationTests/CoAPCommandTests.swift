import CoAPClient
import Testing

@testable import HubSimulator

/// `apus coap` at libcoap's server.
@Suite(.timeLimit(.minutes(1))) struct CoAPCommandTests {
    private func apus(_ arguments: [String]) async throws -> (status: Int32, output: String) {
        let program = try TestProgram(programBesideTests("apus"), ["coap"] + arguments)
        return (await program.wait(), program.output)
    }

    @Test func asksForAllThatAServerHas() async throws {
        let server = try #require(
            await PeerProcess.started(["coap-server-notls", "-A", "127.0.0.1", "-p", "PORT", "-d", "10"])
        )
        let base = "coap://127.0.0.1:\(server.port)"
        let links = try await apus(["discover", base])
        #expect(links.status == 0 && links.output.split(separator: "\n").count == 4, "\(links.output)")
        #expect(try await apus(["discover", base, "if=clock"]).output.hasPrefix("</time>;if=\"clock\""))
        // A body of several blocks, from a file and into one.
        let file = "\(try temporaryDirectory())/body"
        let body = (0..<5_000).map { UInt8(truncatingIfNeeded: $0) }
        try replaceFile(file, with: body)
        #expect(try await apus(["put", "\(base)/mine", "-f", file, "-t", "binary"]) == (0, ""))
        #expect(try await apus(["get", "\(base)/mine", "-o", "\(file)-2", "-b", "64"]) == (0, ""))
        #expect(try readFile("\(file)-2") == body)
        let options = try await apus(["get", "\(base)/mine", "-v", "-A", "42", "-o", "/dev/null", "-N"])
        #expect(
            options.status == 0 && options.output.contains("2.05, 5000 bytes\n"),
            "\(options)"
        )
        #expect(options.output.contains("option 12: 0x2a\n"), "\(options)")
        #expect(try await apus(["delete", "\(base)/mine"]).status == 0)
        let gone = try await apus(["get", "\(base)/mine"])
        #expect(gone == (4, "apus: coap: the server answers 4.04: Not Found\n"))
        let observed = try await apus(["observe", "\(base)/time?ticks", "-C", "2"])
        #expect(
            observed.status == 0 && observed.output.split(separator: "\n").compactMap { Int($0) }.count == 2,
            "\(observed)"
        )
        #expect(try await apus(["observe", "\(base)/async?100", "-B", "1"]).status == 27)
        let tcp = "coap+tcp://127.0.0.1:\(server.port)"
        #expect(try await apus(["put", "\(tcp)/mine", "-f", file, "-t", "binary"]) == (0, ""))
        #expect(try await apus(["get", "\(tcp)/mine", "-o", "\(file)-3"]) == (0, ""))
        #expect(try readFile("\(file)-3") == body)
        for url in [base, tcp] {
            let ping = try await apus(["ping", url])
            #expect(ping.status == 0 && ping.output.hasPrefix("127.0.0.1:\(server.port) answers after "), "\(ping)")
        }
    }

    /// What is wrong, and what to do about it.
    @Test(
        arguments: [
            ([], 2, "a method and a URL are missing"), (["get"], 2, "the URL is missing"),
            (["take", "coap://x"], 2, "there is no method 'take'"), (["get", "http://x"], 2, "is no URL of CoAP"),
            (["put", "coap://x"], 2, "one of -m, -f, -s and -n"),
            (["get", "coaps://x"], 2, "coaps:// and coaps+tcp:// need --psk"),
            (["get", "coap://x", "-A", "wood"], 2, "--accept is a number"),
            (["get", "coap://no.such.host.invalid"], 1, "host name has no address"),
        ] as [([String], Int32, String)]
    )
    func mistakesAreTold(arguments: [String], status: Int32, words: String) async throws {
        let result = try await apus(arguments)
        #expect(result.status == status && result.output.contains(words), "\(result)")
    }
}
