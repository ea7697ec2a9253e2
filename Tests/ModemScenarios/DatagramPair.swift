internal import ATAdapter
internal import Kernel
internal import NetworkSimulator
internal import SAL

/// A datagram socket of the modem, and a server that sends back what it gets. One datagram is under way at a time.
final class DatagramPair: DatagramHandler {
    private static let port: UInt16 = 7_100

    private unowned let run: ModemRun
    private let count: Int
    private var socket: (any DatagramSocket)?
    private var server: (any DatagramSocket)?
    private var waiting: [[UInt8]] = []
    /// Sent, and not arrived at the server, or not come back.
    private var onTheirWay: [[UInt8]] = []
    private var onTheirWayBack: [[UInt8]] = []
    private var sent = 0
    private var returned = 0
    private var isOpen = false
    private(set) var isOver = false
    private var error: SocketError?

    init(_ run: ModemRun) {
        self.run = run
        count = run.random.number(1...8)
    }

    func open() {
        guard let modem = run.modem else { return }
        let address = SocketAddress(address: .anyIPv4, port: Self.port)
        server = try? run.serverHost.bindDatagrams(at: address, handler: Echo(self))
        let patience = run.plan.isHarmless ? 3_600 : run.random.number(20...300)
        run.note("datagrams: \(count)")
        socket = modem.openDatagrams(
            to: Endpoint(host: run.random.pick(["192.0.2.7", "peer.example"]), port: Self.port),
            deadline: run.loop.now + .seconds(patience),
            handler: self
        )
    }

    private func sendNext() {
        guard let socket, !isOver else { return }
        guard sent < count else { return socket.close() }
        sent += 1
        let number = sent
        let bytes = run.random.payload(run.random.number(1...socket.maximumDatagramBytes))
        onTheirWay.append(bytes)
        do throws(SocketError) { try socket.send(bytes.span, to: nil) } catch {
            run.note("a datagram was refused: \(error)")
            return socket.close()
        }
        run.after(milliseconds: 120_000) { [self] in if sent == number { sendNext() } }
    }

    func opened() {
        isOpen = true
        sendNext()
    }

    func received(_ datagram: Span<UInt8>, from peer: SocketAddress, truncated: Bool) {
        let bytes = datagram.withUnsafeBufferPointer { Array($0) }
        guard let place = onTheirWayBack.firstIndex(of: bytes), !truncated else {
            return run.fail("a datagram of \(bytes.count) bytes came that was not sent, truncated: \(truncated)")
        }
        onTheirWayBack.remove(at: place)
        returned += 1
        if onTheirWay.isEmpty, onTheirWayBack.isEmpty { sendNext() }
    }

    func closed(_ error: SocketError?) {
        if isOver { run.fail("the datagrams were told of their end twice") }
        isOver = true
        self.error = error
        run.note("the datagrams have ended: \(error.map { "\($0)" } ?? "in order")")
        run.ended()
    }

    func check() {
        if let error, run.plan.isHarmless { run.fail("the datagrams ended with \(error)") }
        if run.plan.isHarmless, returned < count { run.fail("of \(count) datagrams \(returned) came back") }
    }

    /// The server's end.
    private final class Echo: DatagramHandler {
        private unowned let pair: DatagramPair

        init(_ pair: DatagramPair) { self.pair = pair }

        func opened() {}

        func received(_ datagram: Span<UInt8>, from peer: SocketAddress, truncated: Bool) {
            let bytes = datagram.withUnsafeBufferPointer { Array($0) }
            guard let place = pair.onTheirWay.firstIndex(of: bytes) else {
                if pair.error != nil, pair.run.garblesBehindErrors || bytes == [0x1B] { return }
                return pair.run.fail("the server got a datagram of \(bytes.count) bytes that was not sent")
            }
            pair.onTheirWay.remove(at: place)
            pair.onTheirWayBack.append(bytes)
            try? pair.server?.send(datagram, to: peer)
        }

        func closed(_ error: SocketError?) {}
    }
}
