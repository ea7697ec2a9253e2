// The smallest image with a task: it waits.
import Kernel

@main enum Main {
    static func main() {
        do throws(KernelError) {
            _ = try KernelTask {
                do throws(KernelError) { while true { try KernelTask.delay(.milliseconds(100)) } } catch {}
            }
        } catch { return }
        Scheduler.start()
    }
}
