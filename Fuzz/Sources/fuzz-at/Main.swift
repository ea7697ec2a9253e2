// What a modem may say, and what it may not, to each driver, with sockets of both kinds open, opening and closing. Time is the loop's own, and jumps.
//
// The input's first byte chooses the driver, by its highest bit whether the modem is behind a multiplexer, and by the next one in which of its options; what the modem says, and modems
// often say, is then in frames for the channel of the modem, if its length is odd, and else as it is. MQTT of the modem's own is connected where the driver has it. Each piece of the rest starts with a byte: below 200 how long it is, which is what the modem says; then what modems often say, what
// the user does, and time that passes. However it goes, each socket is closed once, and no more is kept than the configuration allows.
import FuzzDriver
import SAL

@testable import ATAdapter
@testable import Kernel

@main enum Main { static func main() { runFuzzer { fuzz($0, $1) } } }

/// The serial line: all that is sent is taken.
private final class Line: ByteStream {
    var handler: (any ByteStreamHandler)?
    func send(_ bytes: Span<UInt8>) -> Int { bytes.count }
    func resumeReceiving() {}
    func close() { handler = nil }
    func abort() { handler = nil }

    func say(_ bytes: [UInt8]) {
        guard let handler, handler.received(bytes.span) == bytes.count else { return }
    }
}

/// The owner of a socket.
private final class Owner: ByteStreamHandler, DatagramHandler {
    var stream: (any ByteStream)?
    var socket: (any DatagramSocket)?
    var isOpen = false
    var isOver = false
    /// How much is taken of what arrives.
    var appetite = Int.max

    func opened() {
        guard !isOpen, !isOver else { fatalError("opened twice, or after its end") }
        isOpen = true
    }
    func received(_ bytes: Span<UInt8>) -> Int {
        guard isOpen, !isOver, bytes.count > 0 else { fatalError("bytes for a socket that is not open") }
        return min(bytes.count, appetite)
    }
    func received(_ datagram: Span<UInt8>, from peer: SocketAddress, truncated: Bool) {
        guard isOpen, !isOver else { fatalError("a datagram for a socket that is not open") }
    }
    func writable() {}
    func closed(_ error: SocketError?) {
        guard !isOver else { fatalError("closed twice") }
        isOver = true
    }
}

/// Keeps time going.
private final class Clock: TimerHandler {
    func timerFired(_ timer: Timer) {}
}

/// Some turns of the loop, which may be as many jumps of its time.
private func turn(_ loop: EventLoop, _ count: Int) {
    var left = count
    loop.run(
        after: {},
        while: {
            left -= 1
            return left > 0
        }
    )
}

private let sayings: [String] = [
    "\r\nOK\r\n", "\r\nERROR\r\n", "\r\n> ", "\r\n@", "\r\nSEND OK\r\n", "\r\nSEND FAIL\r\n", "\r\n+CME ERROR: 14\r\n",
    "\r\n+CPIN: READY\r\n\r\nOK\r\n",
    "\r\n+CEREG: 0,1\r\n\r\nOK\r\n", "\r\n+QIOPEN: 0,0\r\n", "\r\n0, CONNECT OK\r\n", "\r\n+CIPOPEN: 0,0\r\n",
    "\r\n+USOCR: 0\r\n\r\nOK\r\n", "\r\n+QIACT: 1,1,1,\"10.0.0.1\"\r\n\r\nOK\r\n",
    "\r\n+QIURC: \"recv\",0\r\n", "\r\n+QIRD: 3\r\nabc\r\n\r\nOK\r\n", "\r\n+IPD,0,3:abc", "\r\nready\r\n",
    "busy p...\r\n", "\r\n+NETOPEN: 0\r\n",
]

/// What the modem says in a frame.
private func framed(_ control: CMUXControl, _ channel: Int, _ bytes: [UInt8], _ option: MultiplexerOption) -> [UInt8] {
    var queue = ByteQueue(keeping: 256)
    queue.append(CMUXFrame(control, channel: channel, isCommand: false), bytes.span, option)
    return queue.withSpan { [UInt8](copying: $0) }
}

/// The owner of the modem's own MQTT.
private final class Hub: ModemMQTTHandler {
    private var requests: Set<ModemMQTTRequestID> = []
    func begun(_ request: ModemMQTTRequestID) { requests.insert(request) }
    private func over(_ request: ModemMQTTRequestID) {
        guard requests.remove(request) != nil else { fatalError("a request that is over, or never was, is over") }
    }
    func published(_ request: ModemMQTTRequestID) { over(request) }
    func subscribed(_ request: ModemMQTTRequestID) { over(request) }
    func failed(_ request: ModemMQTTRequestID, _ error: ModemMQTTError) { over(request) }
    var isIdle: Bool { requests.isEmpty }
}

