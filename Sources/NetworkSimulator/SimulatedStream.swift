import Kernel
import SAL

/// A stream of a simulated host: segments with numbers, acknowledged, sent again, put in order, and held back by the receiver's window.
final class SimulatedStream: ByteStream, EndOfTurnHandler, TimerHandler {
    private static let sendBufferBytes = 262_144
    private static let segmentBytes = 1_460

    private enum State {
        case connecting, open, closing
        case ending(SocketError?)
        case closed
    }

    private struct Segment {
        let number: UInt64
        let bytes: [UInt8]
        let isLast: Bool
        let firstSent: Duration
    }

    var handler: (any ByteStreamHandler)?
    var allowsHalfOpen = false
    private let host: SimulatedHost
    private var network: SimulatedNetwork { host.network }
    private var state = State.connecting
    private(set) var localAddress: SocketAddress?
    private(set) var peerAddress: SocketAddress?
    /// The other end; whoever is open is kept by its host, and by what it still has to send.
    private weak var peer: SimulatedStream?
    /// It was aborted or lost: whoever sends to it is told.
    private var isGone = false
    private lazy var turnEnd = EndOfTurn(on: host.loop)
    private lazy var deadlineTimer = Timer(on: host.loop)

    // Sending.
    private var outgoing: [UInt8] = []
    private var nextNumber: UInt64 = 0
    private var unacknowledged: [UInt64: Segment] = [:]
    private var sentBytes = 0
    /// How many bytes of the whole stream the peer has allowed.
    private var allowance: Int
    private var mustFinish = false
    private var hasFinished = false
    private var owesWritable = false
    private var lineIsFreeAt = Duration.zero

    // Receiving.
    private var expected: UInt64 = 0
    private var early: [UInt64: Segment] = [:]
    private var arrived: [UInt8] = []
    private var takenBytes = 0
    private var mayOffer = true
    private var endHasArrived = false
    private var endIsTold = false

    init(on host: SimulatedHost, handler: (any ByteStreamHandler)?) {
        self.host = host
        self.handler = handler
        allowance = host.network.windowBytes
    }

    private var isOver: Bool {
        switch state {
        case .ending, .closed: true
        case .connecting, .open, .closing: false
        }
    }

    // MARK: Connecting

    func connect(to endpoint: Endpoint, deadline: Duration) {
        deadlineTimer.start(at: deadline, handler: self)
        let addresses = network.addresses(of: endpoint)
        localAddress = SocketAddress(address: host.address, port: host.freePort())
        // Nothing is told from inside the call.
        network.after(.zero) { [self] in tryNext(addresses[...], endpoint.port, .nameNotFound) }
    }

    private func tryNext(_ addresses: ArraySlice<IPAddress>, _ port: UInt16, _ failure: SocketError) {
        guard case .connecting = state else { return }
        guard let address = addresses.first else { return end(failure) }
        ask(SocketAddress(address: address, port: port), addresses.dropFirst(), patience: .seconds(1))
    }

    private func ask(_ address: SocketAddress, _ others: ArraySlice<IPAddress>, patience: Duration) {
        guard case .connecting = state, let localAddress else { return }
        let there = network.conditions(from: host.address, to: address.address)
        let back = network.conditions(from: address.address, to: host.address)
        func again() {
            network.after(patience) { [self] in ask(address, others, patience: patience * 2) }
        }
        func fail(_ error: SocketError) {
            handler?.attemptFailed(address, error)
            tryNext(others, address.port, error)
        }
        if there.isCut || network.random.happens(there.loss) { return again() }
        network.after(network.delay(there)) { [self] in
            guard case .connecting = state else { return }
            if back.isCut || network.random.happens(back.loss) { return again() }
            let delay = network.delay(back)
            guard let other = network.host(at: address.address) else {
                return network.after(delay) { fail(.unreachable(code: 0)) }
            }
            guard let listener = other.listener(at: address.port) else {
                return network.after(delay) { fail(.refused(code: 0)) }
            }
            if listener.isPaused { return again() }
            let accepted = SimulatedStream(on: other, handler: nil)
            accepted.localAddress = address
            accepted.peerAddress = localAddress
            accepted.peer = self
            accepted.state = .open
            other.add(accepted)
            listener.accept(accepted, from: localAddress)
            network.after(delay) { [self] in
                guard case .connecting = state else { return accepted.receivedReset() }
                deadlineTimer.stop()
                peer = accepted
                peerAddress = address
                state = .open
                handler?.opened()
                offer()
            }
        }
    }

