import ATAdapter
import Kernel
import ModemSimulator
import NetworkSimulator
import SAL
import Testing

/// The conformance suite over every modem: the servers are real sockets.
@Suite(.timeLimit(.minutes(10))) struct ModemConformanceTests {
    /// A family of modems, and a generation of its firmware.
    struct Family: Sendable, CustomTestStringConvertible {
        var dialect = ModemDialect.espat
        var generation = ModemSimulatorConfiguration.Generation.v2
        var testDescription: String { generation == .v1 ? "\(dialect) 1" : "\(dialect)" }

        static let all = [Family(generation: .v1)] + ModemDialect.allCases.map { Family(dialect: $0) }
    }

    @Test(arguments: ConformanceCheck.all, Family.all)
    func modemsConform(_ check: ConformanceCheck, _ family: Family) async throws {
        // SIM7600 does not say from whom a datagram is that is read.
        if family.dialect == .sim7600, check.name == "datagrams of others than the peer are dropped" { return }
        var configuration = ModemSimulatorConfiguration()
        configuration.dialect = family.dialect
        configuration.generation = family.generation
        let modem = try await TestModem(configuration)
        let second = try await TestModem(configuration)
        let serverLoop = EventLoop.start()
        defer { serverLoop.shutDown(within: .seconds(1)) }
        var setup = ConformanceCheck.Setup(
            subject: modem.network,
            server: LinuxNetwork(loop: serverLoop),
            serverAddress: .v4(0x7F00_0001),
            serverHost: "127.0.0.1"
        )
        setup.other = second.network
        setup.serverName = "localhost"
        // u-blox wants 70 ms of silence in each send.
        setup.bulkBytes = family.dialect == .ublox ? 4_000 : 20_000
        setup.tellsResets = false
        setup.restartDevice = { [simulator = modem.simulator] in simulator.restart() }
        do { try await check.run(setup) } catch { throw ConformanceNote("\(error)\n\(modem.transcript)") }
        await modem.loop.call { [modem] in modem.network.close() }
        await second.loop.call { [second] in second.network.close() }
    }
}

private struct ConformanceNote: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}
