internal import Kernel
internal import SAL

/// Streams and datagrams of a network of the stack, for a modem on an event loop.
final class NetworkCarrier: Carrier {
    private let network: any ServerNetwork
    private let names: [String: IPAddress]
    private var sockets: [Int32: CarriedSocket] = [:]
    private var lastHandle: Int32 = 0
    /// Called when a socket has something new.
    var changed: () -> Void = {}

    init(_ network: any ServerNetwork, names: [String: IPAddress]) {
        self.network = network
        self.names = names
    }

    func open(isStream: Bool, to peer: Peer?, localPort: UInt16) -> Int32? {
        let socket = CarriedSocket { [weak self] in self?.changed() }
        let endpoint = peer.map { Endpoint(host: $0.host, port: $0.port) }
        // The modem's own patience ends before.
        let deadline = network.loop.now + .seconds(600)
        if isStream, let endpoint {
            let stream = network.connect(to: endpoint, deadline: deadline, handler: socket)
            stream.allowsHalfOpen = true
            socket.stream = stream
        } else if !isStream, let endpoint {
            socket.datagrams = network.openDatagrams(to: endpoint, deadline: deadline, handler: socket)
        } else {
            let address = SocketAddress(address: .anyIPv4, port: localPort)
            do throws(SocketError) {
                socket.datagrams = try network.bindDatagrams(at: address, handler: socket)
            } catch { return nil }
        }
        lastHandle += 1
        sockets[lastHandle] = socket
        return lastHandle
    }

    func outcome(_ handle: Int32) -> CarrierOutcome { sockets[handle]?.outcome ?? .failed }

    func send(_ bytes: [UInt8], on handle: Int32, to peer: Peer?) -> Int {
        sockets[handle]?.send(bytes, to: peer) ?? 0
    }

    func receive(_ maximum: Int, on handle: Int32) -> CarrierArrival { sockets[handle]?.receive(maximum) ?? .reset }

    /// Whether there is something to receive.
    func hasArrivals(on handle: Int32) -> Bool { sockets[handle]?.hasArrivals ?? false }

    func close(_ handle: Int32, isBroken: Bool) { sockets.removeValue(forKey: handle)?.close(isBroken: isBroken) }

    func resolve(_ name: String, _ completion: @escaping @Sendable ([UInt32]) -> Void) {
        var addresses: [UInt32] = []
        if case .v4(let address)? = names[name] { addresses = [address] }
        completion(addresses)
        changed()
    }
}

/// A stream, or datagrams, and what has arrived.
private final class CarriedSocket: ByteStreamHandler, DatagramHandler {
    /// What is held of a stream, and of datagrams; more waits in the network, or is lost.
    private static let streamBytes = 4_096
    private static let datagramCount = 64

    var stream: (any ByteStream)?
    var datagrams: (any DatagramSocket)?
    private let changed: () -> Void
    private var bytes: [UInt8] = []
    private var packets: [(bytes: [UInt8], sender: Peer)] = []
    /// How it has ended; the arrivals before that come first.
    private var ending: CarrierArrival?
    private var isOpen = false
    /// The end has been received, which happens once.
    private var endIsTold = false

    init(changed: @escaping () -> Void) { self.changed = changed }

    var outcome: CarrierOutcome {
        if isOpen { return .open(localPort: stream?.localAddress?.port ?? datagrams?.localAddress?.port ?? 0) }
        return ending == nil ? .pending : .failed
    }

    var hasArrivals: Bool { !bytes.isEmpty || !packets.isEmpty || ending != nil && !endIsTold }

    func send(_ bytes: [UInt8], to peer: Peer?) -> Int {
        if let stream { return stream.send(bytes.span) }
        guard let datagrams else { return 0 }
        let address = peer.map { SocketAddress(address: .v4($0.address), port: $0.port) }
        do throws(SocketError) { try datagrams.send(bytes.span, to: address) } catch { return 0 }
        return bytes.count
    }

    func receive(_ maximum: Int) -> CarrierArrival {
        if !packets.isEmpty {
            let packet = packets.removeFirst()
            return .bytes(Array(packet.bytes.prefix(maximum)), sender: packet.sender)
        }
        if !bytes.isEmpty {
            let piece = Array(bytes.prefix(maximum))
            bytes.removeFirst(piece.count)
            stream?.resumeReceiving()
            return .bytes(piece, sender: nil)
        }
        guard let ending, !endIsTold else { return .nothing }
        endIsTold = true
        return ending
    }

    func close(isBroken: Bool) {
        // What it still had is lost.
        (bytes, packets) = ([], [])
        if isBroken { stream?.abort() } else { stream?.close() }
        datagrams?.close()
        stream?.handler = Ignoring.shared
        datagrams?.handler = Ignoring.shared
    }

    // MARK: What the network tells

    func opened() {
        isOpen = true
        changed()
    }

    func received(_ bytes: Span<UInt8>) -> Int {
        let count = min(bytes.count, Self.streamBytes - self.bytes.count)
        for index in 0..<count { self.bytes.append(bytes[index]) }
        changed()
        return count
    }

    func received(_ datagram: Span<UInt8>, from peer: SocketAddress, truncated: Bool) {
        guard packets.count < Self.datagramCount, case .v4(let address) = peer.address else { return }
        var bytes: [UInt8] = []
        for index in datagram.indices { bytes.append(datagram[index]) }
        packets.append((bytes, Peer(address: address, port: peer.port)))
        changed()
    }

    func writable() { changed() }

    func peerEnded() {
        ending = .end
        changed()
    }

    func closed(_ error: SocketError?) {
        if ending == nil { ending = error == nil ? .end : .reset }
        changed()
    }
}

/// Hears what a closed socket still says.
private final class Ignoring: ByteStreamHandler, DatagramHandler, Sendable {
    static let shared = Ignoring()
    func opened() {}
    func received(_ bytes: Span<UInt8>) -> Int { bytes.count }
    func received(_ datagram: Span<UInt8>, from peer: SocketAddress, truncated: Bool) {}
    func writable() {}
    func closed(_ error: SocketError?) {}
}
