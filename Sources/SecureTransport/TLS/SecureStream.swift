#if os(Linux) || TLS
public import Kernel
public import SAL

#if !hasFeature(Embedded)
/// What the two ends of a secure stream have agreed on.
public struct TLSAgreement: Equatable, Sendable {
    /// `TLSv1.2`.
    public let version: String
    /// The cipher suite, by the name that mbedTLS has for it: `TLS-ECDHE-RSA-WITH-AES-128-GCM-SHA256`.
    public let suite: String
    /// The application protocol (ALPN), if one was agreed on.
    public let applicationProtocol: String?
    /// Whether an earlier session was resumed. A server does not know, nor does a client of TLS 1.3 that logs in with a pre-shared key: `false`.
    public let isResumed: Bool
    /// The peer's certificate, if it has shown one. A resumed session's is that of the earlier one.
    public let peerCertificate: PeerCertificate?
    /// The identity of the pre-shared key that the client of a server has logged in with.
    public let peerIdentity: [UInt8]?
}
#endif

/// TLS 1.2 over a `ByteStream`, as a `ByteStream`.
///
/// The handler is told that it is open when the handshake is over. What one turn of the loop sends becomes as few records as
/// possible. When it fails, ``failure`` says why before the handler is told `SocketError.security(code:)`.
public final class SecureStream: ByteStream, ByteStreamHandler, EndOfTurnHandler, TimerHandler {
    /// How many bytes wait to be encrypted before ``send(_:)`` takes less than it is given.
    #if hasFeature(Embedded)
    static let sendBufferBytes = 1_024
    #else
    static let sendBufferBytes = 65_536
    #endif

    #if !hasFeature(Embedded)
    /// What a record carries at most (RFC 5246, 6.2.1).
    private static let recordBytes = 16_384
    #endif

    private enum State {
        /// The stream below connects.
        case opening
        case handshaking
        case open
        /// What was sent is still to be encrypted, then follow close_notify and the end.
        case closing
        /// The end is known; it is told when the handler has taken all that was received before.
        case ending(SocketError?)
        case closed
    }

    /// Who is told what happens.
    public var handler: (any ByteStreamHandler)?
    /// Why the stream failed, if it did.
    public private(set) var failure: SecureTransportError? {
        didSet { if let failure { failed?(failure) } }
    }
    var failed: ((SecureTransportError) -> Void)?
    #if !hasFeature(Embedded)
    var agreed: ((TLSAgreement) -> Void)?
    package var loopPlace = -1
    #endif
    private let loop: EventLoop
    private var engine: TLSEngine?
    private var below: (any ByteStream)?
    private var state = State.opening
    private var outgoing = ByteQueue()
    private var owesWritable = false
    /// There are decrypted bytes that the handler has not taken; they are the engine's.
    private var isHeld = false
    /// It was closed on this side, so that the handler is given nothing any more.
    private var isDeaf = false
    private var mayOffer = false
    private lazy var turnEnd = EndOfTurn(on: loop)
    /// Until the handshake is over.
    private var deadlineTimer: Timer?

    /// A stream to the server at `host` and `port`, or, of a server, from whoever comes.
    init(
        _ context: TLSContext,
        host: [UInt8] = [],
        port: UInt16 = 0,
        loop: EventLoop,
        deadline: Duration,
        handler: any ByteStreamHandler
    ) {
        self.loop = loop
        self.handler = handler
        let timer = Timer(on: loop)
        deadlineTimer = timer
        timer.start(at: deadline, handler: self)
        do throws(SecureTransportError) {
            // The engine must not keep the stream that owns it; it is detached before the stream goes away.
            engine = try TLSEngine(context, host: host, port: port) { [unowned(unsafe) self] bytes in
                unsafe below?.send(bytes) ?? 0
            }
        } catch { fail(error) }
    }

    deinit { engine?.detach() }

    /// Sets the stream to secure, whose handler this is.
    func attach(to stream: any ByteStream) {
        if case .opening = state { below = stream } else { stream.abort() }
    }

    #if !hasFeature(Embedded)
    /// What the two ends have agreed on; `nil` before the handshake is over, and after the end.
    public var agreement: TLSAgreement? {
        isAgreed ? engine?.agreement : nil
    }

