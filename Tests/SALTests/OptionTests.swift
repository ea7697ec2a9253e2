import CLinux
import Kernel
import Testing

@testable import SAL

/// What is set is what the system then has.
@Suite(.timeLimit(.minutes(1))) struct OptionTests {
    private func value(_ descriptor: Int32, _ level: Int32, _ name: Int32) -> Int32 {
        var value: Int32 = -1
        var size = socklen_t(MemoryLayout<Int32>.size)
        getsockopt(descriptor, level, name, &value, &size)
        return value
    }

    @Test func streamsGetWhatWasAskedFor() {
        var options = SocketOptions()
        options.keepAlive = .init(idleSeconds: 11, intervalSeconds: 3, count: 2)
        options.acknowledgementTimeoutMilliseconds = 9_000
        options.sendBufferBytes = 20_000
        options.receiveBufferBytes = 30_000
        options.hopLimit = 17
        options.trafficClass = 46
        options.interface = "lo"
        let tcp = Int32(IPPROTO_TCP)
        for family in [AF_INET, AF_INET6] {
            let descriptor = socket(family, clinux_stream_type(), 0)
            defer { close(descriptor) }
            #expect(options.apply(to: descriptor, family: family, isStream: true) == nil)
            #expect(value(descriptor, tcp, TCP_NODELAY) == 1)
            #expect(value(descriptor, SOL_SOCKET, SO_KEEPALIVE) == 1)
            #expect(value(descriptor, tcp, TCP_KEEPIDLE) == 11)
            #expect(value(descriptor, tcp, TCP_KEEPINTVL) == 3)
            #expect(value(descriptor, tcp, TCP_KEEPCNT) == 2)
            #expect(value(descriptor, tcp, TCP_USER_TIMEOUT) == 9_000)
            #expect(value(descriptor, SOL_SOCKET, SO_SNDBUF) == 40_000)
            #expect(value(descriptor, SOL_SOCKET, SO_RCVBUF) == 60_000)
            if family == AF_INET {
                #expect(value(descriptor, Int32(IPPROTO_IP), Int32(IP_TTL)) == 17)
                #expect(value(descriptor, Int32(IPPROTO_IP), Int32(IP_TOS)) == 46 << 2)
            } else {
                #expect(value(descriptor, Int32(IPPROTO_IPV6), Int32(IPV6_UNICAST_HOPS)) == 17)
                #expect(value(descriptor, Int32(IPPROTO_IPV6), Int32(IPV6_TCLASS)) == 46 << 2)
            }
        }
    }

    @Test func whatTheSystemRefusesIsAnError() async {
        var options = SocketOptions()
        options.interface = "no-such-if"
        let loop = EventLoop.start()
        let failing = LinuxNetwork(loop: loop, options: options)
        let error = await #expect(throws: ConnectError.self) {
            _ = try await Connection.open(to: Endpoint(host: "127.0.0.1", port: 9), over: failing)
        }
        #expect(error?.cause == .other(code: ENODEV))
        await #expect(throws: SocketError.other(code: ENODEV)) {
            _ = try await Listener.open(at: ConnectionTests.loopback, over: failing)
        }
        await #expect(throws: SocketError.other(code: ENODEV)) {
            _ = try await DatagramChannel.bind(at: ConnectionTests.loopback, over: failing)
        }
        loop.stop()
    }

    @Test func connectsFromTheAddressThatItWasGiven() async throws {
        let loop = EventLoop.start()
        let listener = try await Listener.open(at: ConnectionTests.loopback, over: LinuxNetwork(loop: loop))
        let port = try #require(listener.localAddress?.port)
        var options = SocketOptions()
        options.localAddress = SocketAddress(address: .v4(0x7F00_0009), port: 0)
        let client = try await Connection.open(
            to: Endpoint(host: "127.0.0.1", port: port),
            over: LinuxNetwork(loop: loop, options: options)
        )
        let server = try #require(try await listener.accept(.seconds(10)))
        #expect(await server.peerAddress?.address == .v4(0x7F00_0009))
        await client.close()
        loop.stop()
    }
}

