import ATAdapter
import CLinux
import Kernel
import ModemSimulator
import SAL
import Testing

/// At which rate a modem is found, and to which one it is switched; the pty's two ends have one set of settings, which the simulated modem looks at.
@Suite(.timeLimit(.minutes(2))) struct ModemRateTests {
    private static func simulator(_ dialect: ModemDialect) throws -> ModemSimulator {
        var configuration = ModemSimulatorConfiguration()
        configuration.dialect = dialect
        configuration.lineRate = 115_200
        return try ModemSimulator(configuration)
    }

    /// The settings of a terminal that somebody else has.
    private static func settings(_ path: String) -> (speed: speed_t, flags: tcflag_t) {
        let descriptor = clinux_open(path, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC, 0)
        defer { close(descriptor) }
        var settings = termios()
        tcgetattr(descriptor, &settings)
        return (cfgetospeed(&settings), settings.c_cflag)
    }

    private func open(
        _ simulator: ModemSimulator,
        _ dialect: ModemDialect,
        _ settings: SerialSettings,
        _ rate: ModemRate,
        on loop: EventLoop
    ) async throws -> Modem {
        let driver = try #require(ModemDriver(named: dialect.rawValue))
        let path = simulator.path
        let modem = await loop.call {
            Result { LoopConfined(try Modem.open(driver, path: path, settings: settings, rate: rate, loop: loop)) }
        }
        return try modem.get().value
    }

    private func attaches(_ modem: Modem, within time: Duration = .seconds(30)) async -> Bool {
        await polls(within: time) { await modem.loop.call { modem.state == .attached } }
    }

    /// Whether `condition` comes true in time.
    private func polls(within time: Duration, _ condition: () async -> Bool) async -> Bool {
        let end = ContinuousClock.now + time
        while ContinuousClock.now < end {
            if await condition() { return true }
            try? await Task.sleep(for: .milliseconds(50))
        }
        return false
    }

    @Test func aModemAtAnotherRateIsNoise() async throws {
        let simulator = try Self.simulator(.quectel)
        defer { simulator.stop() }
        let loop = EventLoop.start()
        defer { loop.stop() }
        let modem = try await open(simulator, .quectel, SerialSettings(baudRate: 9_600), .fixed, on: loop)
        #expect(await !attaches(modem, within: .seconds(3)))
        #expect(simulator.statistics.bytesIn > 0 && simulator.statistics.commands == 0)
        await loop.call { modem.close() }
    }

    @Test(arguments: [SerialSettings(baudRate: 9_600), SerialSettings(baudRate: 57_600)])
    func aModemIsFoundAtItsRate(settings: SerialSettings) async throws {
        let simulator = try Self.simulator(.quectel)
        defer { simulator.stop() }
        let loop = EventLoop.start()
        defer { loop.stop() }
        let modem = try await open(simulator, .quectel, settings, .detected, on: loop)
        #expect(await attaches(modem))
        #expect(Self.settings(simulator.path).speed == speed_t(B115200))
        await loop.call { modem.close() }
    }

    @Test(arguments: [ModemDialect.quectel, .espat]) func aModemIsSwitched(dialect: ModemDialect) async throws {
        let simulator = try Self.simulator(dialect)
        defer { simulator.stop() }
        let loop = EventLoop.start()
        defer { loop.stop() }
        let settings = SerialSettings(baudRate: 115_200)
        let modem = try await open(simulator, dialect, settings, .switched(to: 3_000_000), on: loop)
        #expect(await attaches(modem))
        #expect(Self.settings(simulator.path).speed == speed_t(B3000000))
        // A restart makes it forget the rate: it is found, and switched again.
        simulator.restart(hasBanner: false)
        await #expect(throws: ATError.timedOut) { try await modem.execute("AT", timeout: .seconds(1)) }
        #expect(await polls(within: .seconds(30)) { await loop.call { modem.state != .attached } })
        #expect(await attaches(modem, within: .seconds(60)))
        #expect(await polls(within: .seconds(10)) { Self.settings(simulator.path).speed == speed_t(B3000000) })
        await loop.call { modem.close() }
    }

    @Test func aModemThatRefusesStaysAtItsRate() async throws {
        let simulator = try Self.simulator(.quectel)
        defer { simulator.stop() }
        let loop = EventLoop.start()
        defer { loop.stop() }
        // More than the modem can have, though the line could.
        let settings = SerialSettings(baudRate: 115_200)
        let modem = try await open(simulator, .quectel, settings, .switched(to: 4_000_000), on: loop)
        #expect(await attaches(modem))
        #expect(Self.settings(simulator.path).speed == speed_t(B115200))
        await loop.call { modem.close() }
    }

    @Test(arguments: [ModemDialect.quectel, .espat]) func flowControlIsSetAtBothEnds(dialect: ModemDialect) async throws
    {
        let simulator = try Self.simulator(dialect)
        defer { simulator.stop() }
        let loop = EventLoop.start()
        defer { loop.stop() }
        let settings = SerialSettings(baudRate: 115_200, hasFlowControl: true)
        let modem = try await open(simulator, dialect, settings, .fixed, on: loop)
        #expect(await attaches(modem))
        #expect(Self.settings(simulator.path).flags & tcflag_t(CRTSCTS) != 0)
        let command = dialect == .espat ? "AT+UART_CUR=115200,8,1,0,3" : "AT+IFC=2,2"
        #expect(simulator.transcript.contains("> \(command)"), "\(simulator.transcript)")
        await loop.call { modem.close() }
    }

    @Test func onlyOneProgramHasAPort() async throws {
        let simulator = try Self.simulator(.quectel)
        defer { simulator.stop() }
        let loop = EventLoop.start()
        defer { loop.stop() }
        let settings = SerialSettings(baudRate: 115_200)
        let modem = try await open(simulator, .quectel, settings, .fixed, on: loop)
        await #expect(throws: SocketError.other(code: EBUSY)) {
            _ = try await open(simulator, .quectel, settings, .fixed, on: loop)
        }
        await loop.call { modem.close() }
        // It is free again.
        #expect(
            await polls(within: .seconds(10)) {
                if let other = try? await open(simulator, .quectel, settings, .fixed, on: loop) {
                    await loop.call { other.close() }
                    return true
                }
                return false
            }
        )
    }
}
