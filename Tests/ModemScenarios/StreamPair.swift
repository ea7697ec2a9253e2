internal import ATAdapter
internal import Kernel
internal import ModemSimulator
internal import NetworkSimulator
internal import SAL

/// A stream through the modem and its other end at the server: each sends its own bytes, in pieces with pauses, and one of them closes.
final class StreamPair {
    private enum Closing: Equatable {
        /// Both have sent and received all; the owner of the modem closes, or the server.
        case client, server
        /// The server closes when so much has come.
        case serverEarly(received: Int)
    }

    let number: Int
    private unowned let run: ModemRun
    private let mustWork: Bool
    private let closing: Closing
    private let up: [UInt8]
    private let down: [UInt8]
    private lazy var client = StreamEnd(self, name: "client", sends: up, awaits: down)
    private lazy var server = StreamEnd(self, name: "server", sends: down, awaits: up)
    private var listener: (any StreamListener)?
    private var wasOpened = false

    init(_ run: ModemRun, number: Int, mustWork: Bool = false) {
        self.run = run
        self.number = number
        self.mustWork = mustWork || run.plan.isHarmless
        let most = run.random.pick([300, 300, 1_000, 1_000, 6_000])
        up = run.random.payload(run.random.number(0...most))
        down = run.random.payload(run.random.number(0...most))
        switch run.random.number(0...9) {
        case 0...3: closing = .client
        case 4...7: closing = .server
        default: closing = .serverEarly(received: run.random.number(0...up.count))
        }
        client.isSlow = run.random.chance(20) && !self.mustWork
    }

    private var port: UInt16 { 7_000 + UInt16(number) }

    func open() {
        guard let modem = run.modem else { return }
        let address = SocketAddress(address: .anyIPv4, port: port)
        listener = try? run.serverHost.listen(at: address, handler: self)
        let host = run.random.pick(["192.0.2.7", "peer.example"])
        let patience = mustWork ? 3_600 : run.random.number(20...300)
        run.note("stream \(number) opens: \(up.count) up, \(down.count) down, \(closing)")
        client.stream = modem.connect(
            to: Endpoint(host: host, port: port),
            deadline: run.loop.now + .seconds(patience),
            handler: client
        )
    }

    fileprivate func after(_ body: @escaping () -> Void) {
        run.after(milliseconds: run.random.pick([0, 0, run.random.number(1...2_000)]), body)
    }

    fileprivate func pieceBytes(_ most: Int) -> Int { run.random.number(1...max(1, min(most, 2_000))) }

    /// Something has gone forward at an end.
    fileprivate func moved(_ end: StreamEnd) {
        let isDone = client.isDone && server.isDone
        switch closing {
        case .client: if isDone { client.close() }
        case .server: if isDone { server.close() }
        case .serverEarly(let received): if end === server, server.received >= received { server.close() }
        }
    }

    /// Whether a wrong byte is what the driver has sent for lack of payload: returns when the stream has ended behind the command, or to find back to
    /// the modem. Of a payload of one byte the escape is all.
    fileprivate func toleratesGarbage(_ byte: UInt8, at end: StreamEnd) -> Bool {
        end === server && client.error != nil && (run.garblesBehindErrors || byte == 0x1B || byte == 0x0D)
    }

    fileprivate func fail(_ text: String) { run.fail("stream \(number): \(text)") }
    fileprivate func ended(_ end: StreamEnd) {
        run.note("stream \(number): the \(end.name) has ended: \(end.state)")
        if end === client {
            // The server may not have heard of it.
            run.after(milliseconds: 600_000) { [self] in
                if !server.isOver { server.stream?.abort() }
            }
            run.ended()
        }
    }

    var isOver: Bool { client.isOver }
    var byteCount: Int { client.received + server.received }
    var state: String { "client \(client.state), server \(server.state)" }
    var isComplete: Bool { client.error == nil && client.received == down.count && server.received == up.count }

    /// u-blox gives the number of a link that its peer has closed to the socket that is being made: what it still had for the first, nobody can ask for.
    private var mayHaveLostItsNumber: Bool {
        run.dialect == .ublox && client.error == .reset(code: 0) && server.hasClosed
    }

