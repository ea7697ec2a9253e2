// What the streams of the benchmark do. All of it is used on the loop only.
import Kernel
import SAL
import SecureTransport

/// Connects again and again.
final class Caller: ByteStreamHandler, @unchecked Sendable {
    private let network: SecureNetwork
    private let port: UInt16
    private var left: Int
    private let done: Completion
    private var stream: (any ByteStream)?

    init(_ network: SecureNetwork, _ port: UInt16, _ count: Int, _ done: Completion) {
        self.network = network
        self.port = port
        left = count
        self.done = done
    }

    func next() {
        guard left > 0 else {
            try? done.post()
            return
        }
        left -= 1
        stream = network.connect(
            to: Endpoint(host: "127.0.0.1", port: port),
            deadline: network.loop.now + .seconds(10),
            handler: self
        )
    }

    func opened() { stream?.close() }
    func received(_ bytes: Span<UInt8>) -> Int { bytes.count }
    func writable() {}
    func closed(_ error: SocketError?) {
        if let error { fatalError("\(error): \(String(describing: (stream as? SecureStream)?.failure))") }
        next()
    }
}

final class Echo: ByteStreamHandler, @unchecked Sendable {
    var stream: (any ByteStream)?
    private let message: [UInt8]
    private var left: Int
    private var missing = 0
    private let ready: Completion
    private let done: Completion

    init(_ size: Int, _ count: Int, _ ready: Completion, _ done: Completion) {
        message = [UInt8](repeating: 120, count: size)
        left = count
        self.ready = ready
        self.done = done
    }

    func send() {
        let message = self.message
        missing = message.count
        _ = stream?.send(message.span)
    }

    func opened() { try? ready.post() }
    func received(_ bytes: Span<UInt8>) -> Int {
        missing -= bytes.count
        guard missing <= 0 else { return bytes.count }
        left -= 1
        if left == 0 { try? done.post() } else { send() }
        return bytes.count
    }
    func writable() {}
    func closed(_ error: SocketError?) {}
}

final class Holder: ByteStreamHandler, @unchecked Sendable {
    private let count: Int
    private var isOpen = 0
    private let done: Completion
    private var streams: [any ByteStream] = []

    init(_ count: Int, _ done: Completion) {
        self.count = count
        self.done = done
        streams.reserveCapacity(count)
    }

    func open(_ network: SecureNetwork, _ port: UInt16) {
        for _ in 0..<count {
            streams.append(
                network.connect(
                    to: Endpoint(host: "127.0.0.1", port: port),
                    deadline: network.loop.now + .seconds(60),
                    handler: self
                )
            )
        }
    }

    func close() {
        for stream in streams { stream.close() }
        streams = []
    }

    func opened() {
        isOpen += 1
        if isOpen == count { try? done.post() }
    }
    func received(_ bytes: Span<UInt8>) -> Int { bytes.count }
    func writable() {}
    func closed(_ error: SocketError?) {}
}

/// Opens secured datagram sockets again and again.
final class DatagramCaller: DatagramHandler, @unchecked Sendable {
    private let network: SecureDatagramNetwork
    private let port: UInt16
    private var left: Int
    private let done: Completion
    private var socket: (any DatagramSocket)?

    init(_ network: SecureDatagramNetwork, _ port: UInt16, _ count: Int, _ done: Completion) {
        self.network = network
        self.port = port
        left = count
        self.done = done
    }

    func next() {
        guard left > 0 else {
            try? done.post()
            return
        }
        left -= 1
        socket = network.openDatagrams(
            to: Endpoint(host: "127.0.0.1", port: port),
            deadline: network.loop.now + .seconds(10),
            handler: self
        )
    }

    func opened() { socket?.close() }
    func received(_ datagram: Span<UInt8>, from peer: SocketAddress, truncated: Bool) {}
    func closed(_ error: SocketError?) {
        if let error { fatalError("\(error)") }
        next()
    }
}

final class DatagramListener: DatagramHandler, @unchecked Sendable {
    var server: SecureDatagramServer?
    func opened() {}
    func received(_ datagram: Span<UInt8>, from peer: SocketAddress, truncated: Bool) {}
    func closed(_ error: SocketError?) { server = nil }
}
