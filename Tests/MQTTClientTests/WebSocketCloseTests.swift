import Kernel
import NetworkSimulator
import SAL
import SecureTransport
import Testing

@testable import MQTTClient

/// WebSockets over a stream that does what it is told.
@Suite(.timeLimit(.minutes(1))) struct WebSocketCloseTests {
    /// A peer that agrees to the WebSocket, and then reads `room` bytes and no more.
    private final class Peer: Network, ByteStream, @unchecked Sendable {
        // @unchecked: it is used on its loop only.
        let loop: EventLoop
        let capabilities = NetworkCapabilities(
            maximumSockets: nil,
            sendChunkBytes: 65_536,
            datagramBytes: 0,
            hasReceiveFlowControl: true
        )
        var handler: (any ByteStreamHandler)?
        var room: Int
        private(set) var sent: [UInt8] = []
        private(set) var isAborted = false
        private(set) var isClosed = false
        private var isOpen = false

        init(_ loop: EventLoop, room: Int) {
            self.loop = loop
            self.room = room
        }

        func connect(to endpoint: Endpoint, deadline: Duration, handler: any ByteStreamHandler) -> any ByteStream {
            self.handler = handler
            later { $0.handler?.opened() }
            return self
        }

        private func later(_ body: @escaping (Peer) -> Void) {
            let box = LoopConfined(self)
            let work = LoopConfined(body)
            loop.execute { work.value(box.value) }
        }

        func send(_ bytes: Span<UInt8>) -> Int {
            if !isOpen {
                isOpen = true
                let request = String(decoding: (0..<bytes.count).map { bytes[$0] }, as: UTF8.self)
                let line = request.split(separator: "\r\n").first { $0.hasPrefix("Sec-WebSocket-Key: ") }
                let key = Array((line ?? "").utf8.dropFirst(19)) + Array("258EAFA5-E914-47DA-95CA-C5AB0DC85B11".utf8)
                let accept = String(decoding: Base64.encode(Digest.sha1(key.span).span), as: UTF8.self)
                let answer =
                    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                    + "Sec-WebSocket-Accept: \(accept)\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n"
                later { _ = $0.handler?.received(Array(answer.utf8).span) }
                return bytes.count
            }
            let count = min(bytes.count, room)
            room -= count
            for index in 0..<count { sent.append(bytes[index]) }
            return count
        }

        func resumeReceiving() {}
        func close() { isClosed = true }
        func abort() { isAborted = true }
    }

    private final class Handler: ByteStreamHandler {
        private(set) var isOpen = false
        private(set) var ends: [SocketError?] = []
        func opened() { isOpen = true }
        func received(_ bytes: Span<UInt8>) -> Int { bytes.count }
        func writable() {}
        func closed(_ error: SocketError?) { ends.append(error) }
    }

    /// What was sent leaves before the close frame, if the peer reads it; one that does not is left after a while.
    @Test(arguments: [(100_000, false), (10, true)]) func closes(room: Int, isAborted: Bool) async throws {
        try await EventLoop.inVirtualTime { loop in
            let (peer, handler) = (Peer(loop, room: room), Handler())
            let stream = WebSocketNetwork(over: peer).connect(
                to: Endpoint(host: "peer", port: 80),
                deadline: loop.now + .seconds(10),
                handler: handler
            )
            try await loop.sleep(for: .seconds(1))
            #expect(handler.isOpen)
            #expect(stream.send([UInt8](repeating: 7, count: 1_000).span) == 1_000)
            stream.close()
            try await loop.sleep(for: .seconds(4))
            #expect(handler.ends.isEmpty == isAborted)
            try await loop.sleep(for: .seconds(2))
            #expect(handler.ends == [nil])
            #expect(peer.isAborted == isAborted && peer.isClosed != isAborted)
            // A frame of 1,000 bytes has 8 more, a close frame with its code 8.
            #expect(peer.sent.count == min(room, 1_016))
        }
    }
}
