import CLinux
import Kernel
import Testing

@testable import SAL

/// A handler that keeps what it is told.
final class DatagramProbe: DatagramHandler, @unchecked Sendable {
    // @unchecked: what the test reads has locks of its own, the rest is used on the loop only.
    struct Arrival: Equatable {
        let bytes: [UInt8]
        let peer: SocketAddress
        let isTruncated: Bool
    }

    @Noted var isOpen = false
    @Noted var isClosed = false
    @Noted var error: SocketError?
    @Noted var arrivals: [Arrival] = []
    private var condition: (@Sendable (DatagramProbe) -> Bool)?
    private var waiter: CheckedContinuation<Void, Never>?
    /// What a continuation orders, the thread sanitizer does not see if it is resumed before its task waits; this it sees.
    private let order = Guarded(false)

    func opened() { isOpen = true; check() }
    func received(_ datagram: Span<UInt8>, from peer: SocketAddress, truncated: Bool) {
        arrivals.append(Arrival(bytes: datagram.indices.map { datagram[$0] }, peer: peer, isTruncated: truncated))
        check()
    }
    func closed(_ error: SocketError?) {
        precondition(!isClosed, "closed comes once")
        isClosed = true
        self.error = error
        check()
    }
    private func check() {
        guard let waiter, condition?(self) ?? true else { return }
        (self.waiter, condition) = (nil, nil)
        order.withLock { _ in }
        waiter.resume()
    }
    func wait(on loop: EventLoop, for condition: @escaping @Sendable (DatagramProbe) -> Bool) async {
        await withCheckedContinuation { continuation in
            loop.execute {
                self.condition = { condition($0) || $0.isClosed }
                self.waiter = continuation
                self.check()
            }
        }
        order.withLock { _ in }
    }
}

/// A UDP socket of plain system calls on loopback.
private final class DatagramPeer: Sendable {
    let descriptor: Int32
    let port: UInt16
    let address: IPAddress

    init(v6: Bool = false) {
        let address = v6 ? IPAddress.v6(high: 0, low: 1, scope: 0) : .v4(0x7F00_0001)
        let descriptor = socket(v6 ? AF_INET6 : AF_INET, Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        _ = SystemAddress(SocketAddress(address: address, port: 0)).withPointer { bind(descriptor, $0, $1) }
        var storage = sockaddr_storage()
        var size = socklen_t(MemoryLayout<sockaddr_storage>.size)
        port = withUnsafeMutablePointer(to: &storage) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                _ = getsockname(descriptor, $0, &size)
                return SystemAddress($0)?.address?.port ?? 0
            }
        }
        var timeout = timeval(tv_sec: 10, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &timeout, socklen_t(MemoryLayout<timeval>.size))
        self.descriptor = descriptor
        self.address = address
    }

    deinit { close(descriptor) }

    /// The next datagram, and where it came from.
    func receive() async -> (bytes: [UInt8], sender: SocketAddress?) {
        await onThread { [self] in
            var buffer = [UInt8](repeating: 0, count: 70_000)
            var storage = sockaddr_storage()
            var size = socklen_t(MemoryLayout<sockaddr_storage>.size)
            return withUnsafeMutablePointer(to: &storage) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    let count = recvfrom(descriptor, &buffer, buffer.count, 0, $0, &size)
                    return (Array(buffer[..<max(0, count)]), SystemAddress($0)?.address)
                }
            }
        }
    }

    func send(_ bytes: [UInt8], to peer: SocketAddress) {
        _ = SystemAddress(peer).withPointer { sendto(descriptor, bytes, bytes.count, 0, $0, $1) }
    }
}

