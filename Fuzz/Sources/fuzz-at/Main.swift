// What a modem may say, and what it may not, to each driver, with sockets of both kinds open, opening and closing. Time is the loop's own, and jumps.
//
// The input's first byte chooses the driver. Each piece of the rest starts with a byte: below 200 how long it is, which is what the modem says; then what modems often say, what
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

private func fuzz(_ data: UnsafePointer<UInt8>?, _ size: Int) -> CInt {
    guard let data, size > 1 else { return 0 }
    let loop = EventLoop.makeVirtual()
    let line = Line()
    var configuration = ModemConfiguration()
    configuration.maximumSockets = 4
    configuration.sendBufferBytes = 64
    configuration.receiveBufferBytes = 64
    configuration.lineBytes = 128
    configuration.apn = Array("internet".utf8)
    let modem = Modem(
        ModemDriver.named[Int(data[0]) % ModemDriver.named.count].driver,
        serial: line,
        loop: loop,
        configuration: configuration
    )
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
            line.say(piece)
        case 200..<220: line.say(Array(sayings[Int(first) - 200].utf8))
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
        default: turn(loop, Int(first & 15) + 2)
        }
        turn(loop, 1)
    }
    modem.close()
    turn(loop, 2)
    clock.stop()
    loop.stop()
    loop.run()
    guard owners.allSatisfy(\.isOver) else { fatalError("a socket has no end") }
    return 0
}
