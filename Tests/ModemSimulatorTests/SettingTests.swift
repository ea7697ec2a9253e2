import CLinux
import Testing

@testable import ModemSimulator

/// Options, profiles and their table.
@Suite struct SettingTests {
    /// A value for a setting that is not its default.
    private static func value(of setting: Setting) -> String {
        let known = [
            "dialect": "sim800", "firmware": "1", "pin": "1234", "signal": "-90", "pieces": "bytes", "overlap": "drop",
            "prompt": "bare", "link-limit": "3", "sim": "off", "mqtt": "off", "line-rate": "9600",
        ]
        return known[setting.name] ?? (setting.value == "on|off" ? "on" : "77")
    }

    @Test func everySettingSetsSomethingOfItsOwn() throws {
        let settings = Setting.groups.flatMap(\.settings)
        var seen: Set<String> = []
        for setting in settings {
            var configuration = ModemSimulatorConfiguration()
            try configuration.apply(setting.name, Self.value(of: setting))
            #expect(seen.insert(String(describing: configuration)).inserted, "\(setting.name)")
        }
        #expect(!seen.contains(String(describing: ModemSimulatorConfiguration())))
        #expect(Set(settings.map(\.name)).count == settings.count)
    }

    @Test func everyFaultHasASetting() throws {
        var configuration = ModemSimulatorConfiguration()
        for setting in Setting.groups.flatMap(\.settings) {
            try configuration.apply(setting.name, Self.value(of: setting))
        }
        for (changed, usual) in zip(
            Mirror(reflecting: configuration.faults).children,
            Mirror(reflecting: Faults()).children
        ) {
            #expect(String(describing: changed.value) != String(describing: usual.value), "\(changed.label ?? "")")
        }
    }

    @Test func readsAProfile() throws {
        var configuration = ModemSimulatorConfiguration()
        try configuration.apply(
            profile: """
                # A slow Quectel in a bad place.
                dialect   quectel
                baud 9600        # as it left the factory

                \tpieces random\r
                send-fail-every 5
                roaming on
                pin 0000
                """
        )
        #expect(configuration.dialect == .quectel)
        #expect(configuration.baudRate == 9_600)
        #expect(configuration.faults.pieces == .random)
        #expect(configuration.faults.failsSendEvery == 5)
        #expect(configuration.isRoaming)
        #expect(configuration.pin == "0000")
    }

    static let wrong: [(String, String)] = [
        ("dialect quectel\nbusy 3", "line 2: there is no setting 'busy'; --help lists them"),
        ("busy-every", "line 1: busy-every is a number from 0 to 1000000000, not ''"),
        ("busy-every -1", "line 1: busy-every is a number from 0 to 1000000000, not '-1'"),
        ("deaf yes", "line 1: deaf is on or off, not 'yes'"),
        ("pieces a b", "line 1: pieces is one of whole, bytes, random, not 'a b'"),
        ("pin 12", "line 1: pin is 4 to 8 digits, not '12'"),
        ("firmware 3", "line 1: firmware is 1 or 2, not '3'"),
        (
            "dialect nokia",
            "line 1: dialect is one of espat, quectel, sim7600, sim800, ublox, bc26, bc28, m5310a, l610, air724, not 'nokia'"
        ),
    ]

    @Test(arguments: wrong) func saysWhatIsWrongInAProfile(text: String, message: String) {
        var configuration = ModemSimulatorConfiguration()
        let error = #expect(throws: ModemSimulatorError.self) { try configuration.apply(profile: text) }
        #expect(error?.description == message)
    }

    static let wrongOptions: [([String], String)] = [
        (["--colour", "red"], "unknown option --colour; --help lists them"),
        (["quectel"], "unknown option quectel; --help lists them"),
        (["--dialect"], "--dialect needs a value; see --help"),
        (["--pieces", "some"], "--pieces is one of whole, bytes, random, not 'some'"),
        (["--listen", "70000"], "--listen is a port from 0 to 65535, not '70000'"),
        (["--profile", "/nowhere/a"], "cannot read /nowhere/a: No such file or directory"),
        (["--play", "/nowhere/a"], "/nowhere/a: cannot read /nowhere/a: No such file or directory"),
    ]

    @Test(arguments: wrongOptions) func saysWhatIsWrongInAnOption(arguments: [String], message: String) {
        let error = #expect(throws: ModemSimulatorError.self) { _ = try ProgramOptions(arguments) }
        #expect(error?.description == message)
        #expect(runModemSimulator(as: "test", arguments: arguments) == 2)
    }

    @Test func laterOptionsOverrideProfiles() throws {
        let file = TemporaryFile("dialect l610\nseed 4\n")
        let options = try ProgramOptions(["--profile", file.path, "--seed", "9", "--listen", "0", "--verbose"])
        #expect(options.configuration.dialect == .l610)
        #expect(options.configuration.seed == 9)
        #expect(options.port == 0)
        #expect(options.isVerbose)
        let wrong = TemporaryFile("seed x\n")
        let error = #expect(throws: ModemSimulatorError.self) { _ = try ProgramOptions(["--profile", wrong.path]) }
        #expect(error?.description == "\(wrong.path): line 1: seed is a number, not 'x'")
    }

    @Test func aSignalToAnyThreadEndsTheProgramInOrder() async {
        await #expect(processExitsWith: .exitCode(1)) {
            let link = "/tmp/apus-modem-program-\(getpid())"
            let transcript = TemporaryFile("> \"AT\"\n")
            startThread {
                let status = runModemSimulator(arguments: ["--link", link, "--play", transcript.path])
                unlink(transcript.path)
                // The host has not done its part, and the link is gone.
                exit(access(link, F_OK) == 0 ? 9 : status)
            }
            while access(link, F_OK) != 0 { usleep(1_000) }
            usleep(50_000)
            kill(getpid(), SIGTERM)
            sleep(10)
        }
    }

    @Test func theHelpNamesEverySettingAndDialect() {
        let help = ProgramOptions.help(of: "modem-simulator")
        for setting in Setting.groups.flatMap(\.settings) {
            #expect(help.contains("  --\(setting.name) \(setting.value)"))
        }
        for dialect in ModemDialect.allCases { #expect(help.contains("\n  \(dialect.rawValue) ")) }
        for line in help.split(separator: "\n") { #expect(line.count <= 130, "\(line)") }
        #expect(runModemSimulator(arguments: ["--help"]) == 0)
    }
}

/// A file that is gone after the test.
final class TemporaryFile: Sendable {
    let path: String

    init(_ text: String = "") {
        var template = Array("/tmp/apus-modem-test-XXXXXX".utf8CString)
        let file = mkstemp(&template)
        path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        let bytes = Array(text.utf8)
        _ = write(file, bytes, bytes.count)
        close(file)
    }

    deinit { unlink(path) }

    var text: String { (try? readWholeFile(path)).map { String(decoding: $0, as: UTF8.self) } ?? "" }
}
