import Kernel
import ModemSimulator
import NetworkSimulator
import SAL
import Testing

@testable import ATAdapter

/// A modem in virtual time, and a server that accepts.
final class VirtualBench: StreamListenerHandler {
    final class End: ByteStreamHandler, DatagramHandler {
        var stream: (any ByteStream)?
        var datagrams: (any DatagramSocket)?
        private(set) var isOpen = false
        private(set) var isClosed = false
        private(set) var error: SocketError?

        func opened() { isOpen = true }
        func received(_ bytes: Span<UInt8>) -> Int { bytes.count }
        func received(_ datagram: Span<UInt8>, from peer: SocketAddress, truncated: Bool) {}
        func writable() {}
        func closed(_ error: SocketError?) { (isClosed, self.error) = (true, error) }
    }

    final class Call: TimerHandler {
        let timer: Timer
        let body: () -> Void
        init(_ loop: EventLoop, _ body: @escaping () -> Void) {
            timer = Timer(on: loop)
            self.body = body
        }
        func timerFired(_ timer: Timer) { body() }
    }

    let loop = EventLoop.makeVirtual()
    let simulated: SimulatedModem
    let modem: Modem
    private let server: SimulatedHost
    private var listener: (any StreamListener)?
    private(set) var accepted: (any ByteStream)?
    private var isOver = false

    init(
        _ dialect: ModemDialect,
        configuration own: ModemConfiguration = ModemConfiguration(),
        change: (inout ModemSimulatorConfiguration) -> Void = { _ in }
    ) throws {
        let network = SimulatedNetwork(loop: loop)
        server = network.addHost("192.0.2.7")
        var configuration = ModemSimulatorConfiguration()
        configuration.dialect = dialect
        change(&configuration)
        simulated = try SimulatedModem(configuration, over: network.addHost("10.0.0.1"))
        let driver = try #require(ModemDriver(named: dialect.rawValue))
        modem = Modem(driver, serial: simulated, loop: loop, configuration: own)
    }

    func run(_ body: () -> Void) {
        loop.run(
            after: {
                listener = try? server.listen(at: SocketAddress(address: .anyIPv4, port: 7_000), handler: self)
                body()
            },
            while: { !isOver }
        )
        loop.stop()
        loop.run()
    }

    func finish() {
        isOver = true
        modem.close()
        simulated.close()
    }

    func after(_ time: Duration, _ body: @escaping () -> Void) {
        let call = Call(loop, body)
        call.timer.start(after: time, handler: call)
    }

    func connect() -> End {
        let end = End()
        end.stream = modem.connect(
            to: Endpoint(host: "192.0.2.7", port: 7_000),
            deadline: loop.now + .seconds(60),
            handler: end
        )
        return end
    }

    func openDatagrams() -> End {
        let end = End()
        end.datagrams = modem.openDatagrams(
            to: Endpoint(host: "192.0.2.7", port: 7_000),
            deadline: loop.now + .seconds(60),
            handler: end
        )
        return end
    }

    func accepted(_ stream: any ByteStream, from peer: SocketAddress?) {
        stream.handler = End()
        accepted = stream
    }
}
