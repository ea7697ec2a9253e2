import CLinux
import Kernel
import ModemSimulator
import Testing

@testable import HubSimulator

/// A simulated modem, and the commands that use it.
final class CommandModem: Sendable {
    let simulator: ModemSimulator
    private let dialect: ModemDialect
    private let output = Guarded<[UInt8]>([])

    init(_ dialect: ModemDialect, _ configure: (inout ModemSimulatorConfiguration) -> Void = { _ in }) throws {
        var configuration = ModemSimulatorConfiguration()
        configuration.dialect = dialect
        configuration.link = "\(try temporaryDirectory())/modem"
        configure(&configuration)
        self.dialect = dialect
        simulator = try ModemSimulator(configuration)
    }

    deinit { simulator.stop() }

    var path: String { simulator.path }
    var statistics: ModemStatistics { simulator.statistics }
    var transcript: String { simulator.transcript.suffix(30).joined(separator: "\n") }
    /// What the last command has printed on its standard output.
    var lastOutput: [UInt8] { output.withLock { $0 } }
    var options: [String] {
        ["--tty", path, "--dialect", dialect.rawValue, "--apn", "cmnet"]
            + (dialect == .espat ? ["--join", "net", "secret"] : [])
    }

    /// The line of a shell that runs `apus modem`.
    func command(_ arguments: [String]) -> String { Self.command(arguments) }

    static func command(_ arguments: [String]) -> String {
        "\(programBesideTests("apus")) modem " + arguments.joined(separator: " ")
    }

    /// Runs `apus modem` with these arguments and this input; what it says is that of both its outputs.
    func run(_ arguments: [String], input: [UInt8] = []) async -> (status: Int32, output: String) {
        guard let result = try? await Self.run(arguments, input: input) else { return (-1, "") }
        output.withLock { $0 = result.bytes }
        return (result.status, result.output)
    }

    static func run(
        _ arguments: [String],
        input: [UInt8]
    ) async throws -> (status: Int32, output: String, bytes: [UInt8]) {
        let directory = try temporaryDirectory()
        defer { removeDirectory(directory) }
        try replaceFile("\(directory)/input", with: input)
        let line = "\(command(arguments)) < \(directory)/input > \(directory)/output"
        let program = try TestProgram("sh", ["-c", line])
        let status = await program.wait()
        let bytes = try readFile("\(directory)/output")
        return (status, String(decoding: bytes, as: UTF8.self) + program.output, bytes)
    }
}

/// A pseudo terminal that answers `OK` to all lines, if its user talks at the right rate, and noise at others; or nothing.
final class SpeakingTerminal: Sendable {
    let path: String
    private let isOver = Guarded(false)

    init(rate: Int32?) throws {
        var (master, slave): (Int32, Int32) = (-1, -1)
        var settings = termios()
        cfmakeraw(&settings)
        var name = [CChar](repeating: 0, count: 256)
        try #require(openpty(&master, &slave, &name, &settings, nil) == 0)
        path = String(decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        let (descriptor, other) = (master, slave)
        _ = clinux_set_nonblocking(descriptor)
        let loop = EventLoop.start()
        loop.execute { [isOver] in
            var chunk = [UInt8](repeating: 0, count: 1_024)
            while !isOver.withLock({ $0 }) {
                let count = read(descriptor, &chunk, chunk.count)
                if count > 0, let rate {
                    // The master's settings are those of the terminal.
                    var settings = termios()
                    tcgetattr(descriptor, &settings)
                    let isRight = cfgetospeed(&settings) == speed_t(rate)
                    let answer = Array((isRight ? "\r\nOK\r\n" : "\u{7F}\u{1}\u{2}x").utf8)
                    _ = write(descriptor, answer, answer.count)
                }
                usleep(2_000)
            }
            close(descriptor)
            close(other)
            loop.stop()
        }
    }

    deinit { isOver.withLock { $0 = true } }
}
