#if !hasFeature(Embedded)
public import Kernel
public import SAL

/// A datagram socket for all peers, each secured by a DTLS 1.2 session of its own: what a server sees of a datagram is who sent it and what was in it.
///
/// A peer that has not shown that datagrams reach it (by a cookie, RFC 6347, 4.2.1) costs no memory. Sessions that are silent for ``idleTime`` end.
public final class SecureDatagramServer: DatagramSocket, DatagramHandler, EndOfTurnHandler {
    /// What happens to a peer's session.
    public enum SessionEvent: Sendable {
        /// Its handshake is over.
        case opened(TLSAgreement)
        /// It has another address from now on: a datagram with its connection ID came from there.
        case moved(to: SocketAddress)
        /// It is over: `nil` if it ended in order, or was silent for too long.
        case ended(SecureTransportError?)
    }

    /// How many sessions there are at most. For a new one, the session that was silent longest ends.
    public static let maximumSessions = 4096
    /// After which silence a session ends.
    public static let idleTime = Duration.seconds(600)

    /// Who is told what happens.
    public var handler: (any DatagramHandler)?
    /// Who is told of sessions, on the loop.
    public var sessionChanged: ((SocketAddress, SessionEvent) -> Void)?
    private let loop: EventLoop
    private let context: TLSContext
    private let handshakeTime: Duration
    private var below: (any DatagramSocket)?
    private var datagramBytes = 0
    private var sessions: [SocketAddress: Session] = [:]
    /// The sessions whose peers have connection IDs.
    private var identified: [[UInt8]: Session] = [:]
    /// Handshakes of peers that have a session: it goes on until the new one is there, so that a ClientHello that somebody has recorded ends nothing (RFC 6347,
    /// 4.2.8).
    private var successors: [SocketAddress: Session] = [:]
    /// The session that the next new peer gets; until it has shown itself, everybody's.
    private var greeter: Session?
    private var isOpen = false
    private var ending: SocketError??
    private lazy var turnEnd = EndOfTurn(on: loop)

    /// Opens a socket at `address` of `network`; port 0 takes a free one. Call it on the network's loop.
    public init(
        at address: SocketAddress,
        over network: any ServerNetwork,
        _ configuration: TLSServerConfiguration,
        handler: any DatagramHandler
    ) throws(SecureTransportError) {
        loop = network.loop
        self.handler = handler
        handshakeTime = configuration.handshakeTime
        context = try TLSContext(configuration, isDatagram: true)
        datagramBytes = min(context.datagramBytes, network.capabilities.datagramBytes)
        do throws(SocketError) { below = try network.bindDatagrams(at: address, handler: self) } catch {
            throw .transport(error)
        }
    }

    deinit { for session in sessions.values { session.engine?.detach() } }

    /// How many peers have a session.
    public var sessionCount: Int { sessions.count }

    // MARK: DatagramSocket

    /// What DTLS leaves of the datagrams of the network below.
    public var maximumDatagramBytes: Int { datagramBytes - DatagramLimit.overhead }

    /// Where it receives.
    public var localAddress: SocketAddress? { below?.localAddress }

    /// Sends a datagram to a peer that has a session; to others it throws `SocketError.unreachable(code:)`, since it is for clients to begin.
    public func send(_ datagram: Span<UInt8>, to peer: SocketAddress?) throws(SocketError) {
        guard ending == nil else { throw .closed }
        guard let peer, let session = sessions[peer], session.isOpen else { throw .unreachable(code: 0) }
        guard datagram.count <= maximumDatagramBytes else { throw .messageTooLong }
        session.send(datagram)
    }

    /// What the two ends of a peer's session have agreed on.
    public func agreement(with peer: SocketAddress) -> TLSAgreement? {
        guard let session = sessions[peer], session.isOpen else { return nil }
        return session.engine?.agreement
    }

    /// Ends the session of a peer.
    public func disconnect(_ peer: SocketAddress) { sessions[peer]?.end(nil, saysGoodbye: true) }

    /// Says goodbye to all peers, and closes.
    public func close() { end(nil) }

    private func end(_ error: SocketError?) {
        guard ending == nil else { return }
        ending = .some(error)
        for session in Array(successors.values) + Array(sessions.values) { session.end(nil, saysGoodbye: true) }
        greeter?.engine?.detach()
        greeter = nil
        below?.handler = nil
        below?.close()
        below = nil
        turnEnd.request(self)
    }