@Suite(.timeLimit(.minutes(1))) struct DatagramTests {
    let loop = EventLoop.start()
    let probe = DatagramProbe()

    private func open(
        _ host: String,
        _ port: UInt16,
        timeout: Duration = .seconds(20),
        resolver: Resolver = .shared
    ) async -> LoopBox<any DatagramSocket> {
        await loop.call { [loop, probe] in
            LoopBox(
                LinuxNetwork(loop: loop, resolver: resolver).openDatagrams(
                    to: Endpoint(host: host, port: port),
                    deadline: loop.now + timeout,
                    handler: probe
                )
            )
        }
    }

    private func send(
        _ bytes: [UInt8],
        on socket: LoopBox<any DatagramSocket>,
        to peer: SocketAddress? = nil
    ) async -> SocketError? {
        await loop.call {
            do throws(SocketError) { try socket.value.send(bytes.span, to: peer) } catch { return error }
            return nil
        }
    }

    /// Also the empty one, and the largest that there is.
    @Test(arguments: [false, true]) func keepsTheBoundaries(v6: Bool) async throws {
        let peer = DatagramPeer(v6: v6)
        let socket = await open(v6 ? "::1" : "127.0.0.1", peer.port)
        await probe.wait(on: loop) { $0.isOpen }
        let address = SocketAddress(address: peer.address, port: peer.port)
        for size in [1, 0, 1_472, 2, 65_507] {
            let bytes = (0..<size).map { UInt8(truncatingIfNeeded: $0 &* 13 &+ size) }
            #expect(await send(bytes, on: socket) == nil)
            let (arrived, sender) = await peer.receive()
            #expect(arrived == bytes)
            await loop.call { [probe] in probe.arrivals = [] }
            peer.send(bytes, to: try #require(sender))
            peer.send([1], to: try #require(sender))
            await probe.wait(on: loop) { $0.arrivals.count == 2 }
            #expect(
                probe.arrivals == [
                    .init(bytes: bytes, peer: address, isTruncated: false),
                    .init(bytes: [1], peer: address, isTruncated: false),
                ]
            )
        }
        await loop.call { socket.value.close() }
        await probe.wait(on: loop) { $0.isClosed }
        #expect(probe.error == nil)
        #expect(await send([1], on: socket) == .closed)
        loop.stop()
    }

    @Test func refusesWhatIsTooLongAndGoesOn() async {
        let peer = DatagramPeer()
        let socket = await open("127.0.0.1", peer.port)
        await probe.wait(on: loop) { $0.isOpen }
        let limit = await loop.call { socket.value.maximumDatagramBytes }
        #expect(await send([UInt8](repeating: 0, count: limit + 1), on: socket) == .messageTooLong)
        #expect(await send([5], on: socket) == nil)
        #expect(await peer.receive().bytes == [5])
        let isClosed = await loop.call { [probe] in probe.isClosed }
        #expect(!isClosed)
        await loop.call { socket.value.close() }
        loop.stop()
    }

    @Test func takesNothingFromStrangersAndSendsNothingToThem() async throws {
        let (peer, stranger) = (DatagramPeer(), DatagramPeer())
        let socket = await open("127.0.0.1", peer.port)
        await probe.wait(on: loop) { $0.isOpen }
        let other = SocketAddress(address: stranger.address, port: stranger.port)
        #expect(await send([1], on: socket, to: other) == .unreachable(code: EISCONN))
        #expect(await send([2], on: socket, to: SocketAddress(address: peer.address, port: peer.port)) == nil)
        let (bytes, sender) = await peer.receive()
        #expect(bytes == [2])
        stranger.send([6, 6, 6], to: try #require(sender))
        peer.send([3], to: try #require(sender))
        await probe.wait(on: loop) { !$0.arrivals.isEmpty }
        #expect(probe.arrivals.map(\.bytes) == [[3]])
        await loop.call { socket.value.close() }
        loop.stop()
    }

    @Test func reportsAPortWhereNobodyListens() async {
        let port = DatagramPeer().port
        let socket = await open("127.0.0.1", port)
        await probe.wait(on: loop) { $0.isOpen }
        #expect(await send([1], on: socket) == nil)
        await probe.wait(on: loop) { $0.isClosed }
        #expect(probe.error == .refused(code: ECONNREFUSED))
        loop.stop()
    }

    @Test func reportsANameWithoutAnAddress() async {
        _ = await open("name.example", 5_683, resolver: Resolver { _ in [] })
        await probe.wait(on: loop) { $0.isClosed }
        #expect(probe.error == .nameNotFound && !probe.isOpen)
        loop.stop()
    }

    @Test func aResolverThatHangsDoesNotBlockTheDeadline() async {
        let gate = Gate()
        let port = DatagramPeer().port
        let resolver = Resolver { _ in
            gate.wait()
            return [.v4(0x7F00_0001)]
        }
        _ = await open("name.example", port, timeout: .milliseconds(50), resolver: resolver)
        await probe.wait(on: loop) { $0.isClosed }
        #expect(probe.error == .timedOut && !probe.isOpen)
        gate.open()
        loop.stop()
    }

    /// A flood for one socket does not keep the loop from its other work.
    @Test func aFloodDoesNotHoldUpTheLoop() async throws {
        let peer = DatagramPeer()
        let socket = await open("127.0.0.1", peer.port)
        await probe.wait(on: loop) { $0.isOpen }
        #expect(await send([1], on: socket) == nil)
        let sender = try #require(await peer.receive().sender)
        let flood = Task { await onThread { for _ in 0..<20_000 { peer.send([0], to: sender) } } }
        for _ in 0..<100 { await loop.call {} }
        await flood.value
        await loop.call { socket.value.close() }
        await probe.wait(on: loop) { $0.isClosed }
        #expect(probe.error == nil)
        loop.stop()
    }
}
