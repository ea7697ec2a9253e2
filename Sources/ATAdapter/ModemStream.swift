internal import Kernel
internal import SAL

/// A TCP connection through a modem.
final class ModemStream: ModemSocket, ByteStream {
    var handler: (any ByteStreamHandler)?

    func send(_ bytes: Span<UInt8>) -> Int {
        guard isReceiving, !isPeerDone else { return 0 }
        let count = min(bytes.count, max(modem.configuration.sendBufferBytes - outgoing.count, 0))
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

    override var chunkBytes: Int { min(outgoing.count, modem.chunkBytes) }

    override func tellOpened() { handler?.opened() }

    override func tellWritable() {
        guard owesWritable, outgoing.count <= modem.configuration.sendBufferBytes / 2 else { return }
        owesWritable = false
        handler?.writable()
    }

    override func tellClosed() {
        let handler = self.handler
        self.handler = nil
        handler?.closed(error)
    }

    /// Gives `bytes` to the handler, behind what it has not taken yet.
    override func deliver(_ bytes: Span<UInt8>, isLast: Bool) {
        if bytes.isEmpty { return }
        let taken = untaken.isEmpty ? offer(bytes) : 0
        guard taken < bytes.count, isReceiving else { return }
        guard untaken.count + bytes.count - taken <= modem.receiveLimit else { return end(.overflow) }
        untaken.append(bytes.extracting(droppingFirst: taken))
    }

    override func offerUntaken() {
        guard mayOffer else { return }
        mayOffer = false
        guard !untaken.isEmpty else { return }
        let offered = untaken
        let taken = offer(offered.span)
        // It may have closed the stream.
        if !untaken.isEmpty { untaken = [UInt8](copying: offered.span.extracting(droppingFirst: taken)) }
    }

    private func offer(_ bytes: Span<UInt8>) -> Int {
        let taken = handler?.received(bytes) ?? 0
        precondition(taken >= 0 && taken <= bytes.count, "a handler took more than it was given")
        return taken
    }
}
