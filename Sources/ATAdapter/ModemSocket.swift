internal import Kernel
internal import SAL

/// A socket of a modem, as a `ByteStream`. The modem does the work; this is the side that its owner sees.
final class ModemSocket: ByteStream {
    var handler: (any ByteStreamHandler)?
    let endpoint: Endpoint
    let deadline: Duration
    private let modem: Modem
    var outgoing = ByteQueue()
    var owesWritable = false
    /// What the handler has not taken.
    var untaken: [UInt8] = []
    var mayOffer = false
    /// The modem has told that it is open.
    var isOpen = false
    /// Its owner wants no more of it, and what was sent goes out first.
    var isClosing = false
    /// It is over for its owner, who is told so at the end of the turn.
    var isEnded = false
    var error: SocketError?

    init(_ modem: Modem, to endpoint: Endpoint, deadline: Duration, handler: any ByteStreamHandler) {
        self.modem = modem
        self.endpoint = endpoint
        self.deadline = deadline
        self.handler = handler
    }

    func send(_ bytes: Span<UInt8>) -> Int {
        guard isOpen, !isClosing, !isEnded else { return 0 }
        let count = min(bytes.count, modem.configuration.sendBufferBytes - outgoing.count)
        if count < bytes.count { owesWritable = true }
        if count > 0 {
            outgoing.append(bytes.extracting(first: count))
            modem.askForEndOfTurn()
        }
        return count
    }

    func resumeReceiving() {
        mayOffer = true
        modem.askForEndOfTurn()
    }

    func close() {
        guard isOpen else { return abort() }
        isClosing = true
        untaken = []
        modem.askForEndOfTurn()
    }

    func abort() {
        untaken = []
        outgoing.removeAll()
        end(nil)
    }

    /// Ends it for its owner. What the modem still has to do about it, it does without its owner.
    func end(_ error: SocketError?) {
        if isEnded { return }
        isEnded = true
        self.error = error
        modem.askForEndOfTurn()
    }

    /// Gives `bytes` to the handler, behind what it has not taken yet.
    func deliver(_ bytes: Span<UInt8>) {
        guard !isEnded, !isClosing else { return }
        var taken = 0
        if untaken.isEmpty {
            taken = handler?.received(bytes) ?? 0
            precondition(taken >= 0 && taken <= bytes.count, "a handler took more than it was given")
        }
        guard taken < bytes.count, !isEnded, !isClosing else { return }
        guard untaken.count + bytes.count - taken <= modem.configuration.receiveBufferBytes else {
            return end(.overflow)
        }
        for index in taken..<bytes.count { untaken.append(bytes[index]) }
    }

    /// Offers what the handler has not taken, once it has asked for it.
    func offerUntaken() {
        guard mayOffer else { return }
        mayOffer = false
        guard !untaken.isEmpty else { return }
        let offered = untaken
        let taken = handler?.received(offered.span) ?? 0
        precondition(taken >= 0 && taken <= offered.count, "a handler took more than it was given")
        untaken.removeFirst(min(taken, untaken.count))
    }
}
