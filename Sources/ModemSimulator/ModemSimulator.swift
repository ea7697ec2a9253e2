internal import CLinux
internal import Kernel

/// A modem that speaks AT commands over a pseudo terminal, or a socket that QEMU connects a UART to, and carries its links to TCP and UDP
/// from this machine. ``ModemDialect`` says which modems it can be.
///
/// It has a thread of its own, and shares nothing with the stack that it tests but a lock.
public final class ModemSimulator: Sendable {
    private let thread: WorkerThread
    private let listeningPath: String?
    private let isStopped = Guarded(false)
    private let link: String?

    /// A modem behind a pseudo terminal; ``path`` says which. `onLine` is told every line, `> ` from the host and `< ` to it.
    public init(
        _ configuration: ModemSimulatorConfiguration = ModemSimulatorConfiguration(),
        onLine: (@Sendable (String) -> Void)? = nil
    ) throws(ModemSimulatorError) {
        thread = try WorkerThread(configuration, front: .pty, onLine: onLine)
        link = configuration.link
        listeningPath = nil
        thread.start()
    }

    /// A modem behind a TCP port on loopback, 0 for a free one, for QEMU's `-serial tcp:127.0.0.1:PORT,nodelay=on`; one host at a time.
    public init(
        listeningOn port: UInt16,
        _ configuration: ModemSimulatorConfiguration = ModemSimulatorConfiguration(),
        onLine: (@Sendable (String) -> Void)? = nil
    ) throws(ModemSimulatorError) {
        let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var on: Int32 = 1
        setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, 4)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let isListening = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(listener, $0, size) == 0 && listen(listener, 1) == 0 && getsockname(listener, $0, &size) == 0
            }
        }
        guard isListening else {
            let reason = String(cString: strerror(clinux_errno()))
            close(listener)
            throw ModemSimulatorError(description: "cannot listen on port \(port): \(reason)")
        }
        _ = clinux_set_nonblocking(listener)
        thread = try WorkerThread(configuration, front: .listener(listener), onLine: onLine)
        link = nil
        listeningPath = ("tcp:127.0.0.1:\(UInt16(bigEndian: address.sin_port))")
        thread.start()
    }

    deinit { stop() }

    private var worker: Worker { thread.worker }

    /// What to open: the configured link, the terminal's path, or `tcp:127.0.0.1:PORT` for QEMU.
    public var path: String { link ?? listeningPath ?? worker.shared.withLock { $0.path } }

    /// Changes what it does worse than it should.
    public func setFaults(_ faults: Faults) {
        worker.shared.withLock { $0.faults = faults }
        worker.request(.wake)
    }

    /// What it has done so far.
    public var statistics: ModemStatistics { worker.shared.withLock { $0.statistics } }

    /// The latest lines, `> ` from the host and `< ` to it.
    public var transcript: [String] { worker.shared.withLock { $0.transcript } }

    /// Pulls the plug: the terminal is gone.
    public func unplug() { worker.request(.unplug) }

    /// Puts the plug back in. The terminal is a new one; with a configured link, ``path`` leads to it.
    public func plugIn() { worker.request(.plugIn) }

    /// How far the transcript has been played that it was made with.
    public var playback: ModemPlayback? { worker.shared.withLock { $0.playback } }

    /// Loses the network's data context and all links; it comes back after ``Faults/contextReturnMilliseconds``.
    public func loseContext() { worker.request(.loseContext) }

    /// Loses the connection of its firmware's MQTT, with or without telling the host.
    public func loseMQTT(hasNotice: Bool = true) { worker.request(.loseMQTT(hasNotice: hasNotice)) }

    /// Restarts by itself; all links are gone.
    public func restart(hasBanner: Bool = true) { worker.request(.restart(hasBanner: hasBanner)) }

    /// Breaks all links, with or without telling the host.
    public func breakLinks(hasNotice: Bool = true) { worker.request(.closeLinks(hasNotice: hasNotice)) }

    /// Whether it has ended, after ``stop()``.
    var hasEnded: Bool { worker.shared.withLock { $0.hasEnded } }

    /// Ends the modem.
    public func stop() {
        let wasStopped = isStopped.withLock { stopped in
            defer { stopped = true }
            return stopped
        }
        if !wasStopped { worker.request(.stop) }
    }
}
