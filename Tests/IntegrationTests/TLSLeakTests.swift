import CLinux
import Kernel
import SAL
import SecureTransport
import Testing

@testable import HubSimulator

/// What connections leave behind. Each test has a process of its own, whose memory nobody else uses.
@Suite(.timeLimit(.minutes(1))) struct TLSLeakTests {
    @Test func aThousandConnectionsLeaveNothingBehind() async {
        await #expect(processExitsWith: .success) {
            let server = try await TLSServer(TLSServer.preSharedKey)
            let loop = EventLoop.start()
            let network = try SecureNetwork(over: LinuxNetwork(loop: loop), TLSClient.preSharedKey())
            let endpoint = Endpoint(host: "127.0.0.1", port: server.port)
            func connect(_ count: Int) async -> Int {
                await withCheckedContinuation { continuation in
                    loop.execute {
                        Visitor(network, endpoint, count) { done in continuation.resume(returning: done) }.connect()
                    }
                }
            }
            // The first ones fill caches: of the allocator, of the loop, of mbedTLS.
            try #require(await connect(100) == 100)
            let before = await usage(loop)
            try #require(await connect(1_000) == 1_000)
            let after = await usage(loop)
            #expect(after.heap - before.heap < 16_384, "heap grew from \(before.heap) to \(after.heap) bytes")
            #expect(after.descriptors == before.descriptors)
            loop.stop()
        }
    }

    /// Handshakes that fail, in each of three ways.
    @Test func connectionsThatFailLeaveNothingBehind() async {
        await #expect(processExitsWith: .success) {
            let server = try await TLSServer(TLSServer.preSharedKey)
            let loop = EventLoop.start()
            let inner = LinuxNetwork(loop: loop)
            let wrongKey = try SecureNetwork(over: inner, TLSClient.preSharedKey(key: [1]))
            let right = try SecureNetwork(over: inner, TLSClient.preSharedKey())
            let endpoint = Endpoint(host: "127.0.0.1", port: server.port)
            let nobody = Endpoint(host: "127.0.0.1", port: 1)
            func fail(_ count: Int) async {
                for (network, endpoint) in [(wrongKey, endpoint), (right, nobody)] {
                    let opened = await withCheckedContinuation { continuation in
                        loop.execute {
                            Visitor(network, endpoint, count) { done in continuation.resume(returning: done) }.connect()
                        }
                    }
                    #expect(opened == 0)
                }
            }
            await fail(50)
            let before = await usage(loop)
            await fail(300)
            let after = await usage(loop)
            #expect(after.heap - before.heap < 16_384, "heap grew from \(before.heap) to \(after.heap) bytes")
            #expect(after.descriptors == before.descriptors)
            loop.stop()
        }
    }
}

/// Connects, says a line, reads it backwards and closes, again and again.
private final class Visitor: ByteStreamHandler, EndOfTurnHandler {
    private let network: SecureNetwork
    private let endpoint: Endpoint
    private let finish: (Int) -> Void
    private var left: Int
    private var done = 0
    private var received = 0
    private var stream: (any ByteStream)?

    init(_ network: SecureNetwork, _ endpoint: Endpoint, _ count: Int, finish: @escaping (Int) -> Void) {
        self.network = network
        self.endpoint = endpoint
        left = count
        self.finish = finish
    }

    private lazy var turnEnd = EndOfTurn(on: network.loop)

    func connect() {
        received = 0
        stream = network.connect(to: endpoint, deadline: network.loop.now + .seconds(10), handler: self)
    }

    func opened() { _ = stream?.send(Array("hello\n".utf8).span) }

    func received(_ bytes: Span<UInt8>) -> Int {
        received += bytes.count
        if received == 6 {
            done += 1
            stream?.close()
        }
        return bytes.count
    }

    func writable() {}

    func closed(_ error: SocketError?) {
        stream = nil
        left -= 1
        turnEnd.request(self)
    }

    func endOfTurn() { left > 0 ? connect() : finish(done) }
}

/// How many bytes of the heap are in use, and how many file descriptors, when the loop has nothing to do.
private func usage(_ loop: EventLoop) async -> (heap: Int, descriptors: Int) {
    for _ in 0..<3 {
        await loop.call {}
    }
    let info = mallinfo2()
    var status = stat()
    let descriptors = (0..<1_024).count { fstat($0, &status) == 0 }
    return (Int(info.uordblks) + Int(info.hblkhd), descriptors)
}