    func timerFired(_ timer: Timer) {
        switch state {
        case .connecting: end(.timedOut)
        case .closing:
            // What was taken could not be sent in time.
            isGone = true
            answer { $0.receivedReset() }
            end(.timedOut)
        case .open, .ending, .closed: break
        }
    }

    // MARK: Sending

    func send(_ bytes: Span<UInt8>) -> Int {
        guard case .open = state, !mustFinish else { return 0 }
        let count = min(bytes.count, Self.sendBufferBytes - outgoing.count)
        if count < bytes.count { owesWritable = true }
        for index in 0..<count { outgoing.append(bytes[index]) }
        if count > 0 { turnEnd.request(self) }
        return count
    }

    func finishSending() {
        guard case .open = state, !mustFinish else { return }
        mustFinish = true
        turnEnd.request(self)
    }

    /// Sends what the peer allows.
    private func write() {
        let conditions = network.conditions(from: host.address, to: peerAddress?.address ?? host.address)
        while !outgoing.isEmpty, sentBytes < allowance {
            let most = min(outgoing.count, allowance - sentBytes, Self.segmentBytes)
            let count =
                switch conditions.pieces {
                case .segments: most
                case .bytes: 1
                case .random: Int.random(in: 1...most, using: &network.random)
                }
            sentBytes += count
            post(Array(outgoing[..<count]), isLast: false)
            outgoing.removeFirst(count)
        }
        if outgoing.isEmpty, mustFinish, !hasFinished {
            hasFinished = true
            post([], isLast: true)
            if case .closing = state { return end(nil) }
            if endIsTold { return end(nil) }
        }
        if owesWritable, !mustFinish, outgoing.count <= Self.sendBufferBytes / 2 {
            owesWritable = false
            handler?.writable()
        }
    }

    private func post(_ bytes: [UInt8], isLast: Bool) {
        let segment = Segment(number: nextNumber, bytes: bytes, isLast: isLast, firstSent: host.loop.now)
        nextNumber += 1
        unacknowledged[segment.number] = segment
        transmit(segment, patience: .milliseconds(200))
    }

    /// Sends a segment, and again until it is acknowledged.
    private func transmit(_ segment: Segment, patience: Duration) {
        guard let to = peerAddress?.address, unacknowledged[segment.number] != nil, !isGone else { return }
        guard let peer else {
            // There is nothing any more that would know the stream.
            unacknowledged = [:]
            return network.after(network.delay(network.conditions(from: to, to: host.address))) { [self] in
                receivedReset()
            }
        }
        let now = host.loop.now
        guard now - segment.firstSent < network.retransmissionTime else { return end(.timedOut) }
        let conditions = network.conditions(from: host.address, to: to)
        let delay = network.delay(conditions)
        var wait = delay
        if !conditions.isCut, !network.random.happens(conditions.loss) {
            if let rate = conditions.bytesPerSecond {
                let start = max(now, lineIsFreeAt)
                lineIsFreeAt = start + .seconds(1) * (Double(segment.bytes.count) / Double(rate))
                wait += lineIsFreeAt - now
            }
            network.after(wait) { peer.arrive(segment) }
        }
        network.after(patience + delay + wait) { [self] in transmit(segment, patience: patience * 2) }
    }

    private func acknowledged(_ number: UInt64?, _ allowance: Int) {
        if let number { unacknowledged[number] = nil }
        self.allowance = max(self.allowance, allowance)
        if !isOver { turnEnd.request(self) }
    }