/// Addresses that are raced, and names that are remembered.
@Suite(.timeLimit(.minutes(1))) struct RaceTests {
    let loop = EventLoop.start()

    @Test func theFamiliesHaveTurns() {
        func address(_ text: String) -> SystemAddress {
            SystemAddress(SocketAddress(address: IPAddress(text) ?? .v4(0), port: 1))
        }
        func order(_ texts: String...) -> [String] {
            Connector.inTurn(texts.map(address)).map { "\($0.address?.address ?? .v4(0))" }
        }
        #expect(order("2001:db8::1", "2001:db8::2", "192.0.2.1") == ["2001:db8::1", "192.0.2.1", "2001:db8::2"])
        #expect(
            order("192.0.2.1", "192.0.2.2", "192.0.2.3", "2001:db8::1")
                == ["192.0.2.1", "2001:db8::1", "192.0.2.2", "192.0.2.3"]
        )
        #expect(order() == [] && order("192.0.2.1") == ["192.0.2.1"])
    }

    @Test func aSilentAddressDoesNotHoldUpTheNext() async throws {
        // Of the first two, one is silent since its line is full, and one refuses.
        let silent = Peer(backlog: 0)
        var waiting: [Int32] = []
        defer { for descriptor in waiting { close(descriptor) } }
        let full = SystemAddress(SocketAddress(address: .v4(0x7F00_0001), port: silent.port))
        for _ in 0..<4 {
            let descriptor = socket(AF_INET, clinux_stream_type(), 0)
            _ = full.withPointer { CLinux.connect(descriptor, $0, $1) }
            waiting.append(descriptor)
        }
        // The same port on another address of loopback.
        let listener = try await Listener.open(
            at: SocketAddress(address: .v4(0x7F00_0005), port: silent.port),
            over: LinuxNetwork(loop: loop)
        )
        let resolver = Resolver { _ in [.v4(0x7F00_0001), .v4(0x7F00_0006), .v4(0x7F00_0005)] }
        let start = loop.now
        let client = try await Connection.open(
            to: Endpoint(host: "hub.example", port: silent.port),
            over: LinuxNetwork(loop: loop, resolver: resolver)
        )
        let took = loop.now - start
        #expect(took >= Connector.attemptDelay && took < .seconds(5), "\(took)")
        #expect(await client.peerAddress?.address == .v4(0x7F00_0005))
        await client.close()
        await listener.close()
        loop.stop()
    }

    private func resolve(_ resolver: Resolver, _ name: String) async -> [IPAddress] {
        await withCheckedContinuation { continuation in
            resolver.resolve(Array(name.utf8), deadline: loop.now + .seconds(10), on: loop) {
                continuation.resume(returning: $0)
            }
        }
    }

    @Test func namesAreRememberedForATime() async {
        let asked = Guarded(0)
        let resolver = Resolver(rememberingFor: .seconds(2), rememberingFailuresFor: .zero) { host in
            asked.withLock { $0 += 1 }
            return host.first == UInt8(ascii: "x") ? [] : [.v4(UInt32(host.count))]
        }
        for _ in 0..<5 { #expect(await resolve(resolver, "four") == [.v4(4)]) }
        #expect(asked.withLock { $0 } == 1)
        // Failures are not, here.
        for _ in 0..<3 { #expect(await resolve(resolver, "x") == []) }
        #expect(asked.withLock { $0 } == 4)
        resolver.forget()
        #expect(await resolve(resolver, "four") == [.v4(4)])
        #expect(asked.withLock { $0 } == 5)
        try? await Task.sleep(for: .milliseconds(2_100))
        #expect(await resolve(resolver, "four") == [.v4(4)])
        #expect(asked.withLock { $0 } == 6)
        loop.stop()
    }

    @Test func manyWhoAskForOneNameAreOneLookUp() async {
        let gate = Gate()
        let asked = Guarded(0)
        let resolver = Resolver { _ in
            asked.withLock { $0 += 1 }
            gate.wait()
            return [.v4(1)]
        }
        await withTaskGroup(of: [IPAddress].self) { group in
            for _ in 0..<50 { group.addTask { await resolve(resolver, "name") } }
            try? await Task.sleep(for: .milliseconds(50))
            gate.open()
            for await addresses in group { #expect(addresses == [.v4(1)]) }
        }
        #expect(asked.withLock { $0 } == 1)
        loop.stop()
    }

    @Test func remembersNoMoreNamesThanItsLimit() async {
        let resolver = Resolver { host in [.v4(UInt32(host.count))] }
        for number in 0..<1_000 { _ = await resolve(resolver, "name-\(number).example") }
        #expect(resolver.rememberedNames == Resolver.maximumNames)
        loop.stop()
    }
}
