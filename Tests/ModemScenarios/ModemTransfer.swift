internal import ATAdapter
internal import Kernel
public import ModemSimulator
internal import NetworkSimulator
public import SAL

/// A stream of many bytes through a modem whose line has a rate, in virtual time: how fast it goes, and how fast the dialect lets it go.
public final class ModemTransfer: StreamListenerHandler {
    /// Which way the bytes go.
    public enum Direction: CaseIterable, Sendable { case up, down }

    private let dialect: ModemDialect
    private let direction: Direction
    private let baudRate: Int
    private let byteCount = 32_768
    private let loop = EventLoop.makeVirtual()
    private let network: SimulatedNetwork
    private let server: SimulatedHost
    private var begin = Duration.zero
    private var end: Duration?
    private var ends: [TransferEnd] = []
    private var listener: (any StreamListener)?

    /// A transfer that ``bytesPerSecond()`` runs.
    public init(_ dialect: ModemDialect, _ direction: Direction, baudRate: Int) {
        (self.dialect, self.direction, self.baudRate) = (dialect, direction, baudRate)
        network = SimulatedNetwork(loop: loop)
        server = network.addHost("192.0.2.7")
    }

    /// How many bytes of payload go through in a second; `nil` if they do not all arrive.
    public func bytesPerSecond() -> Double? {
        var settings = ModemSimulatorConfiguration()
        (settings.dialect, settings.baudRate) = (dialect, baudRate)
        guard let driver = ModemDriver(named: dialect.rawValue),
            let simulated = try? SimulatedModem(settings, over: network.addHost("10.0.0.1"))
        else { return nil }
        var configuration = ModemConfiguration()
        configuration.sendBufferBytes = byteCount
        let modem = Modem(driver, serial: simulated, loop: loop, configuration: configuration)
        let patience = loop.now + .seconds(600)
        loop.run(
            after: {
                listener = try? server.listen(at: SocketAddress(address: .anyIPv4, port: 7_000), handler: self)
                let client = TransferEnd(sends: direction == .up ? byteCount : 0) { [self] in took($0) }
                ends.append(client)
                client.stream = modem.connect(
                    to: Endpoint(host: "192.0.2.7", port: 7_000),
                    deadline: patience,
                    handler: client
                )
                client.began = { [self] in begin = loop.now }
            },
            while: { end == nil && loop.now < patience }
        )
        let time = end.map { $0 - begin }
        loop.run(
            after: {
                modem.close()
                simulated.close()
            },
            while: { false }
        )
        loop.stop()
        loop.run()
        (ends, listener) = ([], nil)
        return time.map { Double(byteCount) / ($0 / .seconds(1)) }
    }

    private func took(_ count: Int) { if count == byteCount { end = loop.now } }

    /// Called by the server's listener.
    public func accepted(_ stream: any ByteStream, from peer: SocketAddress?) {
        let end = TransferEnd(sends: direction == .down ? byteCount : 0) { [self] in took($0) }
        ends.append(end)
        stream.handler = end
        end.stream = stream
        end.opened()
    }

    // MARK: What is possible

    /// How many bytes of payload could go through in a second, if nothing but the dialect's own commands, answers and pauses were in between: one exchange
    /// after another, with the largest pieces that the manual allows, and ten bits to a byte.
    public func possibleBytesPerSecond() -> Double {
        let exchange = direction == .up ? Self.sending(dialect) : Self.receiving(dialect)
        let byteTime = 10 / Double(baudRate)
        let time = Double(exchange.lineBytes) * byteTime + Double(exchange.pauses) / 1_000
        return Double(exchange.payload) / time
    }

    /// An exchange: how many bytes it carries, all bytes that go over the line one after another for that, and the pauses in it in milliseconds.
    private struct Exchange {
        var payload: Int
        var lineBytes: Int
        var pauses = 0

        /// `texts` are all but the payload, which has `digits` characters a byte.
        init(_ payload: Int, _ texts: String..., digits: Int = 1, pauses: Int = 0) {
            self.payload = payload
            lineBytes = payload * digits + texts.reduce(0) { $0 + $1.utf8.count }
            self.pauses = pauses
        }
    }

