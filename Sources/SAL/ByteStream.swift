/// A connection that carries bytes both ways: a TCP socket, a modem's socket, a TLS session, a serial port, or a script
/// in a test. Push-style and non-blocking; use it on its loop only.
///
/// A stream keeps its handler alive until it has told it ``ByteStreamHandler/closed(_:)``, which comes exactly once and
/// last. No handler is ever called from inside ``send(_:)``, ``finishSending()``, ``close()``, ``abort()`` or
/// ``resumeReceiving()``.
public protocol ByteStream: AnyObject {
    /// Who is told what happens. Changing it hands the stream over, for instance to a layer above.
    var handler: (any ByteStreamHandler)? { get set }

    /// Takes bytes to send and returns how many it took: fewer than given when its buffer is full, 0 when closed.
    /// After a short count ``ByteStreamHandler/writable()`` tells when there is room again.
    func send(_ bytes: Span<UInt8>) -> Int

    /// Says that the handler, which left bytes untaken, can take bytes again.
    func resumeReceiving()

    #if !hasFeature(Embedded)
    // Firmware has modems only, which have none of this.

    /// Whether the stream stays open for sending after the peer has ended its direction: the handler is told by
    /// ``ByteStreamHandler/peerEnded()``, and closes when it has sent all. If not, as at first, what was taken is sent, and the
    /// stream closes by itself.
    var allowsHalfOpen: Bool { get set }

    /// Sends what was taken, then ends this direction: the peer is told that no more comes, and may go on sending. A stream
    /// of a network without half-closes (``NetworkCapabilities/hasHalfClose``) closes.
    func finishSending()

    /// Where this end is; `nil` while it is not open, and where the network does not know.
    var localAddress: SocketAddress? { get }

    /// Where the peer is; `nil` while it is not open, and where the network does not know.
    var peerAddress: SocketAddress? { get }
    #endif

    /// Sends what was taken, then closes. Nothing is received any more.
    func close()

    /// Closes at once; what was not sent is lost.
    func abort()
}

/// What a ``ByteStream`` tells; all calls are made on its loop.
public protocol ByteStreamHandler: AnyObject {
    /// One of the addresses of the peer's name could not be connected to; others may follow.
    func attemptFailed(_ address: SocketAddress, _ error: SocketError)

    /// The connection is up. Streams that are open when they are handed over do not call it.
    func opened()

    /// Bytes arrived. Returns how many were taken; the rest is kept, and nothing more is read from the peer, until
    /// ``ByteStream/resumeReceiving()``, after which it is offered again.
    func received(_ bytes: Span<UInt8>) -> Int

    /// There is room to send again after ``ByteStream/send(_:)`` took less than it was given.
    func writable()

    /// The peer sends no more, and all that it has sent was taken; only told where ``ByteStream/allowsHalfOpen`` is set.
    func peerEnded()

    /// The stream is over: `nil` after an orderly end by the peer (all its data has been taken) or by
    /// ``ByteStream/close()``, the cause otherwise.
    func closed(_ error: SocketError?)
}

#if !hasFeature(Embedded)
extension ByteStream {
    /// A stream without half-closes is over when the peer has ended its direction.
    public var allowsHalfOpen: Bool {
        get { false }
        set {}
    }

    /// Not known.
    public var localAddress: SocketAddress? { nil }

    /// Not known.
    public var peerAddress: SocketAddress? { nil }

    /// A stream without half-closes closes.
    public func finishSending() { close() }
}
#endif

extension ByteStreamHandler {
    /// Nothing is done about it.
    public func attemptFailed(_ address: SocketAddress, _ error: SocketError) {}

    /// Nothing is done about it.
    public func peerEnded() {}
}
