import Kernel
import SAL
import Testing

@testable import CoAPClient

/// A network whose one socket a test plays: it opens when told, and keeps what is sent. Used on its loop.
private final class ScriptedNetwork: DatagramNetwork, @unchecked Sendable {
    final class Socket: DatagramSocket {
        var handler: (any DatagramHandler)?
        var sent: [CoAPMessage] = []
        var failure: SocketError?
        var isClosed = false
        let maximumDatagramBytes = 200

        func send(_ datagram: Span<UInt8>, to peer: SocketAddress?) throws(SocketError) {
            if let failure { throw failure }
            if let message = try? CoAPMessage(decoding: datagram) { sent.append(message) }
        }

        func close() { isClosed = true }

        func open() { handler?.opened() }

        func fail(_ error: SocketError?) {
            let handler = handler
            self.handler = nil
            handler?.closed(error)
        }

        func receive(_ message: CoAPMessage, truncated: Bool = false) {
            let bytes = message.encoded
            handler?.received(
                bytes.span,
                from: SocketAddress(address: .v4(0x7F00_0001), port: 5683),
                truncated: truncated
            )
        }
    }

    let loop: EventLoop
    var sockets: [Socket] = []

    init(loop: EventLoop) { self.loop = loop }

    let capabilities = NetworkCapabilities(
        maximumSockets: 1,
        sendChunkBytes: 200,
        datagramBytes: 200,
        hasReceiveFlowControl: false
    )

    func openDatagrams(
        to endpoint: Endpoint,
        deadline: Duration,
        handler: any DatagramHandler
    ) -> any DatagramSocket {
        let socket = Socket()
        socket.handler = handler
        sockets.append(socket)
        return socket
    }
}

/// A connection on a scripted network, on a loop that lives as long as the test.
private final class Rig {
    let network: ScriptedNetwork
    let connection: CoAPConnection
    var results: [Result<CoAPResponse, CoAPError>] = []

    init(loop: EventLoop, change: (inout CoAPConfiguration) -> Void = { _ in }) {
        network = ScriptedNetwork(loop: loop)
        var configuration = CoAPConfiguration()
        change(&configuration)
        connection = CoAPConnection(
            to: Endpoint(host: "peer", port: 5683),
            over: network,
            configuration: configuration,
            seed: CoAPSeed(1, 2)
        )
    }

    var socket: ScriptedNetwork.Socket { network.sockets[network.sockets.count - 1] }

    func send(_ path: String, isConfirmable: Bool = true) throws(CoAPError) {
        try connection.send(CoAPRequest(.get, path: path, isConfirmable: isConfirmable)) { self.results.append($0) }
        // What the end of the loop's turn does.
        connection.endOfTurn()
    }
}

