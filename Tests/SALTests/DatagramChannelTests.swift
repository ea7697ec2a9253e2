import CLinux
import Kernel
import NetworkSimulator
import SAL
import Testing

/// Datagrams for all peers, groups, and the async face, over real sockets.
@Suite(.timeLimit(.minutes(1))) struct DatagramChannelTests {
    let loop = EventLoop.start()

    private func network(_ change: (inout SocketOptions) -> Void = { _ in }) -> LinuxNetwork {
        var options = SocketOptions()
        change(&options)
        return LinuxNetwork(loop: loop, options: options)
    }

    @Test func tellsWhoSentWhatAndAnswersThem() async throws {
        let server = try await DatagramChannel.bind(at: ConnectionTests.loopback, over: network())
        let address = try #require(await server.localAddress)
        var clients: [DatagramChannel] = []
        for number in UInt8(1)...5 {
            let client = try await DatagramChannel.open(
                to: Endpoint(host: "127.0.0.1", port: address.port),
                over: network()
            )
            try await client.send([number])
            clients.append(client)
        }
        for _ in 1...5 {
            let datagram = try #require(try await server.receive(.seconds(10)))
            try await server.send(datagram.bytes + [0], to: datagram.peer)
        }
        for (index, client) in clients.enumerated() {
            let datagram = try #require(try await client.receive(.seconds(10)))
            #expect(datagram.bytes == [UInt8(index + 1), 0] && datagram.peer == address && !datagram.isTruncated)
        }
        // Without a peer there is nobody to send to.
        await #expect(throws: SocketError.unreachable(code: EDESTADDRREQ)) { try await server.send([1]) }
        loop.stop()
    }

    /// Two sockets at one address, of which one hears nothing, are for those who ask for it.
    @Test func aTakenPortIsAnError() async throws {
        let server = try await DatagramChannel.bind(at: ConnectionTests.loopback, over: network())
        let address = try #require(await server.localAddress)
        await #expect(throws: SocketError.addressInUse(code: EADDRINUSE)) {
            try await DatagramChannel.bind(at: address, over: network())
        }
        await server.close()
        let reusing = network { $0.reusesAddress = true }
        let first = try await DatagramChannel.bind(at: address, over: reusing)
        let second = try await DatagramChannel.bind(at: address, over: reusing)
        await first.close()
        await second.close()
        loop.stop()
    }

    @Test func marksWhatWasCut() async throws {
        let server = try await DatagramChannel.bind(
            at: ConnectionTests.loopback,
            over: network { $0.datagramBytes = 10 }
        )
        let address = try #require(await server.localAddress)
        let client = try await DatagramChannel.bind(at: ConnectionTests.loopback, over: network())
        for size in [9, 10, 11, 0] { try await client.send([UInt8](repeating: 4, count: size), to: address) }
        for size in [9, 10, 11, 0] {
            let datagram = try #require(try await server.receive(.seconds(10)))
            #expect(datagram.bytes.count == min(size, 10) && datagram.isTruncated == (size > 10))
        }
        loop.stop()
    }

    @Test func aSocketOfBothFamiliesKnowsIPv4PeersByTheirAddresses() async throws {
        let any = SocketAddress(address: .v6(high: 0, low: 0, scope: 0), port: 0)
        let server = try await DatagramChannel.bind(at: any, over: network())
        let port = try #require(await server.localAddress).port
        for host in ["127.0.0.1", "::1"] {
            let client = try await DatagramChannel.open(to: Endpoint(host: host, port: port), over: network())
            try await client.send([7])
            let datagram = try #require(try await server.receive(.seconds(10)))
            #expect("\(datagram.peer.address)" == host)
            try await server.send([8], to: datagram.peer)
            #expect(try await client.receive(.seconds(10))?.bytes == [8])
        }
        loop.stop()
    }

    @Test func dropsAndCountsWhatNobodyTakes() async throws {
        let server = try await DatagramChannel.bind(
            at: ConnectionTests.loopback,
            over: network { $0.receiveBufferBytes = 4 << 20 }
        )
        let address = try #require(await server.localAddress)
        let client = try await DatagramChannel.bind(at: ConnectionTests.loopback, over: network())
        for number in 0..<3_000 { try await client.send([UInt8(truncatingIfNeeded: number)], to: address) }
        var dropped = 0
        for _ in 0..<1_000 where dropped == 0 {
            try await Task.sleep(for: .milliseconds(5))
            dropped = await server.dropped
        }
        #expect(dropped > 0)
        // What was kept is the oldest, in order.
        for number in 0..<DatagramChannel.waitingDatagrams {
            #expect(try await server.receive(.seconds(10))?.bytes == [UInt8(truncatingIfNeeded: number)])
        }
        loop.stop()
    }

    @Test(arguments: ["239.1.2.3"])
    func membersOfAGroupGetWhatIsSentToIt(group: String) async throws {
        let isV6 = group.contains(":")
        let loopback = if_nametoindex("lo")
        let any = SocketAddress(address: isV6 ? .v6(high: 0, low: 0, scope: 0) : .v4(0), port: 0)
        let sender = try await DatagramChannel.bind(
            at: any,
            over: network {
                $0.multicastInterface = "lo"
                $0.multicastHopLimit = 1
                $0.loopsMulticastBack = true
            }
        )
        let member = try await DatagramChannel.bind(at: any, over: network { $0.sharesPort = true })
        let port = try #require(await member.localAddress).port
        let address = try #require(IPAddress(group))
        let target: IPAddress
        if case .v6(let high, let low, _) = address {
            target = .v6(high: high, low: low, scope: loopback)
        } else {
            target = address
        }
        // Not yet a member.
        try await sender.send([1], to: SocketAddress(address: target, port: port))
        await #expect(throws: SocketError.timedOut) { _ = try await member.receive(.milliseconds(50)) }
        try await member.join(address, interface: loopback)
        try await sender.send([2], to: SocketAddress(address: target, port: port))
        #expect(try await member.receive(.seconds(10))?.bytes == [2])
        try await member.leave(address, interface: loopback)
        try await sender.send([3], to: SocketAddress(address: target, port: port))
        await #expect(throws: SocketError.timedOut) { _ = try await member.receive(.milliseconds(50)) }
        await #expect(throws: SocketError.self) { try await member.join(.v4(0x0102_0304)) }
        loop.stop()
    }

    @Test func broadcastsOnlyIfAllowed() async throws {
        let quiet = try await DatagramChannel.bind(at: ConnectionTests.loopback, over: network())
        let all = SocketAddress(address: .v4(0x7FFF_FFFF), port: 9)
        await #expect(throws: SocketError.denied(code: EACCES)) { try await quiet.send([1], to: all) }
        let any = SocketAddress(address: .v4(0), port: 0)
        let listening = try await DatagramChannel.bind(at: any, over: network { $0.allowsBroadcast = true })
        let loud = try await DatagramChannel.bind(at: any, over: network { $0.allowsBroadcast = true })
        let port = try #require(await listening.localAddress).port
        try await loud.send([5], to: SocketAddress(address: .v4(0x7FFF_FFFF), port: port))
        #expect(try await listening.receive(.seconds(10))?.bytes == [5])
        loop.stop()
    }

    @Test func whatAnEarlierDatagramMetDoesNotEndAnOpenSocket() async throws {
        let channel = try await DatagramChannel.bind(at: ConnectionTests.loopback, over: network())
        let address = try #require(await channel.localAddress)
        let gone = try await DatagramChannel.bind(at: ConnectionTests.loopback, over: network())
        let nobody = try #require(await gone.localAddress)
        await gone.close()
        for _ in 0..<3 { try await channel.send([1], to: nobody) }
        let other = try await DatagramChannel.bind(at: ConnectionTests.loopback, over: network())
        try await other.send([2], to: address)
        #expect(try await channel.receive(.seconds(10))?.bytes == [2])
        // A connected one is told, since its only peer is not there.
        let connected = try await DatagramChannel.open(
            to: Endpoint(host: "127.0.0.1", port: nobody.port),
            over: network()
        )
        try await connected.send([1])
        await #expect(throws: SocketError.refused(code: ECONNREFUSED)) { _ = try await connected.receive(.seconds(10)) }
        loop.stop()
    }
}
