import CLinux
import Kernel
import Testing

@testable import SAL

/// Connections that do not come about, or not at once; and names.
@Suite(.timeLimit(.minutes(1))) struct ConnectTests {
    let loop = EventLoop.start()

    @discardableResult private func connect(
        _ host: String,
        _ port: UInt16,
        _ probe: Probe,
        timeout: Duration = .seconds(20),
        resolver: Resolver = .shared
    ) async -> LoopBox<any ByteStream> {
        await loop.call { [loop] in
            LoopBox(
                LinuxNetwork(loop: loop, resolver: resolver).connect(
                    to: Endpoint(host: host, port: port),
                    deadline: loop.now + timeout,
                    handler: probe
                )
            )
        }
    }

    private func address(_ last: UInt32 = 1) -> IPAddress { .v4(0x7F00_0000 + last) }

    @Test func givesUpAtTheDeadline() async {
        // A listener whose line is full, so that the system drops further requests to connect.
        let peer = Peer(backlog: 0)
        var waiting: [Int32] = []
        defer { for descriptor in waiting { close(descriptor) } }
        for _ in 0..<4 {
            let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
            _ = clinux_set_nonblocking(descriptor)
            let full = SystemAddress(SocketAddress(address: address(), port: peer.port))
            _ = full.withPointer { CLinux.connect(descriptor, $0, $1) }
            waiting.append(descriptor)
        }
        let probe = Probe()
        let start = loop.now
        await connect("127.0.0.1", peer.port, probe, timeout: .milliseconds(60))
        await probe.wait(on: loop) { $0.isClosed || $0.isOpen }
        #expect(probe.error == .timedOut && !probe.isOpen)
        #expect(loop.now - start >= .milliseconds(60))
        loop.stop()
    }

    /// The system has no way to connect to these.
    @Test(arguments: ["255.255.255.255", "224.0.0.1"])
    func reportsThatThereIsNoWay(host: String) async {
        let probe = Probe()
        await connect(host, 9, probe)
        await probe.wait(on: loop) { $0.isClosed }
        #expect(probe.error == .unreachable(code: ENETUNREACH))
        loop.stop()
    }

    @Test func triesAllAddressesOfAName() async {
        let peer = Peer()
        let port = peer.port
        // Nothing listens at the first two: the listener is bound to 127.0.0.1 only.
        let resolver = Resolver { _ in [address(2), address(3), address()] }
        let probe = Probe()
        await connect("name.example", port, probe, resolver: resolver)
        let accepted = await peer.accept()
        await onThread { writeAll(accepted, [1, 2, 3]) }
        await probe.wait(on: loop) { $0.received == [1, 2, 3] }
        #expect(probe.isOpen && !probe.isClosed)
        close(accepted)
        await probe.wait(on: loop) { $0.isClosed }
        #expect(probe.error == nil)
        loop.stop()
    }

    @Test func reportsWhyTheLastAddressFailed() async {
        let peer = Peer()
        let port = peer.port
        let probe = Probe()
        await connect("name.example", port, probe, resolver: Resolver { _ in [address(2), address(3)] })
        await probe.wait(on: loop) { $0.isClosed }
        #expect(probe.error == .refused(code: ECONNREFUSED))
        loop.stop()
    }

    @Test func aResolverThatHangsBlocksNeitherTheLoopNorTheDeadline() async {
        let gate = Gate()
        let port = Peer().port
        let resolver = Resolver { _ in
            gate.wait()
            return [address()]
        }
        // More than there are threads to look names up.
        let probes = (0..<10).map { _ in Probe() }
        for probe in probes {
            await connect("name.example", port, probe, timeout: .milliseconds(50), resolver: resolver)
        }
        // Meanwhile a connection that needs no name works.
        let peer = Peer()
        let other = Probe()
        let stream = await connect("127.0.0.1", peer.port, other, resolver: resolver)
        let accepted = await peer.accept()
        await onThread { writeAll(accepted, [7]) }
        await other.wait(on: loop) { $0.received == [7] }
        await loop.call { stream.value.close() }
        close(accepted)
        for probe in probes {
            await probe.wait(on: loop) { $0.isClosed }
            #expect(probe.error == .timedOut && !probe.isOpen)
        }
        // The answers that come too late change nothing; a later look-up gets its own.
        gate.open()
        let late = Probe()
        await connect("name.example", port, late, resolver: resolver)
        await late.wait(on: loop) { $0.isClosed }
        #expect(late.error == .refused(code: ECONNREFUSED))
        loop.stop()
    }

    @Test(arguments: [false, true])
    func endsWhenItIsClosedWhileANameIsLookedUp(aborts: Bool) async {
        let gate = Gate()
        let resolver = Resolver { _ in
            gate.wait()
            return [address()]
        }
        let probe = Probe()
        let stream = await connect("name.example", 1, probe, resolver: resolver)
        await loop.call { aborts ? stream.value.abort() : stream.value.close() }
        await probe.wait(on: loop) { $0.isClosed }
        #expect(probe.error == nil && !probe.isOpen)
        gate.open()
        loop.stop()
    }
}
