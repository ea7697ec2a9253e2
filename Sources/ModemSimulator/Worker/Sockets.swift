/// A link of the modem, and the socket of its ``Carrier`` that stands for it.
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
    var handle: Int32?
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
    private let carrier: any Carrier
    private var serials = 0

    init(count: Int, carrier: any Carrier) {
        links = [Link?](repeating: nil, count: count)
        self.carrier = carrier
    }

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

    /// Makes the socket of a reserved link: to `peer`, or for datagrams of anybody. False if there can be none.
    func connect(_ number: Int, to peer: Peer?, localPort: UInt16) -> Bool {
        guard let isStream = self[number]?.isStream else { return false }
        links[number]?.peer = peer
        links[number]?.handle = carrier.open(isStream: isStream, to: peer, localPort: localPort)
        return links[number]?.handle != nil
    }

    /// Whether a link that is being opened is open or has failed, or `nil` while that is not known.
    func outcomeOfOpening(_ number: Int, at now: Int64) -> Bool? {
        guard let link = self[number], case .opening(let giveUpAt) = link.state, let handle = link.handle
        else { return false }
        switch carrier.outcome(handle) {
        case .pending where now < giveUpAt: return nil
        case .pending, .failed:
            cut(number, isReset: true)
            return false
        case .open(let localPort):
            links[number]?.localPort = localPort
            links[number]?.state = .open
            return true
        }
    }

    func close(_ number: Int) {
        if let handle = self[number]?.handle { carrier.close(handle, isBroken: false) }
        self[number] = nil
    }

    func closeAll() { for number in links.indices { close(number) } }

    /// The peer is gone, whether it knows or not; what has arrived stays.
    func cut(_ number: Int, isReset: Bool) {
        if let handle = self[number]?.handle { carrier.close(handle, isBroken: isReset) }
        self[number]?.handle = nil
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
        guard let link = self[number], link.isOpen, let handle = link.handle else { return 0 }
        var count = 0
        if link.isStream {
            count = min(bytes.count, room(number))
            links[number]?.outgoing += bytes[..<count]
            flush(number)
        } else {
            count = carrier.send(bytes, on: handle, to: peer)
        }
        links[number]?.bytesSent += count
        return count
    }

    private func flush(_ number: Int) {
        guard let link = self[number], let handle = link.handle, !link.outgoing.isEmpty else { return }
        let count = carrier.send(link.outgoing, on: handle, to: nil)
        if count > 0 { links[number]?.outgoing.removeFirst(count) }
    }

    /// Moves bytes between the network and the buffers of a link.
    func serve(_ number: Int) {
        flush(number)
        while receive(number) {}
    }

    /// Takes a piece of the stream, or a datagram, if there is one and room for it.
    private func receive(_ number: Int) -> Bool {
        guard let link = self[number], hasRoom(link), let handle = link.handle else { return false }
        switch carrier.receive(link.isStream ? Self.bufferBytes - link.buffer.count : 2_048, on: handle) {
        case .bytes(let bytes, let sender):
            links[number]?.buffer += bytes
            if !link.isStream { links[number]?.datagrams.append((bytes.count, sender ?? Peer(address: 0, port: 0))) }
            return true
        case .nothing: break
        // What the host has sent before still goes out.
        case .end: if link.isStream { links[number]?.state = .ended(isReset: false) }
        case .reset: if link.isStream { cut(number, isReset: true) }
        }
        return false
    }

    private func hasRoom(_ link: Link) -> Bool { link.isOpen && link.buffer.count < Self.bufferBytes }

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

    /// The sockets in use, and whether they are to be waited for until something can be read or written.
    var watched: [(handle: Int32, reads: Bool, writes: Bool)] {
        links.compactMap { link in
            guard let link, let handle = link.handle else { return nil }
            if case .opening = link.state { return (handle, false, true) }
            let (reads, writes) = (hasRoom(link), !link.outgoing.isEmpty)
            return reads || writes ? (handle, reads, writes) : nil
        }
    }

    /// When openings are given up.
    var deadline: Int64? {
        links.compactMap { link in
            if case .opening(let giveUpAt) = link?.state, link?.handle != nil { giveUpAt } else { nil }
        }.min()
    }
}