    /// `count` secret bytes that both ends of this stream can make, and nobody else, for a use that `label` names, and a `context` if there is one (RFC 5705):
    /// to bind a login to the connection, or as keys of another protocol. `nil` before the handshake is over, and where mbedTLS has no way to do it.
    public func exportKeyingMaterial(label: String, context: [UInt8]? = nil, count: Int) -> SecretBytes? {
        isAgreed ? engine?.exportKey(label, context, count) : nil
    }

    private var isAgreed: Bool {
        switch state {
        case .open, .closing, .ending: true
        case .opening, .handshaking, .closed: false
        }
    }

    /// Where this end is; `nil` where the network below does not know.
    public var localAddress: SocketAddress? { below?.localAddress }

    /// Where the peer is; `nil` where the network below does not know.
    public var peerAddress: SocketAddress? { below?.peerAddress }
    #endif

    /// Told by the stream below of a name's addresses.
    public func attemptFailed(_ address: SocketAddress, _ error: SocketError) {
        handler?.attemptFailed(address, error)
    }

    // MARK: ByteStream

    /// Takes bytes to send; they are encrypted at the end of the turn.
    public func send(_ bytes: Span<UInt8>) -> Int {
        guard case .open = state else { return 0 }
        var whole = 0
        #if !hasFeature(Embedded)
        // What fills records needs not wait for more.
        if let engine, outgoing.isEmpty {
            do throws(SecureTransportError) {
                while bytes.count - whole >= Self.recordBytes {
                    let written = try engine.write(bytes.extracting(droppingFirst: whole))
                    whole += written
                    if written < Self.recordBytes { break }
                }
            } catch {
                fail(error)
                return bytes.count
            }
        }
        #endif
        let bytes = bytes.extracting(droppingFirst: whole)
        let count = min(bytes.count, Self.sendBufferBytes - outgoing.count)
        if count < bytes.count { owesWritable = true }
        if count > 0 {
            outgoing.append(bytes.extracting(first: count))
            askForEndOfTurn()
        }
        return whole + count
    }

    /// Says that the handler can take bytes again.
    public func resumeReceiving() {
        mayOffer = true
        askForEndOfTurn()
    }

    /// Sends what was taken and close_notify, then closes.
    public func close() {
        switch state {
        case .opening, .handshaking: abort()
        case .open:
            state = .closing
            giveNothing()
        case .ending: giveNothing()
        case .closing, .closed: break
        }
    }

    /// Closes at once.
    public func abort() {
        switch state {
        case .opening, .handshaking, .open, .closing:
            giveNothing()
            end(nil, aborts: true)
        case .ending: giveNothing()
        case .closed: break
        }
    }

    private func giveNothing() {
        isDeaf = true
        isHeld = false
        askForEndOfTurn()
    }

    // MARK: ByteStreamHandler, of the stream below

    /// The stream below is up: the handshake begins.
    public func opened() {
        guard case .opening = state else { return }
        state = .handshaking
        advance()
    }

    /// Ciphertext arrived.
    public func received(_ bytes: Span<UInt8>) -> Int {
        guard let engine else { return bytes.count }
        switch state {
        case .opening: return 0
        case .ending, .closed: return bytes.count
        case .handshaking, .open, .closing: break
        }
        guard !isHeld else { return 0 }
        let taken = engine.receive(bytes) { advance() }
        // What could not be written before the rest of something had come.
        if !outgoing.isEmpty { askForEndOfTurn() }
        return taken
    }

    /// The stream below has room again.
    public func writable() {
        switch state {
        case .handshaking: advance()
        case .open, .closing: flush()
        case .opening, .ending, .closed: break
        }
    }

    /// The stream below is over.
    public func closed(_ error: SocketError?) {
        below = nil
        switch state {
        case .closed: return
        // Our own goodbye went first; what the peer does then does not matter.
        case .closing, .ending: end(nil, aborts: false)
        case .opening, .handshaking:
            if let error { end(error, aborts: false) } else { fail(.closedInHandshake) }
        case .open:
            if let error { end(error, aborts: false) } else { fail(.truncated) }
        }
    }

    // MARK: The session

