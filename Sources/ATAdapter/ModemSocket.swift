internal import Kernel
internal import SAL

/// A socket of a modem: what its owner sees, and how far the modem is with it.
///
/// The owner's side is over when ``isEnded`` is set; the object stays until the modem has closed the link too.
class ModemSocket {
    enum Phase: UInt8 {
        /// It has no link yet.
        case waiting
        case opening, open
        /// The link is to be closed, or is being closed.
        case closing
        /// The link was closed, and rests until one more command has been answered, so that old notices are past.
        case resting
        /// It has no link any more.
        case gone
    }

    final let modem: Modem
    /// The next of the modem's sockets.
    final var next: ModemSocket?
    /// The host to connect to: its name, or its address as text once that is known.
    final var host: [UInt8]
    final let port: UInt16
    final let isDatagram: Bool
    /// When the opening, or after ``close()`` the closing, must be done.
    final var deadline: Duration
    final var phase = Phase.waiting
    /// Which link it has in the phases from ``Phase/opening`` to ``Phase/resting``.
    final var link = -1
    /// The last command that was started before the link was closed.
    final var restsAfter = 0
    /// The number belonged to somebody else: it is closed, and opened again.
    final var mustReopen = false
    final var hasReopened = false
    /// The next command of its opening, and whether it can be sent.
    final var openStep = 0
    final var isStepDue = false
    /// The modem has taken the last of them and says later how it ended, at the latest then.
    final var opensUntil: Duration?
    /// What it has said about that already.
    final var openNotice: ATNotice?
    /// How long the datagram is that waits, if the modem has said so.
    final var announcedBytes = 0
    /// How often it has sent since it was read from.
    final var sendsSinceRead = 0
    /// A read is in flight.
    final var isReading = false
    /// When a send that has taken nothing is repeated, and how often in a row it was.
    final var resendsAt = Duration.zero
    final var resends = 0
    /// Told when all was sent, or never will be.
    final var sent: (() -> Void)?
    /// Data waits in the modem.
    final var hasData = false
    /// The peer has ended the stream; what the modem still holds is read first.
    final var isPeerDone = false
    /// The owner wants no more of it; what was sent goes out first.
    final var isClosing = false
    /// The owner's side is over, and the owner is told so at the end of the turn.
    final var isEnded = false
    final var isTold = false
    final var error: SocketError?
    final var owesWritable = false
    /// The handler takes bytes again.
    final var mayOffer = false
    /// What the owner has sent.
    final var outgoing = ByteQueue()
    /// What the handler has not taken, or the start of a datagram.
    final var untaken: [UInt8] = []

    init(_ modem: Modem, host: [UInt8], port: UInt16, isDatagram: Bool, deadline: Duration) {
        self.modem = modem
        self.host = host
        self.port = port
        self.isDatagram = isDatagram
        self.deadline = deadline
    }

    /// Whether `address` is that of the peer.
    final func isPeer(_ other: SocketAddress) -> Bool { other.port == port && other.address == address }

    // What a stream and a datagram socket do each in their own way.

    /// Whether it is more than a name to be resolved.
    var wantsLink: Bool { true }

    func tellOpened() {}
    func tellWritable() {}
    func tellClosed() {}
    func deliver(_ bytes: Span<UInt8>, isLast: Bool) {}
    func offerUntaken() {}
    /// How many bytes the next send command takes; 0 for none.
    var chunkBytes: Int { 0 }
    /// How many bytes of ``outgoing`` stand before a chunk.
    var headBytes: Int { 0 }

    /// Calls `body` with the `count` bytes that a send command has announced. Meanwhile there may be more.
    final func withChunk(_ count: Int, _ body: (Span<UInt8>) -> Void) {
        let head = headBytes
        outgoing.withSpan { body($0.extracting(head..<head + count)) }
    }

    /// Whether the host's address must be known first, and is not.
    var needsAddress: Bool { address == nil && !modem.traits.opensByName }

    /// The host's address, once that is known.
    final var address: IPAddress? {
        let host = self.host
        return IPAddress(ipv4: host.span)
    }

    /// Whether the owner is still there and wants bytes.
    final var isReceiving: Bool { phase == .open && !isEnded && !isClosing }

    /// Whether ``deadline`` counts.
    final var hasDeadline: Bool { !isEnded && (isClosing || phase == .waiting || phase == .opening) }

    final func close() {
        guard isReceiving else { return isClosing ? () : abort() }
        isClosing = true
        untaken = []
        deadline = modem.time(after: 10_000)
        modem.askForEndOfTurn()
    }

    final func abort() { end(nil) }

    /// Ends the owner's side. What the modem still has to do about it, it does without the owner.
    final func end(_ error: SocketError?) {
        if isEnded { return }
        isEnded = true
        self.error = error
        untaken = []
        outgoing.removeAll()
        if phase == .open || phase == .opening && (opensUntil != nil || isStepDue) { phase = .closing }
        opensUntil = nil
        if phase == .waiting { phase = .gone }
        modem.askForEndOfTurn()
    }
}