    func check() {
        guard client.isOver else { return }
        if mustWork, case .serverEarly = closing {
        } else if mustWork {
            if let error = client.error, !mayHaveLostItsNumber { return fail("ended with \(error): \(state)") }
            if client.received < down.count { fail("the client has less than the server has sent: \(state)") }
        }
        guard client.error == nil else { return }
        if client.hasClosed {
            // All was taken and sent, unless the server was told of a reset.
            if server.isOver, server.error == nil, server.received < client.sent, !server.hasClosed {
                fail("closed in order, but not all has arrived: \(state)")
            }
        } else if server.hasClosed, server.error == nil {
            if !run.plan.cutsLinks, client.received < server.sent {
                fail("ended in order, but not all has arrived: \(state)")
            }
        } else if !run.plan.cutsLinks {
            fail("ended in order, but the server has not closed: \(state)")
        }
    }
}

extension StreamPair: StreamListenerHandler {
    func accepted(_ stream: any ByteStream, from peer: SocketAddress?) {
        guard server.stream == nil else {
            // The modem has tried again, as after a lost result.
            run.note("stream \(number): one more connection")
            return
        }
        stream.handler = server
        server.stream = stream
        server.opened()
    }
}

/// One end of a stream.
final class StreamEnd: ByteStreamHandler {
    let name: String
    private unowned let pair: StreamPair
    private let outgoing: [UInt8]
    private let awaited: [UInt8]
    var stream: (any ByteStream)?
    /// It does not take all that it is offered.
    var isSlow = false
    private(set) var sent = 0
    private(set) var received = 0
    private(set) var hasClosed = false
    private(set) var isOver = false
    private(set) var error: SocketError?
    private var isOpen = false

    init(_ pair: StreamPair, name: String, sends outgoing: [UInt8], awaits awaited: [UInt8]) {
        self.pair = pair
        self.name = name
        self.outgoing = outgoing
        self.awaited = awaited
    }

    var isDone: Bool { sent == outgoing.count && received == awaited.count }

    var state: String {
        let end = isOver ? (error.map { "\($0)" } ?? "in order") : isOpen ? "open" : "not open"
        return
            "sent \(sent) of \(outgoing.count), received \(received) of \(awaited.count), closed: \(hasClosed), \(end)"
    }

    func opened() {
        if isOpen { pair.fail("the \(name) was opened twice") }
        isOpen = true
        sendSome()
        pair.moved(self)
    }

    private func sendSome() {
        guard let stream, !isOver, !hasClosed, sent < outgoing.count else { return }
        let piece = Array(outgoing[sent..<min(outgoing.count, sent + pair.pieceBytes(outgoing.count - sent))])
        let taken = stream.send(piece.span)
        sent += taken
        pair.moved(self)
        // Else there will be a call when there is room again.
        if taken == piece.count { pair.after { [self] in sendSome() } }
    }

    func writable() { sendSome() }

    func received(_ bytes: Span<UInt8>) -> Int {
        guard !isOver else {
            pair.fail("the \(name) was given bytes after the end")
            return bytes.count
        }
        let count = isSlow ? pair.pieceBytes(bytes.count) : bytes.count
        for index in 0..<min(count, bytes.count) {
            guard received < awaited.count, awaited[received] == bytes[index] else {
                if !pair.toleratesGarbage(bytes[index], at: self) {
                    pair.fail("the \(name) was given a wrong byte at \(received) of \(awaited.count)")
                }
                stream?.abort()
                return bytes.count
            }
            received += 1
        }
        if count < bytes.count { pair.after { [self] in stream?.resumeReceiving() } }
        pair.after { [self] in pair.moved(self) }
        return min(count, bytes.count)
    }

    func close() {
        guard !hasClosed, !isOver else { return }
        hasClosed = true
        stream?.close()
    }

    func closed(_ error: SocketError?) {
        if isOver { pair.fail("the \(name) was told of its end twice") }
        isOver = true
        self.error = error
        pair.ended(self)
    }
}
