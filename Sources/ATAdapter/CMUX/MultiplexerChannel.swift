internal import Kernel
internal import SAL

/// A channel of a ``Multiplexer``: what its owner sees. The multiplexer settles at the end of a turn what is due.
final class MultiplexerChannel: ByteStream {
    enum Phase {
        /// There are no frames yet, or the channel is being opened.
        case waiting, opening
        case open
        /// What was taken is still to be sent; and then the modem is to close it too.
        case flushing, closing
        /// Its owner is told at the end of the turn; and then it is over.
        case ending(SocketError?)
        case over
    }

    var handler: (any ByteStreamHandler)?
    let number: Int
    let multiplexer: Multiplexer
    var phase = Phase.waiting
    var outgoing = ByteQueue(keeping: 1_024)
    var owesWritable = false
    /// What its handler has not taken yet.
    private var incoming = ByteQueue(keeping: 1_024)
    private var isWaiting = false
    /// Until when what was taken may be sent after ``close()``.
    private(set) var lingersUntil = CMUXSession.never

    init(_ number: Int, _ multiplexer: Multiplexer, _ handler: any ByteStreamHandler) {
        self.number = number
        self.multiplexer = multiplexer
        self.handler = handler
    }

    /// Whether the modem has the channel, or may have it.
    var isAtModem: Bool {
        switch phase {
        case .opening, .open, .flushing, .closing: true
        case .waiting, .ending, .over: false
        }
    }

    /// Whether its owner has been told that it is over, or is going to be.
    var isEnding: Bool {
        switch phase {
        case .ending, .over: true
        case .waiting, .opening, .open, .flushing, .closing: false
        }
    }

    var isOver: Bool { if case .over = phase { true } else { false } }
    var isOpen: Bool { if case .open = phase { true } else { false } }
    /// Whether the owner has more than it takes.
    var isFull: Bool { !incoming.isEmpty }

    // MARK: What the owner does

    func send(_ bytes: Span<UInt8>) -> Int {
        guard case .open = phase else { return 0 }
        let count = min(bytes.count, multiplexer.configuration.sendBufferBytes - outgoing.count)
        if count < bytes.count { owesWritable = true }
        if count > 0 { outgoing.append(bytes.extracting(first: count)) }
        multiplexer.askForEndOfTurn()
        return max(count, 0)
    }

    func resumeReceiving() {
        isWaiting = false
        multiplexer.askForEndOfTurn()
    }

    func close() {
        switch phase {
        case .waiting: phase = .ending(nil)
        case .opening, .open:
            phase = .flushing
            incoming.removeAll()
            lingersUntil = multiplexer.loop.now + .seconds(5)
        case .flushing, .closing, .ending, .over: return
        }
        multiplexer.askForEndOfTurn()
    }

    func abort() {
        switch phase {
        case .closing, .ending, .over: return
        case .waiting, .opening, .open, .flushing: break
        }
        if isAtModem { multiplexer.drop(number) }
        end(nil)
    }

    // MARK: What the multiplexer does

    /// The owner is told at the end of the turn.
    func end(_ error: SocketError?) {
        switch phase {
        case .ending, .over: return
        case .waiting, .opening, .open, .flushing, .closing: phase = .ending(error)
        }
        outgoing.removeAll()
        multiplexer.askForEndOfTurn()
    }

    /// Keeps what has arrived; returns whether there is room for it.
    func keep(_ bytes: Span<UInt8>) -> Bool {
        guard isOpen else { return true }
        incoming.append(bytes)
        return incoming.count <= multiplexer.configuration.receiveBufferBytes
    }

    /// Offers what has arrived, unless the handler has left something and not asked for it.
    func offer() {
        guard isOpen, !incoming.isEmpty, !isWaiting else { return }
        // The handler may close the channel meanwhile.
        var offered = ByteQueue(keeping: 1_024)
        swap(&offered, &incoming)
        let taken = offered.withSpan { handler?.received($0) ?? 0 }
        precondition(taken >= 0 && taken <= offered.count, "a handler took more than it was given")
        guard isOpen else { return }
        isWaiting = taken < offered.count
        offered.removeFirst(taken)
        swap(&offered, &incoming)
    }

    func tellWritable() {
        guard isOpen, owesWritable, outgoing.count <= multiplexer.configuration.sendBufferBytes / 2 else { return }
        owesWritable = false
        handler?.writable()
    }

    /// Tells the owner of the end.
    func tellEnd() {
        guard case .ending(let error) = phase else { return }
        phase = .over
        let handler = self.handler
        self.handler = nil
        handler?.closed(error)
    }
}
