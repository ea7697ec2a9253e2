import CLinux
import CoAPClient
import Glibc
import Kernel
import Testing

@testable import HubSimulator

/// Our server and clients of others.
@Suite(.timeLimit(.minutes(2))) struct CoAPServerPeerTests {
    private static let body = (0..<50_000).map { UInt8(truncatingIfNeeded: $0 &* 7 + $0 >> 8) }

    /// Runs libcoap's client on a path of a server; returns what it prints.
    private func ask(_ server: TestServer, _ path: String, _ options: [String] = []) async -> String {
        let url = "coap://127.0.0.1:\(server.port)/\(path)"
        let (status, output) = await run("coap-client-notls", ["-B", "20"] + options + [url])
        #expect(status == 0)
        return output
    }

    // MARK: libcoap

    @Test func libcoapReadsAndWrites() async throws {
        try await TestServer.with { server in
            #expect(await ask(server, "body") == "hello\n")
            #expect(await ask(server, "body", ["-m", "put", "-e", "new"]) == "")
            #expect(server.body.withLock { $0 } == Array("new".utf8))
            #expect(await ask(server, "body", ["-m", "post", "-e", "abc"]) == "cba\n")
            #expect(await ask(server, "body", ["-N"]) == "new\n", "without confirmation")
            #expect(await ask(server, "body", ["-A", "60"]).hasPrefix("4.06"))
            #expect(await ask(server, "body", ["-m", "delete"]) == "")
            #expect(await ask(server, "body").hasPrefix("4.04"))
            #expect(await ask(server, "body", ["-m", "fetch", "-e", "x"]).hasPrefix("4.05"))
            #expect(await ask(server, "body", ["-O", "65001,x"]).hasPrefix("4.02"))
            #expect(await ask(server, "slow") == "slow\n")
            #expect(await server.server.counters.unexpected == 0)
        }
    }

    @Test func libcoapDiscovers() async throws {
        try await TestServer.with { server in
            let all = await ask(server, ".well-known/core")
            #expect(all == "</body>;rt=\"body\";ct=42;obs,</slow>\n")
            #expect(await ask(server, ".well-known/core?rt=bo*") == "</body>;rt=\"body\";ct=42;obs\n")
            #expect(await ask(server, ".well-known/core?obs=*&href=/b*") == "</body>;rt=\"body\";ct=42;obs\n")
            #expect(await ask(server, ".well-known/core?rt=x") == "")
        }
    }

    @Test(arguments: [16, 64, 1_024]) func libcoapSendsAndReadsBlocks(size: Int) async throws {
        try await TestServer.with { server in
            let directory = try temporaryDirectory()
            defer { removeDirectory(directory) }
            try replaceFile("\(directory)/in", with: Self.body)
            #expect(await ask(server, "body", ["-m", "put", "-b", "\(size)", "-f", "\(directory)/in"]) == "")
            #expect(server.body.withLock { $0 } == Self.body)
            _ = await ask(server, "body", ["-b", "\(size)", "-o", "\(directory)/out"])
            #expect(try readFile("\(directory)/out") == Self.body)
            #expect(server.seen.withLock { $0 } == [.put: 1, .get: 1], "one request each, however many blocks")
        }
    }

    /// What libcoap's client loses on purpose is sent again, and done once.
    @Test func libcoapLosesDatagrams() async throws {
        try await TestServer.with { server in
            for number in 1...5 {
                let text = "\(number)"
                #expect(await ask(server, "body", ["-l", "1,3", "-m", "post", "-e", text + "x"]) == "x" + text + "\n")
            }
            #expect(server.seen.withLock { $0 } == [.post: 5])
        }
    }

    @Test func libcoapObserves() async throws {
        try await TestServer.with { server in
            let client = try TestProgram(
                "coap-client-notls",
                ["-w", "-s", "30", "coap://127.0.0.1:\(server.port)/body"]
            )
            #expect(await client.prints("hello\n"))
            #expect(await server.server.observerCount("body") == 1)
            for number in 0..<12 {
                // Some in blocks, some confirmable.
                let text = "state \(number)" + String(repeating: ".", count: number % 4 == 3 ? 3_000 : 0)
                server.body.withLock { $0 = Array(text.utf8) }
                await server.server.notify("body")
                #expect(await client.prints(text + "\n"), "\(number)")
            }
            // Who ends says so, or is found out with the next notification.
            client.signal(SIGINT)
            _ = await client.wait()
            let port = server.port
            for _ in 0..<5 { await server.server.notify("body") }
            #expect(await server.server.observerCount("body") == 0, "at port \(port)")
            #expect(await server.server.counters.unacknowledged == 0)
        }
    }

    // MARK: aiocoap

    private static let root = "/" + #filePath.split(separator: "/").dropLast(3).joined(separator: "/")

    @Test func aiocoapDoesAllOfIt() async throws {
        let python = "\(Self.root)/.build/python/bin/python"
        try #require(access(python, X_OK) == 0, "aiocoap is not installed; install it with scripts/install-aiocoap.sh")
        try await TestServer.with { server in
            let client = try TestProgram(python, ["\(Self.root)/Fixtures/coap/aiocoap_client.py", "\(server.port)"])
            #expect(await client.wait() == 0, "\(client.output)")
            #expect(client.output == "ok\n")
            #expect(await server.server.counters.malformed == 0)
        }
    }
}
