#if os(Linux)
internal import CLinux

/// How a socket of Linux is set up; what is `nil` is left as the system has it.
public struct SocketOptions: Sendable {
    /// How a silent peer is found out (RFC 9293, 3.8.4).
    public struct KeepAlive: Equatable, Sendable {
        /// For how long nothing must have come before the first probe, in whole seconds from 1 on.
        public var idleSeconds: Int
        /// The time between probes, in whole seconds from 1 on.
        public var intervalSeconds: Int
        /// After how many unanswered probes the stream ends with ``SocketError/timedOut``.
        public var count: Int

        /// Probes every 15 s after a silence of 60 s; the peer is given up after four.
        public init(idleSeconds: Int = 60, intervalSeconds: Int = 15, count: Int = 4) {
            self.idleSeconds = idleSeconds
            self.intervalSeconds = intervalSeconds
            self.count = count
        }
    }

    /// Whether small segments are sent at once instead of waiting for the acknowledgement of those before (TCP_NODELAY).
    public var sendsSmallSegments = true
    /// Whether a silent peer is probed. A peer that was sent something and does not acknowledge it is not probed; it is given up after the same time.
    public var keepAlive: KeepAlive?
    /// After how long the stream ends with ``SocketError/timedOut`` when the peer does not acknowledge what it was sent (TCP_USER_TIMEOUT),
    /// in milliseconds; `nil` for the time that ``keepAlive`` takes, or else the system's, which is a quarter of an hour.
    public var acknowledgementTimeoutMilliseconds: Int?
    /// The system's buffers, in bytes; the system doubles them for its own needs.
    public var sendBufferBytes: Int?
    /// As ``sendBufferBytes``, for what arrives.
    public var receiveBufferBytes: Int?
    /// The local address to connect from; port 0 takes a free one.
    public var localAddress: SocketAddress?
    /// The name of the interface that all goes through, such as `eth0`. Needs no privilege since Linux 5.7.
    public var interface: String?
    /// How many routers a packet may pass (TTL, or hop limit): 1 to 255.
    public var hopLimit: Int?
    /// The class of the traffic: DSCP, 0 to 63 (RFC 2474).
    public var trafficClass: Int?
    /// For how long a stream that is closed goes on sending what it took before it is given up, in seconds.
    public var lingerSeconds = 60
    /// Sets SO_REUSEADDR. For a listener: an address whose earlier connections still fade away may be taken again. For datagrams: sockets which all have it
    /// share an address, of which the last one alone gets what is sent to it, and all get what is sent to a group. `nil`: as listeners and the members of a group, at
    /// its own address, need it.
    public var reusesAddress: Bool?
    /// Listeners and datagrams: several sockets, one per loop, share the address, and the system deals out what arrives (SO_REUSEPORT).
    public var sharesPort = false
    /// Listeners and datagrams at `::` take IPv4 peers too.
    public var isDualStack = true
    /// How many peers may wait to be accepted.
    public var backlog = 1024
    /// Datagrams: may be sent to broadcast addresses.
    public var allowsBroadcast = false
    /// Datagrams to groups: how many routers they may pass, 1 at first.
    public var multicastHopLimit: Int?
    /// Datagrams to groups: whether this machine's own members get them too, as they do at first.
    public var loopsMulticastBack: Bool?
    /// Datagrams to groups: the name of the interface that they leave by.
    public var multicastInterface: String?
    /// Datagrams: how many bytes of each are received; of a longer one the rest is lost, and it is marked as truncated.
    public var datagramBytes = 65_535

    /// What suits most: small segments at once, nothing else changed.
    public init() {}
}

/// Sets options of one descriptor, and remembers the first that failed.
struct OptionSetter: ~Copyable {
    let descriptor: Int32
    private(set) var failure: SocketError?

    init(_ descriptor: Int32) { self.descriptor = descriptor }

    mutating func set(_ level: Int32, _ name: Int32, _ value: Int) {
        var value = Int32(clamping: value)
        note(unsafe setsockopt(descriptor, level, name, &value, socklen_t(MemoryLayout<Int32>.size)))
    }

    mutating func set<Value>(_ level: Int32, _ name: Int32, raw value: Value) {
        note(
            unsafe withUnsafePointer(to: value) {
                unsafe setsockopt(descriptor, level, name, $0, socklen_t(MemoryLayout<Value>.size))
            }
        )
    }

    mutating func set(_ level: Int32, _ name: Int32, text: String) {
        note(unsafe text.withCString { unsafe setsockopt(descriptor, level, name, $0, socklen_t(text.utf8.count + 1)) })
    }

