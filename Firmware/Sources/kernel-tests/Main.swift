// The scenarios of the kernel's tests, on the bare metal: prints a line for each, and ends with failure if one does not hold.
import Board
import Kernel
import KernelScenarios
import Startup

@main enum Main {
    static func main() {
        do throws(KernelError) {
            _ = try KernelTask("tests", stackBytes: 8192) {
                var failures = 0
                for scenario in Scenario.all { if !holds(scenario) { failures += 1 } }
                Console.print("kernel-tests failures=")
                Console.print(failures)
                Console.print("\n")
                startup_exit(failures == 0 ? 0 : 1)
            }
        } catch { startup_exit(1) }
        Scheduler.start()
    }

    static func holds(_ scenario: Scenario) -> Bool {
        let checks = Checks()
        do throws(KernelError) { try scenario.run(checks) } catch { checks.expect(false, line: -1) }
        let failures = checks.failures
        Console.print(failures.isEmpty ? "ok " : "failed ")
        Console.print(scenario.name)
        for line in failures {
            Console.print(", line ")
            Console.print(line)
        }
        Console.print("\n")
        return failures.isEmpty
    }
}
