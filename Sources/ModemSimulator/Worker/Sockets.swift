internal import CLinux

/// An IPv4 address and a port, both in host order.
struct Peer: Equatable {
    var address: UInt32
    var port: UInt16

    var host: String { "\(address >> 24).\(address >> 16 & 255).\(address >> 8 & 255).\(address & 255)" }

    /// A dotted address, or `nil` for a name.
    init?(numeric host: String, port: UInt16) {
        var value = in_addr()
        guard inet_pton(AF_INET, host, &value) == 1 else { return nil }
        self.init(address: UInt32(bigEndian: value.s_addr), port: port)
    }

    init(address: UInt32, port: UInt16) {
        self.address = address
        self.port = port
    }

    init(_ raw: sockaddr_in) {
        self.init(address: UInt32(bigEndian: raw.sin_addr.s_addr), port: UInt16(bigEndian: raw.sin_port))
    }

    var raw: sockaddr_in {
        var raw = sockaddr_in()
        raw.sin_family = sa_family_t(AF_INET)
        raw.sin_addr.s_addr = address.bigEndian
        raw.sin_port = port.bigEndian
        return raw
    }
}

/// A socket of this machine that stands for a link of the modem.
struct Link {
    enum State: Equatable {
        /// It has a number, but no socket yet.
        case created
        case opening(giveUpAt: Int64)
        case open
        /// The peer has closed or reset it; what has arrived is still in the buffer.
        case ended(isReset: Bool)
    }

    let isStream: Bool
    /// Tells it from others that had its number before.
    let serial: Int
    var descriptor: Int32 = -1
    var state: State
    /// The peer; `nil` for datagrams to and from anybody.
    var peer: Peer?
    var localPort: UInt16 = 0
    /// What has arrived from the network and was not read by the host.
    var buffer: [UInt8] = []
    /// For datagrams: those in the buffer.
    var datagrams: [(count: Int, sender: Peer)] = []
    /// What the host has sent and the network has not taken.
    var outgoing: [UInt8] = []
    var bytesSent = 0
    var bytesRead = 0
    /// The host was told that data waits.
    var wasNotified = false
    /// The host was told of the end.
    var endWasTold = false
    /// How the family calls the way in which data is received on it.
    var accessMode = 0

    var isOpen: Bool { state == .open }
    var hasEnded: Bool { if case .ended = state { true } else { false } }
    /// How many bytes one read can give.
    var readable: Int { datagrams.first?.count ?? buffer.count }
    var kind: String { isStream ? "TCP" : "UDP" }
}

/// The links of a modem, by number.
final class Sockets {
    /// How much a link holds before its peer is stopped.
    static let bufferBytes = 5_760
    /// How much a link holds for the network before the modem takes no more.
    static let outgoingBytes = 16_384
    private static let openTimeout: Int64 = 10_000_000_000

    private(set) var links: [Link?]
    private var serials = 0

    init(count: Int) { links = [Link?](repeating: nil, count: count) }

    deinit { closeAll() }

    subscript(_ number: Int) -> Link? {
        get { links.indices.contains(number) ? links[number] : nil }
        set { if links.indices.contains(number) { links[number] = newValue } }
    }

    /// The numbers in use.
    var used: [Int] { links.indices.filter { links[$0] != nil } }

    /// Takes the number for a stream that has no socket yet.
    func create(_ number: Int) {
        close(number)
        serials += 1
        links[number] = Link(isStream: true, serial: serials, state: .created)
    }

    /// Takes the number for a link that is to be opened; returns its serial.
    func reserve(_ number: Int, isStream: Bool, at now: Int64) -> Int {
        close(number)
        serials += 1
        links[number] = Link(isStream: isStream, serial: serials, state: .opening(giveUpAt: now + Self.openTimeout))
        return serials
    }

    /// Makes the socket of a reserved link: to `peer`, or for datagrams of anybody. False if the system refuses.
    func connect(_ number: Int, to peer: Peer?, localPort: UInt16) -> Bool {
        guard let isStream = self[number]?.isStream else { return false }
        let descriptor = socket(AF_INET, isStream ? clinux_stream_type() : clinux_datagram_type(), 0)
        guard descriptor >= 0 else { return false }
        links[number]?.descriptor = descriptor
        links[number]?.peer = peer
        var on: Int32 = 1
        if isStream { setsockopt(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &on, 4) }
        if localPort > 0 || peer == nil {
            guard Self.with(Peer(address: 0, port: localPort), { bind(descriptor, $0, $1) }) == 0 else { return false }
        }
        if let peer {
            guard Self.with(peer, { CLinux.connect(descriptor, $0, $1) }) == 0 || clinux_errno() == EINPROGRESS
            else { return false }
        }
        return true
    }

