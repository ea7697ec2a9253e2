import ATAdapter
import CLinux
import Kernel
import ModemSimulator
import SAL
import Testing

@testable import HubSimulator

/// Several channels over one serial line, with the simulator at its other end, which shares no code with the stack.
@Suite(.timeLimit(.minutes(2))) struct MultiplexedModemTests {
    private static func configuration(
        _ dialect: ModemDialect,
        _ change: (inout ModemSimulatorConfiguration) -> Void = { _ in }
    ) -> ModemSimulatorConfiguration {
        var configuration = ModemSimulatorConfiguration()
        configuration.dialect = dialect
        change(&configuration)
        return configuration
    }

    private static let payload = (0..<20_000).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 / 251) }

    @Test(arguments: [ModemDialect.quectel, .sim800, .sim7600, .ublox, .l610, .air724])
    func aNetworkAndAConsoleShareALine(dialect: ModemDialect) async throws {
        let server = RawServer.echo()
        let modem = try await MultiplexedModem(Self.configuration(dialect) { $0.faults.pieces = .random })
        let console = ChannelProbe(on: modem.loop)
        await modem.open(2, console)
        #expect(await console.eventually { $0.isOpen })
        async let echo: Void = modem.checkEcho(Self.payload, port: server.port)
        for count in 1...20 {
            #expect(await console.send("AT+CGMM\r") == 8)
            #expect(await console.eventually { $0.text.ranges(of: "OK\r\n").count == count }, "\(modem.transcript)")
        }
        await echo
        let text = console.state.withLock { $0.text }
        // Echo is on here, although the modem has switched its own off; and nothing of the other channel is in it.
        #expect(text.ranges(of: "AT+CGMM\r").count == 20)
        #expect(!text.contains("CIPSEND") && !text.contains("QI"))
        #expect(modem.simulator.statistics.damagedFrames == 0)
        let counters = await modem.counters
        #expect(counters.damagedFrames == 0 && counters.noiseBytes == 0 && counters.losses == 0)
        await modem.close()
        #expect(await console.eventually { $0.isClosed && $0.error == .closed })
        // The line is plain again.
        try await Task.sleep(for: .milliseconds(600))
        let plain = try await CommandModem.run(["console", "--tty", modem.simulator.path], input: Array("AT\n".utf8))
        #expect(plain.status == 0, "\(plain.output)")
    }

    static let settings:
        [(String, @Sendable (inout ModemSimulatorConfiguration, inout MultiplexerConfiguration) -> Void)] = [
            ("advanced", { $1.option = .advanced }), ("short frames", { $1.frameBytes = 31 }),
            ("long frames", { $1.frameBytes = 1_509 }), ("a rate without a number", { $1.baudRate = 123_456 }),
            ("C/R", { fake, _ in fake.faults.setsCommandBit = true }),
            ("no tests", { fake, _ in fake.faults.ignoresTests = true }),
            ("notices", { fake, _ in fake.faults.insertsNotices = true }),
            ("bytes", { fake, _ in fake.faults.pieces = .bytes }),
            ("a slow line", { fake, _ in fake.baudRate = 460_800 }),
        ]

    @Test(arguments: settings.indices) func carriesBytesWith(index: Int) async throws {
        let server = RawServer.echo()
        var fake = Self.configuration(.quectel)
        var own = MultiplexerConfiguration()
        Self.settings[index].1(&fake, &own)
        let modem = try await MultiplexedModem(fake, own)
        await modem.checkEcho(Self.payload, port: server.port)
        #expect(await modem.counters.losses == 0, "\(Self.settings[index].0)")
        #expect(modem.simulator.statistics.damagedFrames == 0)
    }

    @Test(arguments: [true, false]) func aModemThatRestartsIsSetUpAgain(hasBanner: Bool) async throws {
        let server = RawServer.echo()
        let modem = try await MultiplexedModem(Self.configuration(.quectel) { $0.bootMilliseconds = 300 })
        let console = ChannelProbe(on: modem.loop)
        await modem.open(2, console)
        await modem.checkEcho([1, 2, 3], port: server.port)
        modem.simulator.restart(hasBanner: hasBanner)
        // Without a banner nothing is wrong until something is said.
        _ = await console.send("AT\r")
        #expect(await console.eventually(.seconds(40)) { $0.isClosed && $0.error == .deviceRestarted })
        let second = ChannelProbe(on: modem.loop)
        await modem.open(2, second)
        #expect(await second.eventually(.seconds(40)) { $0.isOpen }, "\(modem.transcript)")
        _ = await second.send("AT\r")
        #expect(await second.eventually { $0.text.hasSuffix("OK\r\n") })
        await modem.checkEcho([4, 5, 6], port: server.port)
        #expect(await modem.counters.losses == 1)
    }

    @Test func damagedFramesDoNotEndIt() async throws {
        let modem = try await MultiplexedModem(Self.configuration(.quectel))
        let console = ChannelProbe(on: modem.loop)
        await modem.open(3, console)
        #expect(await console.eventually { $0.isOpen })
        var faults = Faults()
        faults.corruptsByteEvery = 41
        modem.simulator.setFaults(faults)
        for _ in 0..<200 {
            _ = await console.send("AT\r")
            try await Task.sleep(for: .milliseconds(2))
        }
        modem.simulator.setFaults(Faults())
        #expect(await console.eventually { _ in modem.simulator.statistics.frames > 200 })
        #expect(await modem.counters.damagedFrames > 5)
        let before = console.state.withLock { $0.text.utf8.count }
        #expect(before > 0)
        _ = await console.send("AT+CGMM\r")
        #expect(await console.eventually { $0.text.contains("AT+CGMM\r") && $0.text.hasSuffix("OK\r\n") })
        #expect(!console.state.withLock { $0.isClosed })
        #expect(await modem.counters.losses == 0)
    }

    @Test func aReaderThatTakesNothingStopsItsChannelOnly() async throws {
        let server = RawServer.echo()
        let modem = try await MultiplexedModem(Self.configuration(.quectel))
        let console = ChannelProbe(on: modem.loop)
        await modem.open(2, console)
        #expect(await console.eventually { $0.isOpen })
        await console.feed(false)
        // Far more answers than are kept here.
        for count in 1...500 {
            _ = await console.send("ATI\r")
            if count % 50 == 0 { try await Task.sleep(for: .milliseconds(20)) }
        }
        await modem.checkEcho(Self.payload, port: server.port)
        #expect(!console.state.withLock { $0.isClosed })
        await console.feed(true)
        #expect(await console.eventually { $0.text.ranges(of: "OK\r\n").count == 500 })
        #expect(await modem.counters.losses == 0)
    }

    @Test func aChannelIsRefusedClosedAndOpenedAgain() async throws {
        let modem = try await MultiplexedModem(Self.configuration(.quectel))
        let (taken, none, beyond) = (
            ChannelProbe(on: modem.loop), ChannelProbe(on: modem.loop), ChannelProbe(on: modem.loop)
        )
        await modem.open(1, taken)
        await modem.open(0, none)
        await modem.open(5, beyond)
        #expect(await taken.eventually { $0.error == .addressInUse(code: 0) })
        #expect(await none.eventually { $0.error == .notSupported })
        #expect(await beyond.eventually { $0.error == .notSupported })
        for _ in 0..<3 {
            let console = ChannelProbe(on: modem.loop)
            await modem.open(4, console)
            #expect(await console.eventually { $0.isOpen })
            _ = await console.send("AT\r")
            #expect(await console.eventually { $0.text.hasSuffix("OK\r\n") })
            await console.close()
            #expect(await console.eventually { $0.isClosed && $0.error == nil })
        }
    }

    @Test func aModemWithFewerChannelsRefusesOthers() async throws {
        var own = MultiplexerConfiguration()
        own.channels = 10
        let modem = try await MultiplexedModem(Self.configuration(.sim7600), own)
        let console = ChannelProbe(on: modem.loop)
        await modem.open(7, console)
        #expect(await console.eventually { $0.isClosed && $0.error == .refused(code: 0) })
    }

    @Test func modemsWithoutAMultiplexerSaySo() async throws {
        let loop = EventLoop.start()
        defer { loop.stop() }
        let simulator = try ModemSimulator(Self.configuration(.bc26))
        defer { simulator.stop() }
        let path = simulator.path
        let results: [SocketError?] = await loop.call {
            [ModemDriver.espAT, .bc26, .bc28, .m5310a].map { driver in
                do throws(SocketError) {
                    _ = try Multiplexer.open(driver, path: path, loop: loop)
                    return nil
                } catch { return error }
            }
        }
        #expect(results == Array(repeating: .notSupported, count: 4))
        // One that should have it, and has not.
        let multiplexer: LoopConfined<Multiplexer>? = await loop.call {
            (try? Multiplexer.open(.quectel, path: path, loop: loop)).map { LoopConfined($0) }
        }
        let opened = try #require(multiplexer)
        var state = MultiplexerState.down
        for _ in 0..<200 where state != .failed(.refused) {
            try await Task.sleep(for: .milliseconds(100))
            state = await loop.call { opened.value.state }
        }
        #expect(state == .failed(.refused))
    }

    /// An earlier program has left the modem with frames, and ended without a word.
    @Test(arguments: [true, false]) func aModemThatWasLeftWithFramesIsFound(wantsFrames: Bool) async throws {
        let configuration = Self.configuration(.quectel)
        let server = RawServer.echo()
        let first = try await MultiplexedModem(configuration)
        await first.checkEcho([1], port: server.port)
        let simulator = first.simulator
        first.loop.stop()
        let loop = EventLoop.start()
        defer { loop.stop() }
        var opened: Result<LoopConfined<Modem>, SocketError>
        repeat {
            opened = await loop.call { [path = simulator.path] in
                Result { () throws(SocketError) in
                    var own = ModemConfiguration()
                    own.apn = Array("cmnet".utf8)
                    guard wantsFrames else {
                        return LoopConfined(try Modem.open(.quectel, path: path, loop: loop, configuration: own))
                    }
                    return LoopConfined(
                        Modem(over: try Multiplexer.open(.quectel, path: path, loop: loop), configuration: own)
                    )
                }
            }
            // The earlier program has the port until its loop has ended.
        } while opened.isBusy
        let modem = try opened.get()
        let probe = StreamProbe(on: loop)
        probe.connect(over: modem.value, port: server.port, timeout: .seconds(60))
        probe.send([7])
        #expect(await probe.eventually(.seconds(60)) { $0.received == [7] }, "\(first.transcript)")
    }

    @Test func commandsUseTheMultiplexerAndLeaveIt() async throws {
        let server = RawServer.echo()
        let modem = try CommandModem(.quectel)
        let bytes = Self.payload
        let pipe = await modem.run(
            ["pipe"] + modem.options + ["--cmux", "--wait", "1", "127.0.0.1", "\(server.port)"],
            input: bytes
        )
        #expect(pipe.status == 0 && modem.lastOutput == bytes, "\(pipe.status), \(modem.transcript)")
        #expect(modem.statistics.frames > 150 && modem.statistics.damagedFrames == 0)
        let script = await modem.run(["script"] + modem.options + ["--cmux"], input: Array("{\"op\":\"start\"}\n".utf8))
        #expect(script.status == 0 && script.output.contains("\"ok\":true"), "\(script.output)")
        // The line speaks plainly again, at once.
        let console = await modem.run(
            ["console", "--tty", modem.path, "--timeout", "2"],
            input: Array("AT\nAT\n".utf8)
        )
        #expect(console.status == 0, "\(console.output)")
        let none = await modem.run(["watch", "--tty", modem.path, "--dialect", "bc28", "--cmux"])
        #expect(none.status == 1 && none.output.contains("have no multiplexer"), "\(none.output)")
    }
}

extension Result where Failure == SocketError {
    /// Another program has the port.
    fileprivate var isBusy: Bool {
        if case .failure(.other(code: EBUSY)) = self { true } else { false }
    }
}
