import CLinux
import KernelScenarios
import Testing

/// The preemptive kernel on a Cortex-M4.
@Suite(.timeLimit(.minutes(1))) struct KernelImageTests {
    @Test func holdsEveryScenario() async throws {
        try await offPool {
            let machine = try Machine("kernel-tests", isSteady: true)
            machine.type("scenarios")
            try machine.wait(for: "kernel-tests failures=")
            let lines = machine.text.split(separator: "\n")
            #expect(lines.filter { $0.hasPrefix("failed") } == [])
            // Those of Linux, at least; some exist there only.
            #expect(lines.count { $0.hasPrefix("ok ") } >= Scenario.all.count)
            #expect(machine.wait() == 0)
        }
    }

    @Test(arguments: [("overflow", "fault=task-stack-overflow"), ("trap", "fault=")])
    func aTaskThatFaultsEndsTheImage(order: String, message: String) async throws {
        try await offPool {
            let machine = try Machine("kernel-tests", isSteady: true)
            machine.type(order)
            try machine.wait(for: message)
            #expect(machine.wait() == 1)
        }
    }
}
