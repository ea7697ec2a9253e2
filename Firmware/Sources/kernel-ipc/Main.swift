// Two tasks with a mutex, a semaphore, event flags and a message queue between them.
import Kernel

@main enum Main {
    static func main() {
        let mutex = Mutex()
        let semaphore = Semaphore()
        let flags = EventFlags()
        let queue = MessageQueue<Int>(capacity: 4)
        do throws(KernelError) {
            _ = try KernelTask {
                do throws(KernelError) {
                    while true {
                        try mutex.lock()
                        try mutex.unlock()
                        try semaphore.post()
                        try flags.set(1)
                        try queue.send(1)
                        try KernelTask.delay(.milliseconds(100))
                    }
                } catch {}
            }
            _ = try KernelTask(priority: .highest) {
                do throws(KernelError) {
                    while true {
                        try semaphore.wait()
                        _ = try flags.wait(for: 1, .all, clearing: true)
                        _ = try queue.receive(.seconds(1))
                        try mutex.lock(.milliseconds(10))
                        try mutex.unlock()
                    }
                } catch {}
            }
        } catch { return }
        Scheduler.start()
    }
}