    /// Does what the turn has asked for.
    public func endOfTurn() {
        guard let error = ending else { return }
        let handler = self.handler
        self.handler = nil
        sessionChanged = nil
        handler?.closed(error)
    }

    // MARK: DatagramHandler, of the socket below

    /// The socket below is up.
    public func opened() {
        isOpen = true
        handler?.opened()
    }

    /// The socket below is over.
    public func closed(_ error: SocketError?) {
        below = nil
        end(error ?? .closed)
    }

    /// A datagram arrived.
    public func received(_ datagram: Span<UInt8>, from peer: SocketAddress, truncated: Bool) {
        guard !truncated, !datagram.isEmpty else { return }
        // Type, version, epoch; and of a handshake message in the clear its own type (RFC 6347, 4.1 and 4.2.2).
        guard datagram.count > 13 else { return }
        let isClear = datagram[3] == 0 && datagram[4] == 0
        // Type tls12_cid (RFC 9146, 4): the ID stands behind the sequence number.
        if datagram[0] == 25, let count = context.connectionIDBytes, datagram.count > 11 + count,
            let session = identified[(11..<11 + count).map { datagram[$0] }]
        {
            return session.receive(datagram, from: peer)
        }
        if let session = sessions[peer] {
            let successor = successors[peer]
            if !isClear || !session.isOpen { session.receive(datagram, from: peer) }
            if let successor { return successor.receive(datagram, from: peer) }
            guard session.isOpen else { return }
        }
        // Nothing but a ClientHello makes a session.
        guard isClear, datagram[0] == 22, datagram[13] == 1 else { return }
        guard let session = greeter ?? Session(self, context, datagramBytes) else { return }
        greeter = session
        session.greet(peer, datagram)
    }

    fileprivate func sendBelow(_ bytes: Span<UInt8>, to peer: SocketAddress) {
        do throws(SocketError) { try below?.send(bytes, to: peer) } catch {}
    }

    /// The greeter is of no use any more; the next peer gets another.
    fileprivate func greeterFailed() {
        greeter?.engine?.detach()
        greeter = nil
    }

    /// The greeter's peer has shown itself: it is a session now.
    fileprivate func adopt(_ session: Session, _ peer: SocketAddress) {
        greeter = nil
        if sessions[peer] != nil {
            successors[peer] = session
            return
        }
        if sessions.count >= Self.maximumSessions,
            let oldest = sessions.values.min(by: { $0.lastHeard < $1.lastHeard })
        {
            oldest.end(nil, saysGoodbye: true)
        }
        sessions[peer] = session
    }

    /// A handshake is over: the session takes the place of the one that the peer had.
    fileprivate func opened(_ session: Session, _ peer: SocketAddress, _ agreement: TLSAgreement) {
        if successors[peer] === session {
            successors[peer] = nil
            sessions[peer]?.end(nil, saysGoodbye: false)
            sessions[peer] = session
        }
        if let id = session.connectionID { identified[id] = session }
        tell(peer, .opened(agreement))
    }

    /// An authentic datagram of the session came from another address.
    fileprivate func moved(_ session: Session, from old: SocketAddress, to new: SocketAddress) {
        if sessions[old] === session { sessions[old] = nil }
        sessions[new]?.end(nil, saysGoodbye: false)
        sessions[new] = session
        tell(old, .moved(to: new))
    }

    fileprivate func tell(_ peer: SocketAddress, _ event: SessionEvent) { sessionChanged?(peer, event) }

    fileprivate func deliver(_ bytes: Span<UInt8>, from peer: SocketAddress) {
        handler?.received(bytes, from: peer, truncated: false)
    }

    /// Returns whether the peer was told of the session.
    fileprivate func forget(_ session: Session, _ peer: SocketAddress) -> Bool {
        if successors[peer] === session {
            successors[peer] = nil
            return false
        }
        if sessions[peer] === session { sessions[peer] = nil }
        if let id = session.connectionID, identified[id] === session { identified[id] = nil }
        return true
    }

    // MARK: A peer's session