    /// Goes on with the handshake, and then reads what there is.
    private func advance() {
        guard let engine else { return }
        do throws(SecureTransportError) {
            if case .handshaking = state {
                guard try engine.handshake() == .done else { return }
                endDeadline()
                state = .open
                #if !hasFeature(Embedded)
                agreed?(engine.agreement)
                #endif
                handler?.opened()
            }
            while !isHeld, isReading {
                let outcome = try engine.read { offer($0) }
                switch outcome {
                case .done: continue
                case .blocked: return
                // The handler may have closed the stream meanwhile, which then wants nothing more.
                case .held: isHeld = !isDeaf
                #if !hasFeature(Embedded)
                case .unverified, .reconnects: throw .protocolFailure(code: 0)
                #endif
                case .ended:
                    // The answer; what waits to be sent is discarded (RFC 5246, 7.2.1).
                    _ = try? engine.closeNotify()
                    return end(nil, aborts: false)
                }
            }
        } catch { fail(error) }
    }

    private var isReading: Bool {
        switch state {
        case .open, .closing: true
        case .opening, .handshaking, .ending, .closed: false
        }
    }

    /// Gives the handler decrypted bytes; returns how many it has taken.
    private func offer(_ bytes: Span<UInt8>) -> Int {
        if isDeaf { return bytes.count }
        return handler?.received(bytes) ?? bytes.count
    }

    private func offerHeld() {
        mayOffer = false
        guard isHeld else { return }
        isHeld = false
        switch state {
        case .open:
            // mbedTLS may hold more of what has arrived; the stream below holds the rest.
            advance()
            if !isHeld { below?.resumeReceiving() }
        case .ending:
            // The stream is over for a reason that is kept already; of what was decrypted before it, the handler gets all.
            do throws(SecureTransportError) { isHeld = try engine?.read { offer($0) } == .held && !isDeaf } catch {}
            if !isHeld { askForEndOfTurn() }
        case .opening, .handshaking, .closing, .closed: break
        }
    }

    private func flush() {
        guard let engine else { return }
        do throws(SecureTransportError) {
            while !outgoing.isEmpty {
                var failure: SecureTransportError?
                let count = outgoing.withSpan { bytes in
                    do throws(SecureTransportError) { return try engine.write(bytes) } catch {
                        failure = error
                        return 0
                    }
                }
                if let failure { throw failure }
                guard count > 0 else { return }
                outgoing.removeFirst(count)
            }
            if case .closing = state {
                guard try engine.closeNotify() == .done else { return }
                return end(nil, aborts: false)
            }
            if owesWritable {
                owesWritable = false
                handler?.writable()
            }
        } catch { fail(error) }
    }

    // MARK: Ending

    private func fail(_ error: SecureTransportError) {
        switch state {
        case .ending, .closed: return
        case .opening, .handshaking, .open, .closing: break
        }
        failure = error
        if case .protocolFailure(let code) = error {
            end(.security(code: code), aborts: false)
        } else {
            end(.security(code: 0), aborts: false)
        }
    }

    private func end(_ error: SocketError?, aborts: Bool) {
        endDeadline()
        outgoing.removeAll()
        if let below {
            self.below = nil
            below.handler = nil
            if aborts { below.abort() } else { below.close() }
        }
        if case .ending = state {} else { state = .ending(error) }
        askForEndOfTurn()
    }

    private func endDeadline() {
        deadlineTimer?.stop()
        deadlineTimer = nil
    }

    /// The deadline has passed.
    public func timerFired(_ timer: Timer) {
        switch state {
        case .opening, .handshaking:
            failure = .timedOut
            end(.timedOut, aborts: true)
        case .open, .closing, .ending, .closed: break
        }
    }

    private func askForEndOfTurn() { turnEnd.request(self) }

    /// Does what the turn has asked for.
    public func endOfTurn() {
        switch state {
        case .open, .closing:
            if mayOffer { offerHeld() }
            flush()
        case .ending(let error):
            if mayOffer { offerHeld() }
            guard !isHeld else { return }
            state = .closed
            engine?.detach()
            engine = nil
            let handler = self.handler
            self.handler = nil
            handler?.closed(error)
        case .opening, .handshaking, .closed: break
        }
    }
}

#if !hasFeature(Embedded)
extension SecureStream: LoopMember {
    package func loopEnds(atOnce: Bool) { if atOnce { abort() } else { close() } }
}
#endif
#endif
