import ATAdapter
import CLinux
import CoAPClient
import Kernel
import ModemSimulator
import SAL
import Testing

@testable import HubSimulator

/// Bytes through a modem on a pseudo terminal, to and from TCP servers of plain system calls.
@Suite(.timeLimit(.minutes(1))) struct ModemNetworkTests {
    private static func configuration(_ change: (inout ModemSimulatorConfiguration) -> Void)
        -> ModemSimulatorConfiguration
    {
        var configuration = ModemSimulatorConfiguration()
        change(&configuration)
        return configuration
    }

    /// Bytes that hold everything that an AT parser could stumble over.
    private static func payload(_ count: Int) -> [UInt8] {
        let words = Array("\r\nOK\r\n> +IPD,0,5:\r\nERROR\r\nready\r\n+CIPRECVDATA:3,\r\n0,CLOSED\r\n".utf8)
        return (0..<count).map { index in
            index / 256 % 2 == 0 ? words[index % words.count] : UInt8(truncatingIfNeeded: index &* 31 &+ index / 251)
        }
    }

    @Test(arguments: [ModemSimulatorConfiguration.Generation.v1, .v2])
    func carriesBytesBothWays(generation: ModemSimulatorConfiguration.Generation) async throws {
        let server = RawServer.echo()
        let modem = try await TestModem(Self.configuration { $0.generation = generation })
        for size in [1, 1_460, 2_048, 4_096, 65_536] { await modem.checkEcho(Self.payload(size), port: server.port) }
        #expect(modem.simulator.statistics.linksOpened == 5)
    }

    static let harmless: [(String, @Sendable (inout Faults) -> Void)] = [
        ("bytes", { $0.pieces = .bytes }), ("random pieces", { $0.pieces = .random }),
        ("notices", { $0.insertsNotices = true }), ("echo", { $0.echoIsStuck = true }),
        ("late prompt", { $0.promptDelayMilliseconds = 20 }), ("late result", { $0.resultDelayMilliseconds = 20 }),
        ("garbage", { $0.insertsGarbage = true }), ("busy", { $0.busyEvery = 7 }), ("very busy", { $0.busyEvery = 3 }),
        (
            "all",
            {
                $0.pieces = .random
                $0.insertsNotices = true
                $0.echoIsStuck = true
                $0.insertsGarbage = true
                $0.promptDelayMilliseconds = 5
                $0.resultDelayMilliseconds = 5
            }
        ),
    ]

    @Test(arguments: harmless.indices, [ModemSimulatorConfiguration.Generation.v1, .v2])
    func staysIntactWith(index: Int, generation: ModemSimulatorConfiguration.Generation) async throws {
        let server = RawServer.echo()
        let (name, change) = Self.harmless[index]
        let modem = try await TestModem(
            Self.configuration {
                $0.generation = generation
                change(&$0.faults)
            }
        )
        // Each busy answer costs half a second.
        let size = name.hasSuffix("busy") ? 6_000 : 20_000
        await modem.checkEcho(Self.payload(size), port: server.port)
    }

    /// Whether a connection ends with an error, or an intact stream, and never with wrong bytes.
    private func sendUntilItBreaks(_ modem: TestModem, port: UInt16) async -> SocketError? {
        let probe = modem.connect(port: port)
        let bytes = Self.payload(100_000)
        probe.send(bytes)
        #expect(await probe.eventually(.seconds(40)) { $0.isClosed }, "\(modem.transcript)")
        let state = probe.state.withLock { $0 }
        #expect(state.received == Array(bytes.prefix(state.received.count)))
        return state.error
    }

    @Test func aSendThatFailsBreaksTheStreamAndNoMore() async throws {
        let server = RawServer.echo()
        let modem = try await TestModem()
        await modem.checkEcho([1], port: server.port)
        var faults = Faults()
        faults.failsSendEvery = 5
        modem.simulator.setFaults(faults)
        #expect(await sendUntilItBreaks(modem, port: server.port) == .streamDamaged(code: 0))
        modem.simulator.setFaults(Faults())
        await modem.checkEcho(Self.payload(5_000), port: server.port)
    }

    @Test func lostResultsBreakTheStreamAndNoMore() async throws {
        let server = RawServer.echo()
        let modem = try await TestModem()
        await modem.checkEcho([1], port: server.port)
        var faults = Faults()
        faults.losesResultEvery = 10
        modem.simulator.setFaults(faults)
        let error = await sendUntilItBreaks(modem, port: server.port)
        #expect([.streamDamaged(code: 0), .timedOut, .deviceRestarted].contains(error))
        modem.simulator.setFaults(Faults())
        await modem.checkEcho(Self.payload(5_000), port: server.port)
    }

    @Test func aDeafModemEndsItsSocketsAndIsUsedAgainLater() async throws {
        let server = RawServer.echo()
        let modem = try await TestModem()
        await modem.checkEcho([1], port: server.port)
        var faults = Faults()
        faults.isDeaf = true
        modem.simulator.setFaults(faults)
        let probe = modem.connect(port: server.port, timeout: .seconds(2))
        #expect(await probe.eventually { $0.isClosed })
        #expect(probe.state.withLock { $0.error } == .timedOut)
        modem.simulator.setFaults(Faults())
        await modem.checkEcho(Self.payload(5_000), port: server.port)
    }

    @Test func aRestartEndsAllSocketsAndIsNoticed() async throws {
        let server = RawServer.echo()
        let modem = try await TestModem()
        let probes = (0..<3).map { _ in modem.connect(port: server.port) }
        for probe in probes { #expect(await probe.eventually { $0.isOpen }) }
        modem.simulator.restart()
        for probe in probes {
            #expect(await probe.eventually { $0.isClosed })
            #expect(probe.state.withLock { $0.error } == .deviceRestarted)
        }
        await modem.checkEcho(Self.payload(5_000), port: server.port)
    }

    @Test(arguments: [ModemSimulatorConfiguration.Generation.v1, .v2])
    func deliversUnreadDataBeforeTheEnd(generation: ModemSimulatorConfiguration.Generation) async throws {
        let bytes = Self.payload(5_000)
        let server = RawServer { descriptor in RawServer.sendAll(bytes, to: descriptor) }
        let modem = try await TestModem(Self.configuration { $0.generation = generation })
        let probe = StreamProbe(on: modem.loop)
        probe.state.withLock { $0.window = 0 }
        modem.connect(probe, port: server.port)
        #expect(await probe.eventually { $0.isOpen })
        // The server has closed long before all is taken.
        for _ in 0..<5 {
            probe.open(window: 1_000)
            #expect(await probe.eventually { $0.window == 0 || $0.isClosed })
        }
        probe.open(window: .max)
        #expect(await probe.eventually { $0.isClosed }, "\(modem.transcript)")
        let state = probe.state.withLock { $0 }
        #expect(state.received == bytes)
        #expect(state.error == nil)
    }

    @Test func aReaderThatTakesNothingStopsThePeer() async throws {
        let sent = Guarded(0)
        let server = RawServer { descriptor in
            let chunk = [UInt8](repeating: 7, count: 65_536)
            while RawServer.sendAll(chunk, to: descriptor) { sent.withLock { $0 += chunk.count } }
        }
        let modem = try await TestModem()
        let probe = StreamProbe(on: modem.loop)
        probe.state.withLock { $0.window = 0 }
        modem.connect(probe, port: server.port)
        #expect(await probe.eventually { $0.isOpen })
        // The kernel's buffers fill up, and then nothing more is sent.
        var last = -1
        while last < sent.withLock({ $0 }) {
            last = sent.withLock { $0 }
            await offPool { _ = usleep(300_000) }
        }
        let commands = modem.simulator.statistics.commands
        await offPool { _ = usleep(300_000) }
        #expect(modem.simulator.statistics.commands == commands, "nobody asks for what nobody takes")
        #expect(probe.state.withLock { !$0.isClosed && $0.received.isEmpty })
        probe.close()
        #expect(await probe.eventually { $0.isClosed })
    }

    @Test(arguments: [ModemSimulatorConfiguration.Generation.v1, .v2])
    func reportsARefusedPortAndAnUnknownName(generation: ModemSimulatorConfiguration.Generation) async throws {
        let modem = try await TestModem(Self.configuration { $0.generation = generation })
        let free = try ReservedPort(address: "127.0.0.1", port: 0)
        let refused = modem.connect(port: free.number)
        #expect(await refused.eventually { $0.isClosed })
        #expect(refused.state.withLock { $0.error } == .refused(code: 0))
        let unknown = modem.connect(port: 1, host: "no-such-host.invalid")
        #expect(await unknown.eventually { $0.isClosed })
        #expect(unknown.state.withLock { $0.error } == .nameNotFound)
        let wrong = modem.connect(port: 1, host: "a\"\r\nAT+RST\r\n")
        #expect(await wrong.eventually { $0.isClosed })
        #expect(wrong.state.withLock { $0.error } == .nameNotFound)
        #expect(!modem.simulator.transcript.contains("> AT+RST"))
    }

    @Test func aSixthSocketWaitsForOneOfFive() async throws {
        let server = RawServer.echo()
        let modem = try await TestModem()
        let probes = (0..<5).map { _ in modem.connect(port: server.port) }
        for (index, probe) in probes.enumerated() {
            probe.send([UInt8](repeating: UInt8(index), count: 1_000))
            #expect(await probe.eventually { $0.received == [UInt8](repeating: UInt8(index), count: 1_000) })
        }
        let impatient = modem.connect(port: server.port, timeout: .milliseconds(200))
        #expect(await impatient.eventually { $0.isClosed })
        #expect(impatient.state.withLock { $0.error } == .tooManySockets(code: 0))
        let patient = modem.connect(port: server.port)
        patient.send([9])
        probes[2].close()
        #expect(await patient.eventually { $0.received == [9] })
    }

    /// Datagrams: a device of the hub over CoAP, whose endpoint is libcoap.
    @Test(arguments: [ModemSimulatorConfiguration.Generation.v1, .v2])
    func carriesDatagrams(generation: ModemSimulatorConfiguration.Generation) async throws {
        var configuration = ModemSimulatorConfiguration()
        configuration.generation = generation
        let modem = try await TestModem(configuration)
        let cloud = CoAPCloud()
        let endpoint = try cloud.endpoint()
        defer { endpoint.stop() }
        let device = CoAPDevice(port: endpoint.port, over: modem.network)
        let token = try await device.authenticate()
        let payloads = (0..<20).map { [UInt8](repeating: UInt8($0), count: 1 + $0 * 40) }
        for payload in payloads {
            let answer = try await device.post(CoAPDevice.prefix + "event", payload, token: token, wantsAnswer: true)
            #expect(answer.code == .content, "\(modem.transcript)")
        }
        #expect(cloud.posted.withLock { $0.map(\.payload) } == payloads, "\(modem.transcript)")
        await device.close()
    }
}
