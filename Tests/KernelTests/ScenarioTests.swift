import Kernel
import KernelScenarios
import Testing

/// What each primitive must do, on Linux; FirmwareTests has the same on a Cortex-M.
@Suite struct ScenarioTests {
    @Test(.timeLimit(.minutes(1)), arguments: Scenario.all.map { "\($0.name)" })
    func holds(name: String) async throws {
        let scenario = try #require(Scenario.all.first { "\($0.name)" == name })
        let checks = Checks()
        let task = try KernelTask {
            do throws(KernelError) { try scenario.run(checks) } catch { checks.expect(false, line: -1) }
        }
        try await task.join(.seconds(50))
        #expect(checks.failures == [], "the lines of the checks that failed; -1: it threw an error")
    }
}