    private static func sending(_ dialect: ModemDialect) -> Exchange {
        switch dialect {
        case .espat:
            Exchange(8_192, "AT+CIPSEND=0,8192\r\n", "\r\nOK\r\n\r\n>", "\r\nRecv 8192 bytes\r\n\r\nSEND OK\r\n")
        case .sim800: Exchange(1_460, "AT+CIPSEND=0,1460\r", "\r\n> ", "\r\nDATA ACCEPT:0,1460\r\n")
        case .air724: Exchange(1_000, "AT+CIPSEND=0,1000\r", "\r\n> ", "\r\nDATA ACCEPT:0,1000\r\n")
        case .sim7600: Exchange(1_500, "AT+CIPSEND=0,1500\r", "\r\n>", "\r\nOK\r\n\r\n+CIPSEND: 0,1500,1500\r\n")
        case .quectel: Exchange(1_460, "AT+QISEND=0,1460\r", "\r\n> ", "\r\nSEND OK\r\n")
        case .bc26: Exchange(1_024, "AT+QISEND=0,1024\r", "\r\n>", "\r\nOK\r\n\r\nSEND OK\r\n", pauses: 4)
        case .ublox: Exchange(1_024, "AT+USOWR=0,1024\r", "\r\n@", "\r\n+USOWR: 0,1024\r\n\r\nOK\r\n", pauses: 70)
        case .bc28: Exchange(1_358, "AT+NSOSD=0,1358,\r", "\r\n0,1358\r\n\r\nOK\r\n", digits: 2)
        case .m5310a: Exchange(200, "AT+NSOSD=0,200,\r", "\r\n+NSOSD:0,200\r\n\r\nOK\r\n", digits: 2)
        case .l610: Exchange(1_024, "AT+MIPSEND=1,1024\r", "\r\n>", "\r\nOK\r\n\r\n+MIPSEND: 1,0,16384\r\n")
        }
    }

    private static func receiving(_ dialect: ModemDialect) -> Exchange {
        let ok = "\r\nOK\r\n"
        return switch dialect {
        case .espat: Exchange(2_048, "AT+CIPRECVDATA=0,2048\r\n", "+CIPRECVDATA:2048,", ok)
        case .sim800, .air724: Exchange(1_460, "AT+CIPRXGET=2,0,1460\r", "\r\n+CIPRXGET: 2,0,1460,4300\r\n", ok)
        case .sim7600: Exchange(1_500, "AT+CIPRXGET=2,0,1500\r", "\r\n+CIPRXGET: 2,0,1500,4260\r\n\r\n", ok)
        case .quectel: Exchange(1_500, "AT+QIRD=0,1500\r", "\r\n+QIRD: 1500\r\n\r\n", ok)
        case .bc26: Exchange(1_500, "\r\n+QIURC: \"recv\",0,1500\r\n\r\n")
        case .ublox: Exchange(1_024, "AT+USORD=0,1024\r", "\r\n+USORD: 0,1024,\"\"\r\n", ok, pauses: 20)
        case .bc28: Exchange(1_358, "AT+NSORF=0,1358\r", "\r\n0,192.0.2.7,7000,1358,,4402\r\n", ok, digits: 2)
        case .m5310a: Exchange(1_358, "AT+NSORF=0,1358\r", "\r\n+NSORF:0,192.0.2.7,7000,1358,,4402\r\n", ok, digits: 2)
        case .l610: Exchange(1_024, "\r\n+MIPRTCP: 1,4096,\r\n", digits: 2)
        }
    }
}

/// One end of a transfer.
private final class TransferEnd: ByteStreamHandler {
    var stream: (any ByteStream)?
    var began: () -> Void = {}
    private var left: Int
    private var received = 0
    private let took: (Int) -> Void

    init(sends count: Int, took: @escaping (Int) -> Void) {
        left = count
        self.took = took
    }

    func opened() {
        began()
        writable()
    }

    func writable() {
        guard left > 0, let stream else { return }
        left -= stream.send([UInt8](repeating: 0x55, count: left).span)
    }

    func received(_ bytes: Span<UInt8>) -> Int {
        received += bytes.count
        took(received)
        return bytes.count
    }

    func closed(_ error: SocketError?) {}
}
