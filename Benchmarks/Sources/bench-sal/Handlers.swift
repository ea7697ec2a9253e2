// What the streams of the benchmark do. All of it is used on the loop only.
import Kernel
import SAL

final class Acceptor: StreamListenerHandler, @unchecked Sendable {
    var listener: (any StreamListener)?
    private(set) var accepted = 0
    private let serve: @Sendable (any ByteStream) -> Void

    init(_ serve: @escaping @Sendable (any ByteStream) -> Void) { self.serve = serve }

    func listen(_ network: LinuxNetwork) -> UInt16 {
        listener = try? network.listen(at: SocketAddress(address: .v4(0x7F00_0001), port: 0), handler: self)
        return listener?.localAddress?.port ?? 0
    }

    func accepted(_ stream: any ByteStream, from peer: SocketAddress?) {
        accepted += 1
        serve(stream)
    }
}

class Quiet: ByteStreamHandler, @unchecked Sendable {
    func opened() {}
    func received(_ bytes: Span<UInt8>) -> Int { bytes.count }
    func writable() {}
    func closed(_ error: SocketError?) { ended += 1 }
    private(set) var ended = 0
}

final class Counter: Quiet, @unchecked Sendable {
    private(set) var bytes: Int64 = 0

    override func received(_ bytes: Span<UInt8>) -> Int {
        self.bytes += Int64(bytes.count)
        return bytes.count
    }
}

final class EchoHandler: Quiet, @unchecked Sendable {
    private let stream: any ByteStream

    init(_ stream: any ByteStream) { self.stream = stream }

    override func received(_ bytes: Span<UInt8>) -> Int { stream.send(bytes) }
    override func writable() { stream.resumeReceiving() }
}

final class ClientRun: @unchecked Sendable {
    var left: Int
    var open = 0
    let message: [UInt8]
    let done: Completion
    var clients: [ClientHandler] = []

    init(_ rounds: Int, _ size: Int, _ done: Completion) {
        left = rounds
        message = [UInt8](repeating: 120, count: size)
        self.done = done
    }
}

final class ClientHandler: Quiet, @unchecked Sendable {
    var stream: (any ByteStream)?
    private let run: ClientRun
    private var missing = 0

    init(_ run: ClientRun) { self.run = run }

    func send() {
        missing = run.message.count
        let message = run.message
        _ = stream?.send(message.span)
    }

    override func opened() { run.open += 1 }

    override func received(_ bytes: Span<UInt8>) -> Int {
        missing -= bytes.count
        guard missing <= 0, run.left > 0 else { return bytes.count }
        run.left -= 1
        if run.left == 0 { try? run.done.post() } else { send() }
        return bytes.count
    }
}

final class Source: Quiet, @unchecked Sendable {
    var stream: (any ByteStream)?
    private var left: Int
    private let piece = [UInt8](repeating: 0, count: 65_536)

    init(_ bytes: Int) { left = bytes }

    override func opened() { fill() }
    override func writable() { fill() }

    private func fill() {
        let piece = self.piece
        while left > 0 {
            let count = stream?.send(piece.span.extracting(first: min(left, piece.count))) ?? 0
            if count == 0 { return }
            left -= count
        }
        stream?.close()
    }
}

final class Clients: Quiet, @unchecked Sendable {
    private(set) var open = 0
    private let count: Int
    private var streams: [any ByteStream] = []

    init(_ count: Int) {
        self.count = count
        streams.reserveCapacity(count)
    }

    func connect(_ network: LinuxNetwork, _ endpoint: Endpoint) {
        for _ in 0..<count {
            streams.append(network.connect(to: endpoint, deadline: network.loop.now + .seconds(60), handler: self))
        }
    }

    override func opened() { open += 1 }

    func close() {
        for stream in streams { stream.abort() }
        streams = []
    }
}
