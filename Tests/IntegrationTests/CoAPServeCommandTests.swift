import CLinux
import CoAPClient
import Glibc
import Testing

@testable import HubSimulator

/// `apus coap serve`, asked by libcoap's client and ours.
@Suite(.timeLimit(.minutes(2))) struct CoAPServeCommandTests {
    /// A folder that is served, beside a secret that is not.
    private final class Served {
        let directory: String
        let program: TestProgram
        let port: UInt16
        var folder: String { "\(directory)/folder" }

        init(_ options: [String] = []) async throws {
            directory = try temporaryDirectory()
            let folder = "\(directory)/folder"
            for path in [folder, "\(folder)/sub", "\(folder)/.hidden"] { #expect(mkdir(path, 0o755) == 0) }
            try replaceFile("\(directory)/secret", with: Array("secret".utf8))
            try replaceFile("\(folder)/a.txt", with: Array("hello".utf8))
            try replaceFile("\(folder)/sub/b.json", with: Array("{}".utf8))
            try replaceFile("\(folder)/.hidden/c", with: [1])
            #expect(symlink("\(directory)/secret", "\(folder)/link") == 0)
            #expect(symlink("..", "\(folder)/up") == 0)
            #expect(mkfifo("\(folder)/pipe", 0o644) == 0)
            let program = try TestProgram(
                programBesideTests("apus"),
                ["coap", "serve", folder, "--port", "0", "--bind", "127.0.0.1"] + options
            )
            self.program = program
            #expect(await program.prints("/\n"), "\(program.output)")
            port = try #require(program.output.split(separator: ":").last.flatMap { UInt16($0.dropLast(2)) })
        }

        deinit { removeDirectory(directory) }

        /// What libcoap's client prints.
        func ask(_ path: String, _ options: [String] = []) async -> String {
            let url = "coap://127.0.0.1:\(port)/\(path)"
            let (status, output) = await run("coap-client-notls", ["-B", "20"] + options + [url])
            #expect(status == 0)
            return output
        }
    }

    private static let body = (0..<50_000).map { UInt8(truncatingIfNeeded: $0 &* 7 + $0 >> 8) }

    @Test func filesAndFoldersAreRead() async throws {
        let served = try await Served()
        #expect(await served.ask("a.txt") == "hello\n")
        #expect(await served.ask("sub/b.json", ["-A", "50"]) == "{}\n")
        #expect(await served.ask("sub/b.json", ["-A", "60"]).hasPrefix("4.06"))
        #expect(await served.ask("nowhere").hasPrefix("4.04"))
        let list = "</a.txt>;ct=0;sz=5;obs,</sub>;ct=40;obs"
        #expect(await served.ask("") == list + "\n")
        #expect(await served.ask("sub") == "</sub/b.json>;ct=50;sz=2;obs\n")
        #expect(await served.ask(".well-known/core") == list + ",</sub/b.json>;ct=50;sz=2;obs\n")
        #expect(await served.ask(".well-known/core?ct=50") == "</sub/b.json>;ct=50;sz=2;obs\n")
        for size in [16, 512, 1_024] {
            try replaceFile("\(served.folder)/large", with: Self.body)
            _ = await served.ask("large", ["-b", "\(size)", "-o", "\(served.directory)/out"])
            #expect(try readFile("\(served.directory)/out") == Self.body)
        }
        // Not writable.
        #expect(await served.ask("a.txt", ["-m", "put", "-e", "x"]).hasPrefix("4.05"))
        #expect(await served.ask("a.txt", ["-m", "delete"]).hasPrefix("4.05"))
        served.program.signal(SIGINT)
        #expect(await served.program.wait() == 0)
    }

    @Test func aFileThatIsKnownIsOnlyConfirmed() async throws {
        let served = try await Served()
        let looped = LoopedClient(port: served.port)
        let first = try await looped.client.get("a.txt")
        var request = CoAPRequest(.get, path: "a.txt")
        request.options.eTag = first.options.eTag
        #expect(try await looped.client.send(request).code == .valid)
        try replaceFile("\(served.folder)/a.txt", with: Array("other".utf8))
        let changed = try await looped.client.send(request)
        #expect(changed.code == .content && changed.payload == Array("other".utf8))
        #expect(changed.options.contentFormat == .textPlain)
        await looped.close()
    }

    /// Whatever a client writes into the path, it stays in the folder.
    @Test func noPathLeadsOut() async throws {
        let served = try await Served(["--writable"])
        let looped = LoopedClient(port: served.port)
        for segments in [
            ["..", "secret"], ["sub", "..", "..", "secret"], ["../secret"], ["sub/../../secret"], ["link"], ["up"],
            ["up", "secret"], ["pipe"], [".hidden"], [".hidden", "c"], ["", "a.txt"], ["."], ["a.txt", ""],
            ["\(served.directory)/secret"], ["a.txt\0"], ["sub", "\0"], ["sub", ""],
        ] {
            for method in [.get, .put, .delete] as [CoAPCode] {
                // Sent as they are: our client would not send dots, so the message is made by hand.
                let socket = RawDatagrams(to: served.port)
                var options = CoAPOptions()
                for segment in segments { options.add(.uriPath, Array(segment.utf8)) }
                let payload: [UInt8] = method == .put ? [1] : []
                let message = CoAPMessage(
                    type: .confirmable,
                    code: method,
                    messageID: 1,
                    options: options,
                    payload: payload
                )
                socket.send(message.encoded)
                let code = try CoAPMessage(decoding: await socket.receivePatiently().span).code
                // What is not there counts as deleted.
                #expect(!code.isSuccess || method == .delete && code == .deleted, "\(method) \(segments): \(code)")
            }
        }
        #expect(try readFile("\(served.directory)/secret") == Array("secret".utf8))
        #expect(try readFile("\(served.folder)/a.txt") == Array("hello".utf8))
        #expect(access("\(served.folder)/.hidden/c", F_OK) == 0 && access("\(served.folder)/pipe", F_OK) == 0)
        var status = stat()
        #expect(lstat("\(served.folder)/link", &status) == 0 && status.st_mode & S_IFMT == S_IFLNK)
        await looped.close()
    }

    @Test func filesAreWritten() async throws {
        let served = try await Served(["--writable"])
        try replaceFile("\(served.directory)/in", with: Self.body)
        let put = ["-m", "put", "-f", "\(served.directory)/in", "-b", "512"]
        #expect(await served.ask("sub/new", put) == "")
        #expect(try readFile("\(served.folder)/sub/new") == Self.body)
        let looped = LoopedClient(port: served.port)
        #expect(try await looped.client.put("sub/new", payload: [1]).code == .changed)
        #expect(try await looped.client.put("sub/newer", payload: [2]).code == .created)
        #expect(try await looped.client.put("nowhere/new", payload: [2]).code == .conflict)
        #expect(try await looped.client.put("sub", payload: [2]).code == .methodNotAllowed)
        #expect(try await looped.client.delete("sub").code == .methodNotAllowed)
        var guarded = CoAPRequest(.put, path: "a.txt", payload: [3])
        guarded.options.add(.ifNoneMatch, [])
        #expect(try await looped.client.send(guarded).code == .preconditionFailed)
        #expect(await served.ask("a.txt", ["-m", "delete"]) == "")
        #expect(try await looped.client.get("a.txt").code == .notFound)
        #expect(
            try await looped.client.get("sub").payload
                == Array("</sub/b.json>;ct=50;sz=2;obs,</sub/new>;ct=42;sz=1;obs,</sub/newer>;ct=42;sz=1;obs".utf8)
        )
        await looped.close()
    }

    @Test func changesAreObserved() async throws {
        let served = try await Served(["--writable"])
        let url = "coap://127.0.0.1:\(served.port)/a.txt"
        let client = try TestProgram("coap-client-notls", ["-w", "-s", "30", url])
        #expect(await client.prints("hello\n"))
        for number in 0..<4 {
            let text = "state \(number)" + String(repeating: ".", count: number == 2 ? 3_000 : 0)
            if number % 2 == 0 {
                try replaceFile("\(served.folder)/a.txt", with: Array(text.utf8))
            } else {
                #expect(await served.ask("a.txt", ["-m", "put", "-e", text]) == "")
            }
            #expect(await client.prints(text + "\n"), "\(number)")
        }
        #expect(unlink("\(served.folder)/a.txt") == 0)
        #expect(await client.prints("4.04"), "\(client.output)")
        client.signal(SIGINT)
        _ = await client.wait()
    }

    @Test func aKeyMakesItSecret() async throws {
        let served = try await Served(["--psk", "0102030405060708", "--psk-identity", "device"])
        func get(_ key: String) async -> (status: Int32, output: String) {
            let url = "coaps://127.0.0.1:\(served.port)/a.txt"
            return await run(
                programBesideTests("apus"),
                ["coap", "get", url, "--psk", key, "--psk-identity", "device", "-B", "5"]
            )
        }
        #expect(await get("0102030405060708") == (0, "hello"))
        #expect(await get("0102030405060709").status != 0)
    }

    @Test(
        arguments: [
            (["serve"], "'serve' has one folder"), (["serve", "/nowhere"], "cannot serve /nowhere: No such file"),
            (["serve", "/etc/hostname"], "Not a directory"), (["serve", "/tmp", "--bind", "x"], "'x' is no address"),
            (["serve", "/tmp", "--port", "70000"], "--port is a number"),
        ] as [([String], String)]
    )
    func mistakesAreTold(arguments: [String], words: String) async {
        let result = await run(programBesideTests("apus"), ["coap"] + arguments)
        #expect(result.status != 0 && result.output.contains(words), "\(result)")
    }
}
