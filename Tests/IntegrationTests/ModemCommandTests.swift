import CLinux
import Kernel
import ModemSimulator
import Testing

@testable import HubSimulator

/// `apus modem …` at simulated modems.
@Suite(.timeLimit(.minutes(3))) struct ModemCommandTests {
    @Test func aGroupOfCommandsIsListed() async {
        let apus = programBesideTests("apus")
        let list = await run(apus, ["modem"])
        #expect(list.status == 2 && list.output.contains("apus modem COMMAND"), "\(list.output)")
        #expect(list.output.contains("  modem script ") && !list.output.contains("modem-simulator"), "\(list.output)")
        #expect(await run(apus, ["modem", "--help"]).status == 0)
        let unknown = await run(apus, ["modem", "sing"])
        #expect(unknown.status == 2 && unknown.output.contains("'apus modem --help'"), "\(unknown.output)")
        let simulator = await run(apus, ["modem-simulator", "--help"])
        #expect(simulator.status == 0 && simulator.output.contains("apus modem-simulator"), "\(simulator.output)")
    }
}
