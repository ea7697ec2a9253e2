import CLinux
import Testing

/// The images that are TLS clients, with OpenSSL at the other end of their line.
@Suite(.timeLimit(.minutes(1))) struct TLSClientTests {
    private static let seed = String(repeating: "a5", count: 32)

    @Test func aKeyThatBothHaveSecuresTheLine() async throws {
        try await offPool {
            let server = try Server("-psk 0102030405060708090a0b0c0d0e0f10 -nocert -cipher PSK:@SECLEVEL=0")
            let machine = try Machine("tls-psk", second: "tcp:\(server.port)")
            try machine.wait(for: "ready\n")
            machine.type("psk identity=device key=0102030405060708090a0b0c0d0e0f10")
            try machine.wait(for: "error=bad-config\n")
            machine.type("psk identity=device key=0102030405060708090a0b0c0d0e0f10 seed=\(Self.seed)")
            try machine.wait(for: "secured heap=")
            try machine.wait(for: "olleh\n")
            let heap = try Self.heap(machine)
            // What the README says of the rest.
            #expect(heap >= 21_000)
            #expect(!machine.text.contains("fault="), "\(machine.text)")
        }
    }

    @Test func aWrongKeyIsTold() async throws {
        try await offPool {
            let server = try Server("-psk 0102030405060708090a0b0c0d0e0f10 -nocert -cipher PSK:@SECLEVEL=0")
            let machine = try Machine("tls-psk", second: "tcp:\(server.port)")
            try machine.wait(for: "ready\n")
            machine.type("psk identity=device key=ffff seed=\(Self.seed)")
            try machine.wait(for: "error=alert-20\n")
            try machine.wait(for: "end=error\n")
        }
    }

    @Test(arguments: [
        ("good-ec", "localhost", nil), ("good-rsa2048", "localhost", nil), ("good-ec", "other.example", 4),
        ("strange", "localhost", 8),
    ])
    func aServerShowsItsCertificate(certificate: String, name: String, problem: Int?) async throws {
        try await offPool {
            let directory = Server.directory
            let server = try Server("-cert \(directory)/\(certificate).crt -key \(directory)/\(certificate).key")
            let anchor = try Shell.output("xxd -p \(directory)/root.der | tr -d '\\n'")
            let machine = try Machine("tls-certificates", second: "tcp:\(server.port)")
            try machine.wait(for: "ready\n")
            machine.type("certificate name=\(name) anchor=\(anchor) seed=\(Self.seed)")
            if let problem {
                try machine.wait(for: "error=certificate-\(problem)\n", seconds: 40)
                return
            }
            try machine.wait(for: "secured heap=", seconds: 40)
            try machine.wait(for: "olleh\n")
            let heap = try Self.heap(machine)
            #expect(heap >= 9_000)
        }
    }

    /// How many bytes of its heap (32,768) an image has left while it is connected.
    private static func heap(_ machine: Machine) throws -> Int {
        let rest = try #require(machine.text.firstRange(of: "secured heap=")).upperBound
        return try #require(Int(machine.text[rest...].prefix { $0.isNumber }))
    }

    /// OpenSSL's server, which sends each line back with its letters in reverse.
    private final class Server {
        let port: Int
        private let processID: pid_t

        static let directory: String = {
            var path = Array("/tmp/apus-firmware-tls-XXXXXX".utf8CString)
            precondition(mkdtemp(&path) != nil)
            let directory = String(decoding: path.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
            let root = #filePath.split(separator: "/").dropLast(3).reduce("") { $0 + "/" + $1 }
            precondition(system("\(root)/Fixtures/certificates/make-certificates.sh \(directory)") == 0)
            atexit { system("rm -rf \(Server.directory)") }
            return directory
        }()

        init(_ options: String) throws {
            // A port that is free now.
            port = try #require(
                Int(
                    Shell.output(
                        "python3 -c 'import socket; s = socket.socket(); s.bind((\"127.0.0.1\", 0)); print(s.getsockname()[1])'"
                    )
                )
            )
            let log = "\(Self.directory)/server-\(port)"
            let number = try Shell.output(
                "setsid openssl s_server -accept 127.0.0.1:\(port) -tls1_2 -rev \(options) > \(log) 2>&1 < /dev/null & echo $!"
            )
            processID = try #require(pid_t(number))
            for _ in 0..<500 {
                if system("grep -q ACCEPT \(log)") == 0 { return }
                usleep(10_000)
            }
            Issue.record("the server does not start")
        }

        deinit { kill(processID, SIGKILL) }
    }
}

/// Commands of the shell.
private enum Shell {
    static func output(_ command: String) throws -> String {
        let pipe = try #require(popen(command, "r"))
        var output: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 4_096)
        while true {
            let count = fread(&buffer, 1, buffer.count, pipe)
            guard count > 0 else { break }
            output += buffer[..<count]
        }
        pclose(pipe)
        return String(decoding: output, as: UTF8.self).split(separator: "\n").first.map(String.init) ?? ""
    }
}
