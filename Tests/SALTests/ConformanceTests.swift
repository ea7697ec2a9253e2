import Kernel
import NetworkSimulator
import SAL
import Testing

/// The conformance suite over Linux sockets, and over simulated hosts in virtual time.
@Suite(.timeLimit(.minutes(2))) struct ConformanceTests {
    @Test(arguments: ConformanceCheck.all)
    func linuxSocketsConform(_ check: ConformanceCheck) async throws {
        let (loop, otherLoop, serverLoop) = (EventLoop.start(), EventLoop.start(), EventLoop.start())
        defer { for loop in [loop, otherLoop, serverLoop] { loop.shutDown(within: .seconds(1)) } }
        var setup = ConformanceCheck.Setup(
            subject: LinuxNetwork(loop: loop),
            server: LinuxNetwork(loop: serverLoop),
            serverAddress: .v4(0x7F00_0001),
            serverHost: "127.0.0.1"
        )
        setup.other = LinuxNetwork(loop: otherLoop)
        setup.serverName = "localhost"
        setup.unreachable = Endpoint(host: "255.255.255.255", port: 9)
        try await check.run(setup)
    }

    @Test(arguments: ConformanceCheck.all)
    func linuxSocketsConformOverIPv6(_ check: ConformanceCheck) async throws {
        let loop = EventLoop.start()
        defer { loop.shutDown(within: .seconds(1)) }
        // Both ends on one loop.
        let network = LinuxNetwork(loop: loop)
        try await check.run(
            ConformanceCheck.Setup(
                subject: network,
                server: network,
                serverAddress: .v6(high: 0, low: 1, scope: 0),
                serverHost: "::1"
            )
        )
    }

    /// A way, and what it does.
    static let ways: [(name: String, conditions: Conditions)] = {
        var (bytes, lossy) = (Conditions(), Conditions(latency: .milliseconds(40), loss: 0.05))
        bytes.pieces = .random
        bytes.jitter = .milliseconds(3)
        lossy.jitter = .milliseconds(20)
        lossy.pieces = .random
        return [("good", Conditions()), ("cut into pieces", bytes), ("lossy", lossy)]
    }()

    @Test(arguments: ConformanceCheck.all, ways.indices)
    func simulatedHostsConform(_ check: ConformanceCheck, _ way: Int) async throws {
        let conditions = Self.ways[way].conditions
        if check.name.contains("datagram"), conditions.loss > 0 { return }
        try await EventLoop.inVirtualTime { loop in
            let network = SimulatedNetwork(loop: loop, seed: 7, conditions: conditions)
            let (device, other) = (network.addHost("10.0.0.1"), network.addHost("10.0.0.2"))
            let server = network.addHost("10.0.0.9", names: ["server.example"])
            device.maximumSockets = 6
            var setup = ConformanceCheck.Setup(
                subject: device,
                server: server,
                serverAddress: server.address,
                serverHost: "10.0.0.9"
            )
            setup.other = other
            setup.serverName = "server.example"
            setup.unreachable = Endpoint(host: "10.9.9.9", port: 9)
            let silent = network.addHost("10.0.0.66")
            var cut = conditions
            cut.isCut = true
            network.setConditions(cut, from: device, to: silent)
            setup.silent = Endpoint(host: "10.0.0.66", port: 9)
            setup.restartDevice = { device.restart() }
            setup.bulkBytes = 100_000
            setup.patience = .seconds(600)
            try await check.run(setup)
        }
    }
}
