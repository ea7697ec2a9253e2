import CLinux
import Kernel
import NetworkSimulator
import SAL
import Testing

/// What networks do to real sockets, between two hosts made of network namespaces.
@Suite(.timeLimit(.minutes(2)), .serialized, .enabled(if: Wire.isPossible, "needs the rights of root and /dev/net/tun"))
struct NetworkFaultTests {
    private func pattern(_ count: Int) -> [UInt8] { (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 31 ^ $0 >> 8) } }

    @Test func whatALossyWireCarriesArrivesWhole() async throws {
        let wire = try await Wire()
        let (client, server) = try await wire.connect()
        wire.set {
            $0.loss = 0.03
            $0.delay = .milliseconds(5)
        }
        let bytes = pattern(1_000_000)
        async let up: Void = client.write(bytes)
        async let down: Void = server.write(bytes)
        #expect(try await server.read(exactly: bytes.count, .seconds(60)) == bytes)
        #expect(try await client.read(exactly: bytes.count, .seconds(60)) == bytes)
        try await up
        try await down
    }

    @Test func aTransferOutlivesALinkThatIsDownForAWhile() async throws {
        let wire = try await Wire()
        let (client, server) = try await wire.connect()
        let bytes = pattern(4_000_000)
        wire.set { $0.delay = .milliseconds(2) }
        async let written: Void = client.write(bytes)
        var read = try await server.read(exactly: 100_000, .seconds(20))
        wire.set { $0.isCut = true }
        try await Task.sleep(for: .milliseconds(700))
        wire.set { $0.isCut = false }
        read += try await server.read(exactly: bytes.count - read.count, .seconds(60))
        #expect(read == bytes)
        try await written
    }

    /// Whether it is silent, or was sent something that it does not acknowledge.
    @Test(arguments: [false, true])
    func keepAliveFindsAPeerThatHasVanished(sends: Bool) async throws {
        let wire = try await Wire()
        let (client, server) = try await wire.connect {
            $0.keepAlive = .init(idleSeconds: 1, intervalSeconds: 1, count: 2)
        }
        try await client.write([1])
        #expect(try await server.read() == [1])
        wire.set { $0.isCut = true }
        if sends { try await client.write([2]) }
        let start = wire.here.now
        // The time of the stream, not of the call.
        await #expect(throws: SocketError.timedOut) { _ = try await client.read(.seconds(60)) }
        #expect(wire.here.now - start < .seconds(30))
    }

    @Test func aSenderWhosePeerHasVanishedGivesUpInItsTime() async throws {
        let wire = try await Wire()
        let (client, _) = try await wire.connect { $0.acknowledgementTimeoutMilliseconds = 1_000 }
        wire.set { $0.isCut = true }
        try await client.write([1, 2, 3])
        let start = wire.here.now
        await #expect(throws: SocketError.timedOut) { _ = try await client.read(.seconds(60)) }
        #expect(wire.here.now - start < .seconds(20))
    }

    @Test func aLinkThatIsDownIsUnreachableAndWorksAgainWhenItIsUp() async throws {
        let wire = try await Wire()
        let (listener, endpoint) = try await wire.listen()
        let network = wire.network(of: wire.here)
        try await Wire.run("ip link set wire down", on: wire.here)
        do {
            _ = try await Connection.open(to: endpoint, over: network, within: .seconds(5))
            Issue.record("it connected")
        } catch { #expect(error.cause == .unreachable(code: ENETUNREACH)) }
        try await Wire.run("ip link set wire up", on: wire.here)
        let client = try await Connection.open(to: endpoint, over: network, within: .seconds(20))
        await client.close()
        await listener.close()
    }

    @Test func anAddressThatChangesEndsItsStreamsAndNewOnesTakeTheNewOne() async throws {
        let wire = try await Wire()
        let (listener, endpoint) = try await wire.listen()
        let network = wire.network(of: wire.here) { $0.acknowledgementTimeoutMilliseconds = 1_000 }
        let client = try await Connection.open(to: endpoint, over: network)
        try await client.write([1])
        try await Wire.run("ip addr del 10.77.0.1/24 dev wire && ip addr add 10.77.0.7/24 dev wire", on: wire.here)
        try await client.write([2])
        // Nobody has the old address any more, so that no acknowledgement comes.
        await #expect(throws: SocketError.self) { _ = try await client.read(.seconds(60)) }
        let again = try await Connection.open(to: endpoint, over: network, within: .seconds(20))
        #expect(await again.localAddress?.address == .v4(0x0A4D_0007))
        await listener.close()
    }

    @Test func whenAllPortsAreTakenConnectsFailWithThatErrorAndTheOthersGoOn() async throws {
        let wire = try await Wire()
        let (listener, endpoint) = try await wire.listen()
        // An even number: of an odd one, Linux looks at all but one.
        try await Wire.run("echo 50000 50005 > /proc/sys/net/ipv4/ip_local_port_range", on: wire.here)
        let network = wire.network(of: wire.here)
        var clients: [Connection] = []
        var servers: [Connection] = []
        var failure: ConnectError?
        while failure == nil, clients.count < 10 {
            do {
                clients.append(try await Connection.open(to: endpoint, over: network))
                servers.append(try #require(try await listener.accept(.seconds(10))))
            } catch let error as ConnectError { failure = error }
        }
        #expect(failure?.cause == .addressUnavailable(code: EADDRNOTAVAIL) && clients.count >= 3)
        for (client, server) in zip(clients, servers) {
            try await client.write([9])
            #expect(try await server.read() == [9])
        }
        // The end that closes second is free as soon as the other has heard of it.
        await servers[0].close()
        #expect(try await clients[0].read() == nil)
        await clients[0].close()
        for attempt in 1...100 {
            do {
                clients[0] = try await Connection.open(to: endpoint, over: network)
                break
            } catch {
                if attempt == 100 { throw error }
                try await Task.sleep(for: .milliseconds(10))
            }
        }
        await listener.close()
    }

    @Test func aPeerThatVanishesWhileItConnectsIsGivenUpAtTheDeadline() async throws {
        let wire = try await Wire()
        let (listener, endpoint) = try await wire.listen()
        wire.set { $0.isCut = true }
        let start = wire.here.now
        do {
            _ = try await Connection.open(to: endpoint, over: wire.network(of: wire.here), within: .milliseconds(500))
            Issue.record("it connected")
        } catch { #expect(error.cause == .timedOut && error.attempts.count == 1) }
        #expect(wire.here.now - start >= .milliseconds(500))
        await listener.close()
    }

    @Test(arguments: ["239.9.9.9", "ff02::1:99"])
    func groupsReachAcrossTheWire(group: String) async throws {
        let wire = try await Wire()
        let isV6 = group.contains(":")
        let any = SocketAddress(address: isV6 ? .v6(high: 0, low: 0, scope: 0) : .v4(0), port: 0)
        let index = await wire.there.call { if_nametoindex("wire") }
        let member = try await DatagramChannel.bind(at: any, over: wire.network(of: wire.there))
        let port = try #require(await member.localAddress).port
        let sender = try await DatagramChannel.bind(
            at: any,
            over: wire.network(of: wire.here) { $0.multicastInterface = "wire" }
        )
        let address = try #require(IPAddress(group))
        let target = SocketAddress(address: address, port: port)
        try await member.join(address, interface: index)
        try await sender.send([1], to: target)
        #expect(try await member.receive(.seconds(10))?.bytes == [1])
        try await member.leave(address, interface: index)
        try await sender.send([2], to: target)
        await #expect(throws: SocketError.timedOut) { _ = try await member.receive(.milliseconds(100)) }
    }
}