    private mutating func note(_ result: Int32) {
        if result != 0, failure == nil { failure = SocketError(errno: clinux_errno()) }
    }
}

extension SocketOptions {
    /// Sets what all kinds of sockets have. Returns why one could not be set.
    func apply(to descriptor: Int32, family: Int32, isStream: Bool) -> SocketError? {
        var setter = OptionSetter(descriptor)
        if let bytes = sendBufferBytes { setter.set(SOL_SOCKET, SO_SNDBUF, bytes) }
        if let bytes = receiveBufferBytes { setter.set(SOL_SOCKET, SO_RCVBUF, bytes) }
        guard family != AF_UNIX else { return setter.failure }
        if let interface { setter.set(SOL_SOCKET, SO_BINDTODEVICE, text: interface) }
        // A dual-stack socket sends to IPv4 peers as that family says.
        if let hopLimit {
            if family == AF_INET6 { setter.set(Int32(IPPROTO_IPV6), Int32(IPV6_UNICAST_HOPS), hopLimit) }
            if family == AF_INET || isDualStack { setter.set(Int32(IPPROTO_IP), Int32(IP_TTL), hopLimit) }
        }
        if let trafficClass {
            if family == AF_INET6 { setter.set(Int32(IPPROTO_IPV6), Int32(IPV6_TCLASS), trafficClass << 2) }
            if family == AF_INET || isDualStack { setter.set(Int32(IPPROTO_IP), Int32(IP_TOS), trafficClass << 2) }
        }
        if isStream { applyStream(&setter) }
        return setter.failure
    }

    private func applyStream(_ setter: inout OptionSetter) {
        let tcp = Int32(IPPROTO_TCP)
        if sendsSmallSegments { setter.set(tcp, TCP_NODELAY, 1) }
        if let keepAlive {
            setter.set(SOL_SOCKET, SO_KEEPALIVE, 1)
            setter.set(tcp, TCP_KEEPIDLE, keepAlive.idleSeconds)
            setter.set(tcp, TCP_KEEPINTVL, keepAlive.intervalSeconds)
            setter.set(tcp, TCP_KEEPCNT, keepAlive.count)
        }
        let silence = keepAlive.map { ($0.idleSeconds + $0.intervalSeconds * $0.count) * 1_000 }
        if let milliseconds = acknowledgementTimeoutMilliseconds ?? silence {
            setter.set(tcp, TCP_USER_TIMEOUT, milliseconds)
        }
    }

    /// Sets what sockets have that others send to, before they are bound.
    func applyBound(to descriptor: Int32, family: Int32, reusing: Bool) -> SocketError? {
        guard family != AF_UNIX else { return nil }
        var setter = OptionSetter(descriptor)
        if reusesAddress ?? reusing { setter.set(SOL_SOCKET, SO_REUSEADDR, 1) }
        if sharesPort { setter.set(SOL_SOCKET, SO_REUSEPORT, 1) }
        if family == AF_INET6 { setter.set(Int32(IPPROTO_IPV6), Int32(IPV6_V6ONLY), isDualStack ? 0 : 1) }
        return setter.failure
    }

    /// Sets what datagram sockets have.
    func applyDatagrams(to descriptor: Int32, family: Int32) -> SocketError? {
        var setter = OptionSetter(descriptor)
        let (v4, v6) = (Int32(IPPROTO_IP), Int32(IPPROTO_IPV6))
        let isV6 = family == AF_INET6
        if allowsBroadcast { setter.set(SOL_SOCKET, SO_BROADCAST, 1) }
        if let limit = multicastHopLimit {
            setter.set(isV6 ? v6 : v4, isV6 ? IPV6_MULTICAST_HOPS : IP_MULTICAST_TTL, limit)
        }
        if let loops = loopsMulticastBack {
            setter.set(isV6 ? v6 : v4, isV6 ? IPV6_MULTICAST_LOOP : IP_MULTICAST_LOOP, loops ? 1 : 0)
        }
        if let name = multicastInterface {
            let index = unsafe if_nametoindex(name)
            guard index != 0 else { return SocketError(errno: clinux_errno()) }
            if isV6 {
                setter.set(v6, IPV6_MULTICAST_IF, Int(index))
            } else {
                setter.set(v4, IP_MULTICAST_IF, raw: ip_mreqn(group: 0, interface: index))
            }
        }
        return setter.failure
    }
}

extension ip_mreqn {
    init(group: UInt32, interface: UInt32) {
        self.init(
            imr_multiaddr: in_addr(s_addr: group.bigEndian),
            imr_address: in_addr(s_addr: 0),
            imr_ifindex: Int32(bitPattern: interface)
        )
    }
}
#endif
