import Kernel
import SAL

/// What happens to bytes between a `SecureStream` and its socket. Used on the loop only.
struct WireFaults: Sendable {
    /// One byte at a time is delivered, and one is taken.
    var isNarrow = false
    /// After so many received bytes the stream ends, as if the peer had closed it.
    var endsAfter: Int?
    /// What the last byte of each piece is changed by, each way.
    var receivedMask: UInt8 = 0
    var sentMask: UInt8 = 0
}

/// Linux sockets with faults.
final class WireNetwork: Network, @unchecked Sendable {
    // @unchecked: used on its loop only.
    let inner: LinuxNetwork
    private(set) var stream: WireStream?
    private let faults: WireFaults

    init(loop: EventLoop, faults: WireFaults = WireFaults()) {
        inner = LinuxNetwork(loop: loop)
        self.faults = faults
    }

    var loop: EventLoop { inner.loop }
    var capabilities: NetworkCapabilities { inner.capabilities }

    func connect(to endpoint: Endpoint, deadline: Duration, handler: any ByteStreamHandler) -> any ByteStream {
        let stream = WireStream(loop: loop, faults: faults, handler: handler)
        stream.below = inner.connect(to: endpoint, deadline: deadline, handler: stream)
        self.stream = stream
        return stream
    }

}

/// A stream over another one that has faults, and remembers what went through it.
final class WireStream: ByteStream, ByteStreamHandler, EndOfTurnHandler {
    var handler: (any ByteStreamHandler)?
    var below: (any ByteStream)?
    var faults: WireFaults
    /// All bytes that were sent, as they were before any fault.
    private(set) var sent: [UInt8] = []
    /// How many bytes the handler has taken.
    private(set) var takenCount = 0
    /// Whether the handler has left bytes.
    private(set) var hasRefused = false
    private(set) var wasAborted = false
    private let turnEnd: EndOfTurn
    private var isFull = false
    private var owesWritable = false

    init(loop: EventLoop, faults: WireFaults, handler: any ByteStreamHandler) {
        turnEnd = EndOfTurn(on: loop)
        self.faults = faults
        self.handler = handler
    }

    func send(_ bytes: Span<UInt8>) -> Int {
        guard let below, !bytes.isEmpty else { return 0 }
        guard faults.isNarrow else { return pass(bytes, to: below) }
        if isFull {
            owesWritable = true
            return 0
        }
        let count = pass(bytes.extracting(first: 1), to: below)
        isFull = true
        owesWritable = bytes.count > count
        turnEnd.request(self)
        return count
    }

    private func pass(_ bytes: Span<UInt8>, to below: any ByteStream) -> Int {
        var copy = (0..<bytes.count).map { bytes[$0] }
        copy[copy.count - 1] ^= faults.sentMask
        let count = below.send(copy.span)
        for index in 0..<count { sent.append(bytes[index]) }
        return count
    }

    func endOfTurn() {
        isFull = false
        guard owesWritable else { return }
        owesWritable = false
        handler?.writable()
    }

    func resumeReceiving() { below?.resumeReceiving() }
    func close() { below?.close() }
    func abort() {
        wasAborted = true
        below?.abort()
    }

    func opened() { handler?.opened() }
    func writable() { handler?.writable() }

    func received(_ bytes: Span<UInt8>) -> Int {
        var taken = 0
        while taken < bytes.count {
            var count = faults.isNarrow ? 1 : bytes.count - taken
            if let end = faults.endsAfter { count = min(count, end - takenCount) }
            guard count > 0 else {
                end()
                return bytes.count
            }
            var copy = (taken..<taken + count).map { bytes[$0] }
            copy[count - 1] ^= faults.receivedMask
            guard let handler else { return bytes.count }
            let now = handler.received(copy.span)
            taken += now
            takenCount += now
            if now < count {
                hasRefused = true
                return taken
            }
        }
        if takenCount == faults.endsAfter { end() }
        return taken
    }

    /// Ends the stream as a peer does.
    func end() {
        below?.handler = nil
        below?.abort()
        closed(nil)
    }

    func closed(_ error: SocketError?) {
        below = nil
        let handler = self.handler
        self.handler = nil
        handler?.closed(error)
    }
}