    // MARK: Receiving

    private func arrive(_ segment: Segment) {
        // A host that is not there any more does nothing.
        guard network.host(at: host.address) === host else { return }
        if isGone {
            answer { $0.receivedReset() }
            return
        }
        if segment.number >= expected { early[segment.number] = segment }
        while let next = early.removeValue(forKey: expected) {
            expected += 1
            arrived += next.bytes
            if next.isLast { endHasArrived = true }
        }
        if isOver || isClosing { takenBytes += arrived.count; arrived = [] } else { offer() }
        let limit = takenBytes + network.windowBytes
        answer { $0.acknowledged(segment.number, limit) }
    }

    private var isClosing: Bool { if case .closing = state { true } else { false } }

    /// Tells the peer something, if the way lets it through.
    private func answer(_ tell: @escaping (SimulatedStream) -> Void) {
        guard let peer, let to = peerAddress?.address else { return }
        let conditions = network.conditions(from: host.address, to: to)
        guard !conditions.isCut, !network.random.happens(conditions.loss) else { return }
        network.after(network.delay(conditions)) { tell(peer) }
    }

    private func offer() {
        guard case .open = state else { return }
        while mayOffer, !arrived.isEmpty {
            let offered = arrived
            let taken = handler?.received(offered.span) ?? 0
            precondition(taken >= 0 && taken <= offered.count, "a handler took more than it was given")
            guard case .open = state else { return }
            takenBytes += taken
            arrived.removeFirst(taken)
            mayOffer = arrived.isEmpty
        }
        guard arrived.isEmpty, endHasArrived, !endIsTold else { return }
        endIsTold = true
        if allowsHalfOpen {
            if hasFinished { return end(nil) }
            handler?.peerEnded()
        } else if outgoing.isEmpty {
            end(nil)
        } else {
            close()
        }
    }

    func resumeReceiving() {
        guard case .open = state, !arrived.isEmpty else { return }
        mayOffer = true
        turnEnd.request(self)
    }

    /// Tells the peer how much it may send, until it is told.
    private func tellAllowance() {
        guard let peer, let to = peerAddress?.address, !isOver else { return }
        let conditions = network.conditions(from: host.address, to: to)
        if conditions.isCut { return network.after(.seconds(1)) { [self] in tellAllowance() } }
        let limit = takenBytes + network.windowBytes
        network.after(network.delay(conditions)) { peer.acknowledged(nil, limit) }
    }

    private func receivedReset() {
        isGone = true
        if !isOver { end(.reset(code: 0)) }
    }

    // MARK: Ending

    func close() {
        switch state {
        case .connecting: end(nil)
        case .open:
            state = .closing
            takenBytes += arrived.count
            arrived = []
            mustFinish = true
            deadlineTimer.start(after: .seconds(60), handler: self)
            turnEnd.request(self)
        case .closing, .ending, .closed: break
        }
    }

    func abort() {
        if isOver { return }
        isGone = true
        answer { $0.receivedReset() }
        end(nil)
    }

    /// Its host has lost it.
    func vanish() {
        isGone = true
        if !isOver { end(.deviceRestarted) }
    }

    /// Lets go of the peer and the handler: nothing is told any more.
    func forget() {
        handler = nil
        unacknowledged = [:]
        early = [:]
    }

    func end(_ error: SocketError?) {
        if isOver { return }
        deadlineTimer.stop()
        outgoing = []
        arrived = []
        state = .ending(error)
        turnEnd.request(self)
    }

    func endOfTurn() {
        switch state {
        case .connecting: break
        case .open, .closing:
            if mayOffer, !arrived.isEmpty {
                let before = takenBytes
                offer()
                if takenBytes > before { tellAllowance() }
            }
            if !isOver { write() }
        case .ending(let error):
            state = .closed
            host.remove(self)
            let handler = self.handler
            self.handler = nil
            handler?.closed(error)
        case .closed: break
        }
    }
}
