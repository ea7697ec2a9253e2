// The scenarios of the kernel's tests, on the bare metal: prints a line for each, and ends with failure if one does not hold. It reads what to do from
// the console: `scenarios`; or `overflow` and `trap`, which end in a fault.
import Board
import Kernel
import KernelScenarios
import Startup

@main enum Main {
    static func main() {
        do throws(KernelError) {
            _ = try KernelTask("tests", stackBytes: 8192) {
                let order = Console.readLine()
                switch order.first {
                case UInt8(ascii: "o"): overflow()
                case UInt8(ascii: "t"): startup_exit(Int32([UInt8]()[order.count]))
                default: runScenarios()
                }
            }
        } catch { startup_exit(1) }
        Scheduler.start(sleep: startup_sleep_through)
    }

    /// Has a task use more stack than it has. What lies below is an array, which may be overwritten.
    static func overflow() {
        let below = [UInt8](repeating: 0, count: 4096)
        do throws(KernelError) {
            let task = try KernelTask(priority: .highest, stackBytes: 512) { outgrow(8) }
            try task.join()
        } catch {}
        startup_exit(Int32(below[0]))
    }

    @inline(never) static func outgrow(_ depth: Int) {
        var words: [32 of Int] = .init(repeating: depth)
        if depth > 0 { outgrow(depth - 1) }
        do throws(KernelError) { try KernelTask.delay(.ticks(1)) } catch {}
        words[depth] += 1
        if words[0] == -1 { startup_exit(0) }
    }

    static func runScenarios() {
        var failures = 0
        for scenario in Scenario.all + boardScenarios { if !holds(scenario) { failures += 1 } }
        Console.print("kernel-tests failures=")
        Console.print(failures)
        Console.print("\n")
        startup_exit(failures == 0 ? 0 : 1)
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
