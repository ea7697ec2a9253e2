import ATAdapter
import Kernel
import ModemSimulator
import NetworkSimulator
import SAL
import Testing

/// The conformance suite over a modem, for each generation of its firmware: the servers are real sockets.
@Suite(.timeLimit(.minutes(5))) struct ModemConformanceTests {
    @Test(arguments: ConformanceCheck.all, [ModemSimulatorConfiguration.Generation.v1, .v2])
    func modemsConform(_ check: ConformanceCheck, _ generation: ModemSimulatorConfiguration.Generation) async throws {
        var configuration = ModemSimulatorConfiguration()
        configuration.generation = generation
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
        setup.bulkBytes = 20_000
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
