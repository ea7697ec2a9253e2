import CLinux
import CNamespaces
import Kernel
import NetworkSimulator
import SAL

/// Two hosts in network namespaces of their own, each the thread of a loop, and the wire between their TUN devices, which loses, delays and stops
/// packets as it is told.
final class Wire: Sendable {
    struct Fault: Error { let text: String }

    /// What happens to each packet.
    struct Quality: Sendable {
        var loss = 0.0
        var delay = Duration.zero
        var isCut = false
    }

    let here: EventLoop
    let there: EventLoop
    private let ends: [End]
    private let loop = EventLoop.start()
    private let quality = Guarded(Quality())

    /// Whether this machine lets the tests make such hosts: that takes the rights of root.
    static let isPossible: Bool = geteuid() == 0 && access("/dev/net/tun", R_OK | W_OK) == 0

    init() async throws {
        var ends: [End] = []
        var loops: [EventLoop] = []
        for number in 1...2 {
            let host = EventLoop.start()
            loops.append(host)
            let descriptor: Int32 = await host.call {
                let code = namespaces_enter_new()
                guard code == 0 else { return -code }
                return namespaces_open_tun("wire")
            }
            guard descriptor >= 0 else { throw Fault(text: "no namespace or TUN device: errno \(-descriptor)") }
            try await Self.run(
                """
                ip link set lo up && ip addr add 10.77.0.\(number)/24 dev wire && \
                ip -6 addr add fd77::\(number)/64 dev wire nodad && ip link set wire up multicast on
                """,
                on: host
            )
            ends.append(End(descriptor))
        }
        (here, there) = (loops[0], loops[1])
        self.ends = ends
        let (loop, quality, first, second) = (loop, quality, ends[0], ends[1])
        try await loop.call {
            Result { () throws(SystemError) in
                for (end, other) in [(first, second), (second, first)] { try end.start(loop, to: other, quality) }
            }
        }
        .get()
    }

    deinit {
        for loop in [here, there, loop] { loop.stop() }
        for end in ends { close(end.descriptor) }
    }

    /// Changes what happens to packets from now on.
    func set(_ change: (inout Quality) -> Void) { quality.withLock { change(&$0) } }

    /// Runs a command on a host.
    static func run(_ command: String, on host: EventLoop) async throws {
        let status = await host.call { namespaces_run(command) }
        if status != 0 { throw Fault(text: "'\(command)' failed with \(status)") }
    }

    func network(of host: EventLoop, _ change: (inout SocketOptions) -> Void = { _ in }) -> LinuxNetwork {
        var options = SocketOptions()
        change(&options)
        return LinuxNetwork(loop: host, options: options)
    }

    /// A listener on the second host.
    func listen(_ change: (inout SocketOptions) -> Void = { _ in }) async throws -> (Listener, Endpoint) {
        let address = SocketAddress(address: .v4(0x0A4D_0002), port: 0)
        let listener = try await Listener.open(at: address, over: network(of: there, change))
        return (listener, Endpoint(host: "10.77.0.2", port: listener.localAddress?.port ?? 0))
    }

    /// A stream from the first host to the second.
    func connect(
        _ change: (inout SocketOptions) -> Void = { _ in }
    ) async throws -> (client: Connection, server: Connection) {
        let (listener, endpoint) = try await listen(change)
        let client = try await Connection.open(to: endpoint, over: network(of: here, change))
        guard let server = try await listener.accept(.seconds(20)) else { throw Fault(text: "the listener closed") }
        await listener.close()
        return (client, server)
    }

    /// One host's TUN device; used on the wire's loop.
    private final class End: ReadinessHandler, @unchecked Sendable {
        let descriptor: Int32
        private var loop: EventLoop?
        private weak var other: End?
        private var quality: Guarded<Quality>?
        private var seed: UInt64 = 42
        private var underWay: [Packet] = []

        init(_ descriptor: Int32) { self.descriptor = descriptor }

        func start(_ loop: EventLoop, to other: End, _ quality: Guarded<Quality>) throws(SystemError) {
            self.loop = loop
            self.other = other
            self.quality = quality
            _ = try loop.register(descriptor, for: .readable, handler: self)
        }

        func ready(_ events: EventLoop.Readiness) {
            guard let loop, let other, let quality = quality?.withLock({ $0 }) else { return }
            var buffer = [UInt8](repeating: 0, count: 65_536)
            while true {
                let count = buffer.withUnsafeMutableBytes { read(descriptor, $0.baseAddress, $0.count) }
                guard count > 0 else { return }
                seed = seed &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
                if quality.isCut || Double(seed >> 11) / Double(1 << 53) < quality.loss { continue }
                let packet = Packet(Array(buffer[..<count]), to: other.descriptor)
                if quality.delay == .zero { packet.deliver() } else { packet.deliver(after: quality.delay, on: loop) }
            }
        }
    }

    private final class Packet: TimerHandler {
        private let bytes: [UInt8]
        private let descriptor: Int32
        private var timer: Timer?

        init(_ bytes: [UInt8], to descriptor: Int32) {
            self.bytes = bytes
            self.descriptor = descriptor
        }

        func deliver() { _ = bytes.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) } }

        func deliver(after delay: Duration, on loop: EventLoop) {
            let timer = Timer(on: loop)
            self.timer = timer
            timer.start(after: delay, handler: self)
        }

        func timerFired(_ timer: Timer) {
            deliver()
            self.timer = nil
        }
    }
}