@Suite(.timeLimit(.minutes(1))) struct ConnectionTests {
    private func onLoop(_ body: @escaping @Sendable (EventLoop) throws -> Void) async throws {
        let loop = EventLoop.start()
        defer { loop.stop() }
        let result: Result<Void, any Error> = await loop.call { Result { try body(loop) } }
        try result.get()
    }

    @Test func theSocketIsOpenedWithTheFirstRequestAndKept() async throws {
        try await onLoop { loop in
            let rig = Rig(loop: loop)
            #expect(rig.network.sockets.isEmpty)
            try rig.send("a")
            #expect(rig.network.sockets.count == 1 && rig.socket.sent.isEmpty)
            rig.socket.open()
            #expect(rig.socket.sent.map(\.options.pathSegments) == [[ascii("a")]])
            rig.socket.receive(rig.socket.sent[0].response(.acknowledgement))
            #expect(rig.results == [.success(warm)])
            try rig.send("b")
            #expect(rig.socket.sent.count == 2 && rig.network.sockets.count == 1)
            rig.connection.close()
            #expect(rig.results == [.success(warm), .failure(.closed)] && rig.socket.isClosed)
            #expect(throws: CoAPError.closed) { try rig.send("c") }
        }
    }

    @Test func aSocketThatDoesNotOpenFailsTheRequests() async throws {
        try await onLoop { loop in
            let rig = Rig(loop: loop)
            try rig.send("a")
            try rig.send("b")
            rig.socket.fail(.nameNotFound)
            #expect(rig.results == [.failure(.transport(.nameNotFound)), .failure(.transport(.nameNotFound))])
            // The next request tries again.
            try rig.send("c")
            #expect(rig.network.sockets.count == 2)
            rig.connection.close()
        }
    }

    @Test func aSocketThatBreaksIsReplacedAndRequestsLiveOn() async throws {
        try await onLoop { loop in
            let rig = Rig(loop: loop)
            try rig.send("a")
            rig.socket.open()
            let request = rig.socket.sent[0]
            rig.socket.receive(request.empty(.acknowledgement))
            rig.socket.fail(.deviceRestarted)
            #expect(rig.network.sockets.count == 2 && rig.results.isEmpty)
            rig.socket.open()
            rig.socket.receive(request.response(.confirmable, messageID: 1))
            #expect(rig.results == [.success(warm)])
            #expect(rig.socket.sent == [.empty(.acknowledgement, 1)])
            rig.connection.close()
        }
    }

    @Test func aSocketThatBreaksUnusedIsNotReplacedForEver() async throws {
        try await onLoop { loop in
            let rig = Rig(loop: loop)
            try rig.send("a")
            rig.socket.open()
            rig.socket.fail(.deviceRestarted)
            rig.socket.open()
            rig.socket.fail(.deviceRestarted)
            #expect(rig.network.sockets.count == 2)
            #expect(rig.results == [.failure(.transport(.deviceRestarted))])
        }
    }

    @Test func withoutRequestsABrokenSocketIsNotReplaced() async throws {
        try await onLoop { loop in
            let rig = Rig(loop: loop)
            try rig.send("a")
            rig.socket.open()
            rig.socket.receive(rig.socket.sent[0].response(.acknowledgement))
            rig.socket.fail(.reset(code: 0))
            #expect(rig.network.sockets.count == 1)
            try rig.send("b")
            #expect(rig.network.sockets.count == 2)
            rig.connection.close()
        }
    }

    @Test func anErrorThatStaysEndsThatRequestOnly() async throws {
        try await onLoop { loop in
            let rig = Rig(loop: loop) { $0.outstandingLimit = 2 }
            try rig.send("a")
            rig.socket.open()
            rig.socket.failure = .messageTooLong
            try rig.send("b")
            #expect(rig.results == [.failure(.transport(.messageTooLong))])
            rig.socket.failure = nil
            rig.socket.receive(rig.socket.sent[0].response(.acknowledgement))
            #expect(rig.results.last == .success(warm))
            rig.connection.close()
        }
    }

    @Test func anErrorThatPassesIsALostDatagram() async throws {
        try await onLoop { loop in
            let rig = Rig(loop: loop)
            try rig.send("a")
            rig.socket.failure = .unreachable(code: 101)
            rig.socket.open()
            #expect(rig.results.isEmpty && rig.connection.requestCount == 1)
            rig.connection.close()
        }
    }

    @Test func theNetworkLimitsTheSizeOfRequests() async throws {
        try await onLoop { loop in
            let rig = Rig(loop: loop)
            let request = CoAPRequest(.put, path: String(repeating: "a", count: 191))
            #expect(throws: CoAPError.messageTooLarge(bytes: 201, limit: 200)) {
                try rig.connection.send(request) { _ in }
            }
            #expect(rig.network.sockets.isEmpty)
            // What can be divided is: into blocks that fit.
            try rig.connection.send(CoAPRequest(.put, payload: [UInt8](repeating: 0, count: 192))) { _ in }
            rig.socket.open()
            #expect(rig.socket.sent.last?.payload.count == 128)
            rig.connection.close()
        }
    }

    @Test func aTruncatedDatagramIsAnError() async throws {
        try await onLoop { loop in
            let rig = Rig(loop: loop)
            try rig.send("a")
            rig.socket.open()
            rig.socket.receive(rig.socket.sent[0].response(.acknowledgement), truncated: true)
            #expect(rig.results == [.failure(.responseTruncated)])
            rig.connection.close()
        }
    }

    @Test func aCompletionMaySendCancelAndClose() async throws {
        try await onLoop { loop in
            let rig = Rig(loop: loop)
            var order: [String] = []
            try rig.connection.send(CoAPRequest(.get, path: "a")) { _ in
                order.append("a")
                let next = try? rig.connection.send(CoAPRequest(.get, path: "b")) { _ in order.append("b") }
                _ = try? rig.connection.send(CoAPRequest(.get, path: "c")) { result in
                    order.append("c")
                    #expect(result == .failure(.closed))
                }
                if let next { rig.connection.cancel(next) }
                order.append("end of a")
                rig.connection.close()
            }
            rig.connection.endOfTurn()
            rig.socket.open()
            rig.socket.receive(rig.socket.sent[0].response(.acknowledgement))
            #expect(order == ["a", "end of a", "b", "c"])
            #expect(rig.connection.requestCount == 0)
        }
    }

    /// What both of two requests come to is told at once; a third that is made meanwhile is none of them.
    @Test func aRequestOfACompletionHasItsOwnResult() async throws {
        try await onLoop { loop in
            let rig = Rig(loop: loop)
            var order: [String] = []
            try rig.connection.send(CoAPRequest(.get, path: "a")) { _ in
                order.append("a")
                for name in ["c", "d"] {
                    _ = try? rig.connection.send(CoAPRequest(.get, path: name)) { _ in order.append(name) }
                }
            }
            try rig.connection.send(CoAPRequest(.get, path: "b")) { _ in order.append("b") }
            rig.connection.endOfTurn()
            rig.socket.fail(.refused(code: 111))
            #expect(order == ["a", "b"] && rig.connection.requestCount == 2)
            rig.connection.close()
            #expect(order == ["a", "b", "c", "d"])
        }
    }

    /// The server of an observed resource is asked to forget it (RFC 7641, 3.6), even by who closes at once.
    @Test func theEndOfAnObservationIsToldBeforeTheSocketIsClosed() async throws {
        try await onLoop { loop in
            let rig = Rig(loop: loop)
            var notified = 0
            var result: Result<CoAPResponse, CoAPError>?
            let id = try rig.connection.observe(CoAPRequest(.get, path: "a")) { _ in
                notified += 1
            } completion: {
                result = $0
            }
            rig.connection.endOfTurn()
            rig.socket.open()
            var options = CoAPOptions()
            options.observe = 5
            rig.socket.receive(rig.socket.sent[0].response(.acknowledgement, options: options))
            #expect(notified == 1 && result == nil)
            rig.connection.cancel(id)
            rig.connection.close()
            #expect(rig.socket.sent.map(\.options.observe) == [0, 1] && rig.socket.isClosed)
            #expect(rig.socket.sent[1].token == rig.socket.sent[0].token)
            #expect(result == .failure(.cancelled) && rig.connection.requestCount == 0)
        }
    }

    /// Running timers and open sockets keep a connection alive, and nothing else does.
    @Test func nothingIsLeftOfAConnection() async throws {
        final class References: @unchecked Sendable {
            weak var closed: CoAPConnection?
            weak var failed: CoAPConnection?
        }
        let loop = EventLoop.start()
        defer { loop.stop() }
        let references = References()
        await withCheckedContinuation { (continuation: CheckedContinuation<Void, Never>) in
            loop.execute {
                let closed = Rig(loop: loop)
                try? closed.send("a")
                closed.socket.open()
                closed.connection.close()
                references.closed = closed.connection
                let failed = Rig(loop: loop)
                try? failed.send("a")
                failed.socket.fail(.refused(code: 111))
                references.failed = failed.connection
                continuation.resume()
            }
        }
        // The loop holds on to what asked for the end of that turn until then.
        let isOver: Bool = await withCheckedContinuation { continuation in
            loop.execute {
                loop.execute { continuation.resume(returning: references.closed == nil && references.failed == nil) }
            }
        }
        #expect(isOver)
    }
}
