/// A connection that carries bytes both ways: a TCP socket, a modem's socket, a TLS session, a serial port, or a script
/// in a test. Push-style and non-blocking; use it on its loop only.
///
/// A stream keeps its handler alive until it has told it ``ByteStreamHandler/closed(_:)``, which comes exactly once and
/// last. No handler is ever called from inside ``send(_:)``, ``close()``, ``abort()`` or ``resumeReceiving()``.
public protocol ByteStream: AnyObject {
    /// Who is told what happens. Changing it hands the stream over, for instance to a layer above.
    var handler: (any ByteStreamHandler)? { get set }

    /// Takes bytes to send and returns how many it took: fewer than given when its buffer is full, 0 when closed.
    /// After a short count ``ByteStreamHandler/writable()`` tells when there is room again.
    func send(_ bytes: Span<UInt8>) -> Int

    /// Says that the handler, which left bytes untaken, can take bytes again.
    func resumeReceiving()

    /// Sends what was taken, then closes. Nothing is received any more.
    func close()

    /// Closes at once; what was not sent is lost.
    func abort()
}

/// What a ``ByteStream`` tells; all calls are made on its loop.
public protocol ByteStreamHandler: AnyObject {
    /// The connection is up. Streams that are open when they are handed over do not call it.
    func opened()

    /// Bytes arrived. Returns how many were taken; the rest is kept, and nothing more is read from the peer, until
    /// ``ByteStream/resumeReceiving()``, after which it is offered again.
    func received(_ bytes: Span<UInt8>) -> Int

    /// There is room to send again after ``ByteStream/send(_:)`` took less than it was given.
    func writable()

    /// The stream is over: `nil` after an orderly end by the peer (all its data has been taken) or by
    /// ``ByteStream/close()``, the cause otherwise.
    func closed(_ error: SocketError?)
}
