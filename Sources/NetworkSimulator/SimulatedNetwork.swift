public import Kernel
public import SAL

/// Hosts in memory, and the ways between them: what a network does to streams and datagrams, from a seed, in virtual or in real time.
///
/// Use it, its hosts and all that they open on its loop only.
public final class SimulatedNetwork: @unchecked Sendable {
    // @unchecked: what changes is used on the loop only.

    /// The loop that everything happens on.
    public let loop: EventLoop
    /// What ways do that have no conditions of their own.
    public var conditions: Conditions
    /// How long a sender sends again what is not acknowledged, before its stream ends with `SocketError.timedOut`.
    public var retransmissionTime = Duration.seconds(120)
    /// How much a stream's receiver has room for, in bytes.
    public var windowBytes = 65_536

    private var hosts: [IPAddress: SimulatedHost] = [:]
    private var names: [[UInt8]: [IPAddress]] = [:]
    private var ways: [Way: Conditions] = [:]
    var random: SeededGenerator
    private var events = BinaryHeap<Event>(limit: 1_048_576) { ($0.time, $0.order) < ($1.time, $1.order) }
    private var order: UInt64 = 0
    package var loopPlace = -1
    private lazy var timer = Timer(on: loop)
    private lazy var turnEnd = EndOfTurn(on: loop)

    private struct Way: Hashable {
        let from: IPAddress
        let to: IPAddress
    }

    private struct Event {
        let time: Duration
        let order: UInt64
        let action: () -> Void
    }

    /// A network without hosts.
    public init(loop: EventLoop, seed: UInt64 = 1, conditions: Conditions = Conditions()) {
        self.loop = loop
        self.conditions = conditions
        random = SeededGenerator(seed: seed)
        loop.execute { [self] in loop.join(self) }
    }

    /// A new host at `address`, which others find by `names` too.
    public func addHost(_ address: String, names: [String] = []) -> SimulatedHost {
        guard let address = IPAddress(address) else { preconditionFailure("'\(address)' is no address") }
        let host = SimulatedHost(address, self)
        hosts[address] = host
        for name in names { self.names[Array(name.utf8), default: []].append(address) }
        return host
    }

    /// Takes a host away: what is sent to it is lost, and nobody is told.
    public func remove(_ host: SimulatedHost) { hosts[host.address] = nil }

    /// Sets what the way from one host to another does, in this direction; `nil` for ``conditions``.
    public func setConditions(_ conditions: Conditions?, from: SimulatedHost, to: SimulatedHost) {
        ways[Way(from: from.address, to: to.address)] = conditions
    }

    func conditions(from: IPAddress, to: IPAddress) -> Conditions { ways[Way(from: from, to: to)] ?? conditions }

    func host(at address: IPAddress) -> SimulatedHost? { hosts[address] }

    func addresses(of endpoint: Endpoint) -> [IPAddress] {
        if let address = IPAddress(String(decoding: endpoint.host, as: UTF8.self)) { return [address] }
        return names[endpoint.host] ?? []
    }

    // MARK: Time

    /// Has `action` happen `delay` from now, what was asked for first first.
    func after(_ delay: Duration, _ action: @escaping () -> Void) {
        order += 1
        let event = Event(time: loop.now + delay, order: order, action: action)
        guard events.push(event) else { preconditionFailure("too much is under way in a simulated network") }
        schedule()
    }

    private func schedule() {
        guard let next = events.first else { return }
        if timer.isRunning, let deadline = timer.deadline, deadline <= next.time { return }
        timer.start(at: next.time, handler: self)
    }

    // MARK: Datagrams

    /// Has a datagram arrive that nobody has sent, as an attacker on the way may: at once, from whoever it claims.
    public func inject(_ bytes: [UInt8], from sender: SocketAddress, to receiver: SocketAddress) {
        after(.zero) { [self] in hosts[receiver.address]?.received(bytes, from: sender, to: receiver, truncated: false)
        }
    }

    func carry(_ bytes: [UInt8], from sender: SocketAddress, to receiver: SocketAddress) {
        let conditions = conditions(from: sender.address, to: receiver.address)
        guard !conditions.isCut, !random.happens(conditions.loss) else { return }
        let isTruncated = bytes.count > conditions.datagramBytes
        let bytes = isTruncated ? Array(bytes[..<conditions.datagramBytes]) : bytes
        for _ in 0..<(random.happens(conditions.duplication) ? 2 : 1) {
            var delay = delay(conditions)
            if random.happens(conditions.reordering) { delay += conditions.latency * 2 + .milliseconds(1) }
            after(delay) { [self] in
                hosts[receiver.address]?.received(bytes, from: sender, to: receiver, truncated: isTruncated)
            }
        }
    }

    /// How long something takes.
    func delay(_ conditions: Conditions) -> Duration {
        guard conditions.jitter > .zero else { return conditions.latency }
        return conditions.latency + conditions.jitter * Double.random(in: 0..<1, using: &random)
    }
}

extension SimulatedNetwork: EndOfTurnHandler {
    /// Called by the loop.
    public func endOfTurn() {
        letGo()
        loop.leave(self)
    }
}

extension SimulatedNetwork: LoopMember {
    package func loopEnds(atOnce: Bool) {
        for host in hosts.values { host.closeAll() }
        // When all of them have told their ends.
        turnEnd.request(self)
    }

    /// Lets go of all that holds itself by way of the network.
    private func letGo() {
        for host in hosts.values { host.forgetAll() }
        hosts = [:]
        events.removeAll()
        timer.stop()
    }
}

extension SimulatedNetwork: TimerHandler {
    /// Called by the loop.
    public func timerFired(_ timer: Timer) {
        let now = loop.now
        while let next = events.first, next.time <= now {
            _ = events.pop()
            next.action()
        }
        schedule()
    }
}
