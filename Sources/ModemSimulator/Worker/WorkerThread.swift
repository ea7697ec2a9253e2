internal import CLinux

/// The thread of a modem whose line and sockets are those of this machine.
final class WorkerThread: Sendable {
    /// Ends the wait for something to do. Who looks a name up may keep it for longer than the thread lives.
    private final class WakeUp: Sendable {
        let descriptor = eventfd(0, Int32(EFD_CLOEXEC | EFD_NONBLOCK))
        deinit { close(descriptor) }
    }

    private let wakeUp: WakeUp
    let worker: Worker

    init(
        _ configuration: ModemSimulatorConfiguration,
        front: HostLine.Front,
        onLine: (@Sendable (String) -> Void)?
    ) throws(ModemSimulatorError) {
        let wakeUp = WakeUp()
        self.wakeUp = wakeUp
        worker = try Worker(
            configuration,
            front: front,
            carrier: SystemCarrier(),
            at: clinux_monotonic_ns(),
            onLine: onLine,
            wake: { eventfd_write(wakeUp.descriptor, 1) }
        )
    }

    /// Runs the modem until it is stopped.
    func start() {
        startThread { [self] in
            worker.start()
            while !worker.isStopping {
                wait()
                worker.turn(at: clinux_monotonic_ns())
            }
            worker.end()
        }
    }

    private func wait() {
        var watched = [pollfd(fd: wakeUp.descriptor, events: Int16(POLLIN), revents: 0)]
        if worker.readsLine { watched.append(pollfd(fd: worker.line.descriptor, events: Int16(POLLIN), revents: 0)) }
        if !worker.line.isOpen, case .listener(let descriptor) = worker.line.front {
            watched.append(pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0))
        }
        for socket in worker.sockets.watched {
            let events = (socket.reads ? POLLIN : 0) | (socket.writes ? POLLOUT : 0)
            watched.append(pollfd(fd: socket.handle, events: Int16(events), revents: 0))
        }
        // Nothing waits for longer than a second without a look around.
        let left = (worker.deadline ?? .max) - clinux_monotonic_ns()
        let timeout = left <= 0 ? 0 : Int32(min((left / 1_000_000) + 1, 1_000))
        _ = poll(&watched, nfds_t(watched.count), timeout)
        var value: eventfd_t = 0
        eventfd_read(wakeUp.descriptor, &value)
    }
}
