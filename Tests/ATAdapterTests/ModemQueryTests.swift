import CLinux
import Kernel
import ModemSimulator
import Testing

@testable import ATAdapter

/// What a modem is asked beside its sockets: who it is, where, how late it is, and how it sleeps.
@Suite(.timeLimit(.minutes(1))) struct ModemQueryTests {
    private static let cellular = ModemDialect.allCases.filter { $0 != .espat }

    /// The result of one query, asked when the modem is attached.
    private func answer<Value>(
        of dialect: ModemDialect,
        _ ask: @escaping (Modem, @escaping (Result<Value, ATError>) -> Void) -> Void
    ) throws -> Result<Value, ATError>? {
        let bench = try VirtualBench(dialect)
        var answer: Result<Value, ATError>?
        bench.run {
            bench.after(.seconds(10)) {
                #expect(bench.modem.state == .attached)
                ask(bench.modem) {
                    #expect(answer == nil)
                    answer = $0
                }
            }
            bench.after(.seconds(60)) { bench.finish() }
        }
        return answer
    }

    @Test(arguments: cellular) func tellsWhatItIs(dialect: ModemDialect) throws {
        let identity = try #require(try answer(of: dialect) { $0.queryIdentity($1) }?.get())
        #expect(!identity.maker.isEmpty && !identity.model.isEmpty && !identity.firmware.isEmpty)
        #expect(identity.imei == Array("860000000000017".utf8))
        #expect(identity.iccid == Array("89860012345678901234".utf8))
        #expect(identity.imsi == Array("460001234567890".utf8))
    }

    @Test func aModemForWirelessNetworksTellsItsFirmware() throws {
        let identity = try #require(try answer(of: .espat) { $0.queryIdentity($1) }?.get())
        #expect(identity.firmware == Array("2.2.0.0(simulated)".utf8))
        #expect(identity.maker == Array("Espressif".utf8))
        #expect(identity.imei.isEmpty && identity.iccid.isEmpty)
    }

    @Test(arguments: cellular) func tellsItsNetwork(dialect: ModemDialect) throws {
        #expect(try answer(of: dialect) { $0.queryRegistration($1) } == .success(.home))
        let network = try #require(try answer(of: dialect) { $0.queryOperator($1) }?.get())
        #expect(network.name == Array("46000".utf8))
        #expect(network.technology != nil)
    }

    @Test func aModemWithoutACellularNetworkRefuses() throws {
        #expect(try answer(of: .espat) { $0.queryRegistration($1) } == .failure(.refused))
        #expect(try answer(of: .espat) { $0.queryOperator($1) } == .failure(.refused))
        #expect(throws: ATError.refused) { try answer(of: .espat) { $0.setPowerSaving(nil, $1) }?.get() }
    }

    @Test(arguments: ModemDialect.allCases) func tellsTheTime(dialect: ModemDialect) throws {
        let time = try #require(try answer(of: dialect) { $0.queryTime($1) }?.get())
        #expect(abs(time.secondsSince1970 - Int64(CLinux.time(nil))) < 60)
        #expect(time.zoneMinutes == (dialect == .espat ? 0 : 120))
    }

    @Test(arguments: [
        ("+CCLK: \"24/02/29,23:59:59+00\"\n", 1_709_251_199, 0),
        ("+CCLK:\"26/11/22,10:30:00+08\"\n", 1_795_336_200, 120),
        ("+CCLK: \"24/12/31,20:00:00-16\"\n", 1_735_689_600, -240), ("+CCLK: \"2024/1/1,0:0:0\"\n", 1_704_067_200, 0),
    ])
    func readsClocks(answer: String, seconds: Int64, zone: Int) {
        let time = ModemTime(answer: Array(answer.utf8))
        #expect(time?.secondsSince1970 == seconds && time?.zoneMinutes == zone)
    }

    @Test(arguments: [
        "", "OK\n", "+CCLK: \"80/01/06,00:00:12+00\"\n", "+CCLK: \"70/01/01,00:00:00+00\"\n",
        "+CCLK: \"26/13/01,00:00:00+00\"\n",
        "+CCLK: \"26/11\"\n", "+CCLK: \"26/11/22,10:30:00+\"\n", "+CCLK: \"26/11/22,99:99:99+00\"\n",
    ])
    func aClockThatNobodyHasSetTellsNoTime(answer: String) {
        #expect(ModemTime(answer: Array(answer.utf8)) == nil)
        #expect(ModemTime(sntp: Array(answer.utf8)) == nil)
    }

    @Test func registrationIsTheBestOfThree() {
        func registration(_ answers: String...) -> ModemRegistration? {
            ModemRegistration(answers: answers.map { Array($0.utf8) })
        }
        #expect(registration("+CEREG: 0,2\n", "+CGREG: 0,5\n", "+CREG: 0,1\n") == .home)
        #expect(registration("+CEREG: 0,2\n", "+CGREG: 0,5\n") == .roaming)
        #expect(registration("+CEREG: 2,3,\"1A2B\",\"01\",7\n", "+CREG: 0,0\n") == .denied)
        #expect(registration("+CEREG: 0,10\n") == .roaming)
        #expect(registration("+CEREG: 0,77\n") == .unknown)
        #expect(registration("ERROR\n", "+CREG: 1\n") == nil)
    }

    // MARK: Sleep

    /// The shortest unit that reaches as far is the most exact.
    @Test(arguments: [
        (2, "01100001", 2), (63, "10000011", 90), (3_600, "00000110", 3_600), (7_200, "00001100", 7_200),
        (86_400, "00111000", 86_400), (999_999_999, "11011111", 35_712_000),
    ])
    func theIntervalOfUpdatesIsCoded(seconds: Int, bits: String, rounded: Int) {
        let mode = ModemPowerSaving(updateInterval: .seconds(seconds), activeTime: .seconds(10))
        #expect(mode.updateBits == UInt8(bits, radix: 2))
        #expect(mode.updateInterval == .seconds(rounded))
    }

    @Test(arguments: [(0, "00000000", 0), (30, "00001111", 30), (63, "00100010", 120), (99_999, "01011111", 11_160)])
    func theActiveTimeIsCoded(seconds: Int, bits: String, rounded: Int) {
        let mode = ModemPowerSaving(updateInterval: .seconds(10), activeTime: .seconds(seconds))
        #expect(mode.activeBits == UInt8(bits, radix: 2))
        #expect(mode.activeTime == .seconds(rounded))
    }

    @Test func powerSavingReachesTheModem() throws {
        let mode = ModemPowerSaving(updateInterval: .seconds(8 * 3_600), activeTime: .seconds(30))
        let bench = try VirtualBench(.bc26)
        var lines: [String] = []
        bench.run {
            bench.after(.seconds(10)) {
                bench.modem.setPowerSaving(mode) { result in
                    #expect(throws: Never.self) { try result.get() }
                    try? bench.modem.execute(Array("AT+CPSMS?".utf8)) { result in
                        lines.append(String(decoding: (try? result.get()) ?? [], as: UTF8.self))
                    }
                }
                let reception = ModemDiscontinuousReception(.nbIoT, cycle: .seconds(60))
                #expect(reception.cycle == .milliseconds(81_920))
                bench.modem.setDiscontinuousReception(reception) { _ in
                    try? bench.modem.execute(Array("AT+CEDRXS?".utf8)) { result in
                        lines.append(String(decoding: (try? result.get()) ?? [], as: UTF8.self))
                    }
                }
            }
            bench.after(.seconds(40)) { bench.finish() }
        }
        // 8 h are 8 × 1 h (unit 001), and 30 s are 15 × 2 s (unit 000); 81.92 s is cycle 5.
        #expect(lines.contains("+CPSMS: 1,,,\"00101000\",\"00001111\"\n"), "\(lines)")
        #expect(lines.contains("+CEDRXS: 5,\"0101\"\n"), "\(lines)")
    }

    @Test func cyclesAreThoseOfTheStandard() {
        for (seconds, code) in [(1, 0), (6, 1), (20, 2), (40, 3), (41, 5), (100, 9), (11_000, 15)] {
            #expect(Int(ModemDiscontinuousReception(.lte, cycle: .seconds(seconds)).bits) == code)
        }
    }

    /// What wakes a modem is lost: that is no command.
    @Test(arguments: [ModemDialect.quectel, .sim800, .ublox, .air724], [true, false])
    func aModemThatSleepsIsWoken(dialect: ModemDialect, wakes: Bool) throws {
        var configuration = ModemConfiguration()
        if wakes { configuration.wakesAfter = .seconds(5) }
        let bench = try VirtualBench(dialect, configuration: configuration)
        bench.run {
            bench.after(.seconds(10)) {
                bench.modem.setSleep(isAllowed: true) { result in #expect(throws: Never.self) { try result.get() } }
            }
            bench.after(.seconds(60)) {
                let probe = bench.connect()
                bench.after(.seconds(20)) {
                    #expect(bench.simulated.statistics.wakeUps > 0)
                    let isInTime = probe.isOpen && !probe.isClosed && bench.modem.counters.timeouts == 0
                    #expect(isInTime == wakes)
                    bench.finish()
                }
            }
        }
    }

    // MARK: Without a network

    @Test func aModemWithoutASIMTellsWhatItIs() throws {
        let bench = try VirtualBench(.quectel) { $0.hasSIM = false }
        var answer: Result<ModemIdentity, ATError>?
        bench.run {
            bench.after(.seconds(10)) {
                #expect(bench.modem.state != .attached)
                bench.modem.queryIdentity { answer = $0 }
            }
            bench.after(.seconds(60)) { bench.finish() }
        }
        let identity = try #require(try answer?.get())
        #expect(identity.imei == Array("860000000000017".utf8))
        #expect(identity.iccid.isEmpty)
    }

    // MARK: Tasks

    @Test func tasksAsk() async throws {
        var configuration = ModemSimulatorConfiguration()
        configuration.dialect = .quectel
        let simulator = try ModemSimulator(configuration)
        defer { simulator.stop() }
        let loop = EventLoop.start()
        let path = simulator.path
        let modem = try await loop.open(path)
        #expect(try await modem.identity().imei == Array("860000000000017".utf8))
        #expect(try await modem.registration() == .home)
        #expect(try await modem.networkOperator().name == Array("46000".utf8))
        #expect(try await modem.time().zoneMinutes == 120)
        #expect(try await modem.execute("AT+CSQ").count == 1)
        await #expect(throws: ATError.refused) { try await modem.execute("AT+NOSUCHTHING") }
        try await modem.setSleep(isAllowed: false)
        var faults = Faults()
        faults.isDeaf = true
        simulator.setFaults(faults)
        let task = Task { try await modem.execute("AT+CSQ", timeout: .seconds(600)) }
        try await Task.sleep(for: .milliseconds(50))
        task.cancel()
        await #expect(throws: ATError.cancelled) { try await task.value }
        await loop.call { modem.close() }
        loop.stop()
    }
}

extension EventLoop {
    fileprivate func open(_ path: String) async throws -> Modem {
        try await call { Result { try Modem.open(.quectel, path: path, loop: self) } }.get()
    }
}