    fileprivate final class Session: TimerHandler {
        private(set) var engine: TLSEngine?
        private(set) var isOpen = false
        private(set) var lastHeard = Duration.zero
        /// What the peer's datagrams carry, if they do.
        private(set) var connectionID: [UInt8]?
        private var peer = SocketAddress(address: .anyIPv4, port: 0)
        /// Where the datagram comes from that is being read, and the highest number of a record before.
        private var sender = SocketAddress(address: .anyIPv4, port: 0)
        private var number: UInt64 = 0
        private var newest: UInt64 = 0
        private var server: SecureDatagramServer?
        private let loop: EventLoop
        private let handshakeTime: Duration
        private lazy var retransmissionTimer = Timer(on: loop)
        private lazy var lifeTimer = Timer(on: loop)

        init?(_ server: SecureDatagramServer, _ context: TLSContext, _ datagramBytes: Int) {
            self.server = server
            loop = server.loop
            handshakeTime = server.handshakeTime
            do throws(SecureTransportError) {
                let engine = try TLSEngine(context) { [unowned self] bytes in
                    self.server?.sendBelow(bytes, to: peer)
                    return bytes.count
                }
                engine.useDatagrams(
                    of: datagramBytes,
                    clock: { [loop] in loop.now },
                    schedule: { [unowned self] in retransmit(at: $0) }
                )
                self.engine = engine
            } catch { return nil }
        }

        deinit { engine?.detach() }

        private func retransmit(at time: Duration?) {
            if let time { retransmissionTimer.start(at: time, handler: self) } else { retransmissionTimer.stop() }
        }

        /// Hears what a peer without a session says first.
        func greet(_ peer: SocketAddress, _ datagram: Span<UInt8>) {
            guard let engine else { return }
            self.peer = peer
            engine.setPeer(Array("\(peer)".utf8))
            var isVerified = true
            _ = engine.receive(datagram) {
                do throws(SecureTransportError) {
                    switch try engine.handshake() {
                    case .unverified: isVerified = false
                    case .done, .blocked, .held, .ended, .reconnects: break
                    }
                } catch {
                    // What it says is no ClientHello that one can answer.
                    isVerified = false
                }
            }
            guard isVerified else {
                retransmissionTimer.stop()
                if !engine.reset() { server?.greeterFailed() }
                return
            }
            lastHeard = loop.now
            lifeTimer.start(after: handshakeTime, handler: self)
            server?.adopt(self, peer)
        }

        func receive(_ datagram: Span<UInt8>, from sender: SocketAddress) {
            self.sender = sender
            // Epoch and sequence number (RFC 6347, 4.1).
            number = (3..<11).reduce(0) { $0 << 8 | UInt64(datagram[$1]) }
            _ = engine?.receive(datagram) { advance() }
        }

        /// The peer is where its newest authentic datagram came from (RFC 9146, 6).
        private func follow() {
            guard number > newest else { return }
            newest = number
            guard connectionID != nil, sender != peer else { return }
            let old = peer
            peer = sender
            server?.moved(self, from: old, to: peer)
        }

        func send(_ datagram: Span<UInt8>) {
            guard let engine else { return }
            do throws(SecureTransportError) { _ = try engine.write(datagram) } catch { end(error, saysGoodbye: false) }
        }

        private func advance() {
            guard let engine else { return }
            do throws(SecureTransportError) {
                if !isOpen {
                    guard try engine.handshake() == .done else { return }
                    isOpen = true
                    lastHeard = loop.now
                    lifeTimer.start(after: SecureDatagramServer.idleTime, handler: self)
                    connectionID = engine.agreedConnectionID
                    server?.opened(self, peer, engine.agreement)
                }
                while self.engine != nil {
                    let outcome = try engine.read { bytes in
                        lastHeard = loop.now
                        follow()
                        server?.deliver(bytes, from: peer)
                        return bytes.count
                    }
                    switch outcome {
                    case .done: continue
                    case .blocked, .held, .unverified: return
                    // A new handshake comes by way of the greeter.
                    case .reconnects: return end(nil, saysGoodbye: false)
                    case .ended: return end(nil, saysGoodbye: true)
                    }
                }
            } catch { end(error, saysGoodbye: false) }
        }

        func timerFired(_ timer: Timer) {
            guard timer === lifeTimer else { return advance() }
            guard isOpen else { return end(.timedOut, saysGoodbye: false) }
            let silence = loop.now - lastHeard
            guard silence < SecureDatagramServer.idleTime else { return end(nil, saysGoodbye: true) }
            lifeTimer.start(after: SecureDatagramServer.idleTime - silence, handler: self)
        }

        func end(_ error: SecureTransportError?, saysGoodbye: Bool) {
            guard let engine else { return }
            if saysGoodbye, isOpen { _ = try? engine.closeNotify() }
            engine.detach()
            self.engine = nil
            retransmissionTimer.stop()
            lifeTimer.stop()
            let server = self.server
            self.server = nil
            if let server, server.forget(self, peer) { server.tell(peer, .ended(error)) }
        }
    }
}
#endif
