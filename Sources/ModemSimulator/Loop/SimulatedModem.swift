public import Kernel
public import SAL

/// A ``ModemSimulator`` without a thread, a terminal or sockets: its serial line is this stream, its links go over `network`, and its time is that of
/// their loop. In virtual time, with a network in memory, a seed repeats a run exactly, and hours pass in milliseconds.
///
/// Use it on its loop only.
public final class SimulatedModem: ByteStream, TimerHandler, EndOfTurnHandler {
    /// What a host may send before the modem reads it, as in the memory of a UART's driver.
    private static let lineBytes = 65_536

    /// Who is given what the modem says.
    public var handler: (any ByteStreamHandler)?
    private let loop: EventLoop
    private let worker: Worker
    private let carrier: NetworkCarrier
    private let timer: Timer
    private let turnEnd: EndOfTurn
    private var hasStarted = false
    private var mayOffer = true
    private var owesWritable = false
    private var isClosed = false

    /// A modem whose links go over `network`, which knows hosts by their addresses; `names` has the names that the modem can look up.
    ///
    /// Of the configuration, ``ModemSimulatorConfiguration/link`` and ``ModemSimulatorConfiguration/playing`` make no sense here.
    public init(
        _ configuration: ModemSimulatorConfiguration = ModemSimulatorConfiguration(),
        over network: any ServerNetwork,
        names: [String: IPAddress] = [:],
        onLine: (@Sendable (String) -> Void)? = nil
    ) throws(ModemSimulatorError) {
        loop = network.loop
        carrier = NetworkCarrier(network, names: names)
        worker = try Worker(
            configuration,
            front: .memory,
            carrier: carrier,
            at: Self.nanoseconds(loop.now),
            onLine: onLine,
            wake: {}
        )
        timer = Timer(on: loop)
        turnEnd = EndOfTurn(on: loop)
        carrier.changed = { [weak self] in self?.askForTurn() }
        askForTurn()
    }

    private static func nanoseconds(_ time: Duration) -> Int64 {
        time.components.seconds * 1_000_000_000 + time.components.attoseconds / 1_000_000_000
    }

    // MARK: What happens to it

    /// Changes what it does worse than it should.
    public func setFaults(_ faults: Faults) {
        worker.shared.withLock { $0.faults = faults }
        request(.wake)
    }

    /// What it has done so far.
    public var statistics: ModemStatistics { worker.shared.withLock { $0.statistics } }

    /// Loses the network's data context and all links; it comes back after ``Faults/contextReturnMilliseconds``.
    public func loseContext() { request(.loseContext) }

    /// Restarts by itself; all links are gone.
    public func restart(hasBanner: Bool = true) { request(.restart(hasBanner: hasBanner)) }

    /// Breaks all links, with or without telling the host.
    public func breakLinks(hasNotice: Bool = true) { request(.closeLinks(hasNotice: hasNotice)) }

    private func request(_ request: Worker.Request) {
        worker.request(request)
        askForTurn()
    }

    // MARK: The serial line

    /// Takes what the host says.
    public func send(_ bytes: Span<UInt8>) -> Int {
        guard !isClosed else { return 0 }
        let count = min(bytes.count, Self.lineBytes - worker.line.fromHost.count)
        if count < bytes.count { owesWritable = true }
        for index in 0..<count { worker.line.fromHost.append(bytes[index]) }
        askForTurn()
        return count
    }

    /// The host takes bytes again.
    public func resumeReceiving() {
        mayOffer = true
        askForTurn()
    }

    /// Ends the modem.
    public func close() {
        isClosed = true
        askForTurn()
    }

    /// Ends the modem.
    public func abort() { close() }

    // MARK: Turns

    private func askForTurn() { turnEnd.request(self) }

    /// Called by the loop.
    public func timerFired(_ timer: Timer) { askForTurn() }

    /// Called by the loop.
    public func endOfTurn() {
        guard !isClosed else { return end() }
        if !hasStarted {
            hasStarted = true
            worker.start()
        }
        let now = Self.nanoseconds(loop.now)
        repeat { worker.turn(at: now) } while hasMore && !worker.isStopping
        offer()
        if owesWritable, worker.line.fromHost.count <= Self.lineBytes / 2 {
            owesWritable = false
            handler?.writable()
        }
        if isClosed { return askForTurn() }
        timer.stop()
        if let deadline = worker.deadline { timer.start(at: .nanoseconds(deadline), handler: self) }
    }

    /// Whether a turn at the same time would do something.
    private var hasMore: Bool {
        if worker.readsLine, !worker.line.fromHost.isEmpty { return true }
        return worker.sockets.watched.contains { $0.reads && carrier.hasArrivals(on: $0.handle) }
    }

    /// Gives the host what the modem has said, piece by piece.
    private func offer() {
        while mayOffer, let piece = worker.line.toHost.first {
            guard let handler else { return }
            let taken = handler.received(piece.span)
            precondition(taken >= 0 && taken <= piece.count, "a handler took more than it was given")
            // It may have closed the line.
            guard !worker.line.toHost.isEmpty else { return }
            if taken == piece.count {
                worker.line.toHost.removeFirst()
            } else {
                worker.line.toHost[0].removeFirst(taken)
                mayOffer = false
            }
        }
    }

    private func end() {
        timer.stop()
        guard hasStarted else { return }
        hasStarted = false
        worker.end()
        let handler = self.handler
        self.handler = nil
        handler?.closed(nil)
    }
}