private func hub(on modem: Modem) -> (mqtt: ModemMQTT, handler: Hub)? {
    let texts = ["Q7K2M9X4ZP", "pump-01", "AAECAwQFBgcICQoLDA0ODw=="].map { Array($0.utf8) }
    guard let identity = try? ModemMQTTIdentity(productID: texts[0], deviceName: texts[1], secret: texts[2]),
        let mqtt = try? ModemMQTT(on: modem, identity: identity)
    else { return nil }
    let handler = Hub()
    mqtt.connect(handler: handler)
    if let id = try? mqtt.subscribe(to: "a/b".utf8.span) { handler.begun(id) }
    return (mqtt, handler)
}

private func fuzz(_ data: UnsafePointer<UInt8>?, _ size: Int) -> CInt {
    guard let data, size > 1 else { return 0 }
    let loop = EventLoop.makeVirtual()
    let line = Line()
    var configuration = ModemConfiguration()
    configuration.maximumSockets = 4
    configuration.sendBufferBytes = 64
    configuration.receiveBufferBytes = 64
    configuration.lineBytes = 192
    configuration.apn = Array("internet".utf8)
    let driver = ModemDriver.named[Int(data[0] & 0x3F) % ModemDriver.named.count].driver
    var multiplexing = MultiplexerConfiguration()
    multiplexing.option = data[0] & 0x40 == 0 ? .basic : .advanced
    let multiplexer =
        data[0] & 0x80 == 0
        ? nil : try? Multiplexer(driver, serial: line, loop: loop, configuration: multiplexing)
    let modem =
        multiplexer.map { Modem(over: $0, configuration: configuration) }
        ?? Modem(driver, serial: line, loop: loop, configuration: configuration)
    func say(_ bytes: [UInt8]) {
        let isFramed = multiplexer != nil && bytes.count & 1 == 1
        line.say(isFramed ? framed(.uih, 1, bytes, multiplexing.option) : bytes)
    }
    let hub = hub(on: modem)
    var owners: [Owner] = []
    var left = UnsafeBufferPointer(start: data + 1, count: size - 1)[...]
    let clock = Timer(on: loop)
    clock.start(after: .seconds(10), every: .seconds(10), handler: Clock())
    turn(loop, 2)
    while let first = left.popFirst() {
        switch first {
        case ..<200:
            let piece = Array(left.prefix(Int(first)))
            left = left.dropFirst(piece.count)
            say(piece)
        case 200..<220: say(Array(sayings[Int(first) - 200].utf8))
        case 220..<224 where owners.count < 16:
            let owner = Owner()
            owners.append(owner)
            let endpoint = Endpoint(host: first & 1 == 0 ? "192.0.2.7" : "peer.example", port: 7)
            let deadline = loop.now + .seconds(Int(first) * 2)
            if first & 2 == 0 {
                owner.stream = modem.connect(to: endpoint, deadline: deadline, handler: owner)
            } else {
                owner.socket = modem.openDatagrams(to: endpoint, deadline: deadline, handler: owner)
            }
        case 224..<228:
            guard let owner = owners.last else { break }
            let bytes: [UInt8] = Array(repeating: first, count: 40)
            _ = owner.stream?.send(bytes.span)
            try? owner.socket?.send(bytes.span, to: nil)
        case 228: owners.last?.stream?.close()
        case 229: owners.last?.socket?.close()
        case 230: owners.last?.stream?.abort()
        case 231: owners.last?.appetite = 0
        case 232:
            owners.last?.appetite = .max
            owners.last?.stream?.resumeReceiving()
        case 233: modem.resolve(Array("a.example".utf8), deadline: loop.now + .seconds(60)) { _ in }
        case 234: modem.querySignal()
        case 235: try? modem.execute(Array("AT+X".utf8)) { _ in }
        // The modem opens channels, and closes them.
        case 236, 237: line.say(framed(.ua, Int(first & 1), [], multiplexing.option))
        case 238, 239: line.say(framed(.dm, Int(first & 1), [], multiplexing.option))
        case 240:
            if let id = try? hub?.mqtt.publish(topic: "a/b".utf8.span, payload: [UInt8](repeating: 0, count: 90).span) {
                hub?.handler.begun(id)
            }
        case 241: say(Array("\r\n+TCMQTTRCVPUB:\"a/b\",3,\"abc\"\r\n".utf8))
        case 242: say(Array("\r\n+TCMQTTCONN:OK\r\n".utf8))
        default: turn(loop, Int(first & 15) + 2)
        }
        turn(loop, 1)
    }
    hub?.mqtt.disconnect()
    turn(loop, 2)
    modem.close()
    multiplexer?.close()
    turn(loop, 2)
    clock.stop()
    loop.stop()
    loop.run()
    guard owners.allSatisfy(\.isOver) else { fatalError("a socket has no end") }
    guard hub?.handler.isIdle ?? true else { fatalError("a request has no end") }
    return 0
}