    private static func with(_ peer: Peer, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Int32) -> Int32 {
        var raw = peer.raw
        return withUnsafePointer(to: &raw) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                body($0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
    }

    /// Whether a link that is being opened is open or has failed, or `nil` while that is not known.
    func outcomeOfOpening(_ number: Int, at now: Int64) -> Bool? {
        guard let link = self[number], case .opening(let giveUpAt) = link.state else { return false }
        var poller = pollfd(fd: link.descriptor, events: Int16(POLLOUT), revents: 0)
        guard poll(&poller, 1, 0) > 0 || now >= giveUpAt else { return nil }
        var error: Int32 = 0
        var size = socklen_t(MemoryLayout<Int32>.size)
        getsockopt(link.descriptor, SOL_SOCKET, SO_ERROR, &error, &size)
        guard error == 0, poller.revents != 0 else {
            cut(number, isReset: true)
            return false
        }
        var local = sockaddr_in()
        size = socklen_t(MemoryLayout<sockaddr_in>.size)
        withUnsafeMutablePointer(to: &local) { pointer in
            _ = pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(link.descriptor, $0, &size) }
        }
        links[number]?.localPort = Peer(local).port
        links[number]?.state = .open
        return true
    }

    func close(_ number: Int) {
        if let descriptor = self[number]?.descriptor, descriptor >= 0 { CLinux.close(descriptor) }
        self[number] = nil
    }

    func closeAll() { for number in links.indices { close(number) } }

    /// The peer is gone, whether it knows or not; what has arrived stays.
    func cut(_ number: Int, isReset: Bool) {
        if let descriptor = self[number]?.descriptor, descriptor >= 0 { CLinux.close(descriptor) }
        self[number]?.descriptor = -1
        self[number]?.outgoing = []
        self[number]?.state = .ended(isReset: isReset)
    }

    // MARK: Data

    /// How many bytes a link takes from the host now.
    func room(_ number: Int) -> Int {
        guard let link = self[number], link.isOpen else { return 0 }
        return Self.outgoingBytes - link.outgoing.count
    }

    /// Takes `bytes` for the network, all or none for datagrams; returns how many.
    func send(_ bytes: [UInt8], on number: Int, to peer: Peer? = nil) -> Int {
        guard let link = self[number], link.isOpen else { return 0 }
        let count: Int
        if link.isStream {
            count = min(bytes.count, room(number))
            links[number]?.outgoing += bytes[..<count]
            flush(number)
        } else if let peer {
            count = Int(Self.with(peer) { Int32(sendto(link.descriptor, bytes, bytes.count, 0, $0, $1)) })
        } else {
            count = CLinux.send(link.descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL))
        }
        links[number]?.bytesSent += max(count, 0)
        return max(count, 0)
    }

    private func flush(_ number: Int) {
        guard let link = self[number], link.descriptor >= 0, !link.outgoing.isEmpty else { return }
        let count = CLinux.send(link.descriptor, link.outgoing, link.outgoing.count, Int32(MSG_NOSIGNAL))
        if count > 0 { links[number]?.outgoing.removeFirst(count) }
    }

    /// Moves bytes between the network and the buffers of a link.
    func serve(_ number: Int) {
        flush(number)
        while receive(number) {}
    }

    /// Takes a piece of the stream, or a datagram, if there is one and room for it.
    private func receive(_ number: Int) -> Bool {
        guard let link = self[number], link.isOpen, link.buffer.count < Self.bufferBytes else { return false }
        let room = link.isStream ? Self.bufferBytes - link.buffer.count : 2_048
        var chunk = [UInt8](repeating: 0, count: room)
        var sender = sockaddr_in()
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let count = withUnsafeMutablePointer(to: &sender) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                recvfrom(link.descriptor, &chunk, room, Int32(MSG_DONTWAIT), $0, &size)
            }
        }
        if count > 0 {
            links[number]?.buffer += chunk[..<count]
            if !link.isStream { links[number]?.datagrams.append((count, Peer(sender))) }
        } else if link.isStream, count == 0 {
            // What the host has sent before still goes out.
            links[number]?.state = .ended(isReset: false)
        } else if link.isStream, clinux_errno() != EAGAIN, clinux_errno() != EINTR {
            cut(number, isReset: true)
        }
        return count > 0
    }

    /// Takes up to `maximum` bytes out of the buffer; of a datagram, what does not fit is lost.
    func read(_ number: Int, _ maximum: Int) -> (bytes: [UInt8], sender: Peer?) {
        guard let link = self[number] else { return ([], nil) }
        let bytes = Array(link.buffer.prefix(min(maximum, link.readable)))
        links[number]?.buffer.removeFirst(link.isStream ? bytes.count : link.readable)
        if !link.datagrams.isEmpty { links[number]?.datagrams.removeFirst() }
        links[number]?.bytesRead += bytes.count
        if links[number]?.buffer.isEmpty == true { links[number]?.wasNotified = false }
        return (bytes, link.datagrams.first?.sender ?? link.peer)
    }

    /// What to wait for.
    var watched: [pollfd] {
        links.compactMap { link in
            guard let link, link.descriptor >= 0 else { return nil }
            var events: Int32 = 0
            if case .opening = link.state { events |= POLLOUT }
            if !link.outgoing.isEmpty { events |= POLLOUT }
            if link.isOpen, link.buffer.count < Self.bufferBytes { events |= POLLIN }
            return events == 0 ? nil : pollfd(fd: link.descriptor, events: Int16(events), revents: 0)
        }
    }
}
