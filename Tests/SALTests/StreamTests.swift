import CLinux
import Kernel
import SAL
import Testing

@Suite(.timeLimit(.minutes(1))) struct StreamTests {
    let loop = EventLoop.start()

    /// Calls `body` on the loop.
    func onLoop<Value: Sendable>(_ body: @escaping @Sendable () -> Value) async -> Value {
        await loop.call(body)
    }

    func connect(
        _ host: String,
        _ port: UInt16,
        _ probe: Probe,
        timeout: Duration = .seconds(10)
    ) async -> LoopBox<any ByteStream> {
        await onLoop { [loop] in
            LoopBox(
                LinuxNetwork(loop: loop).connect(
                    to: Endpoint(host: host, port: port),
                    deadline: loop.now + timeout,
                    handler: probe
                )
            )
        }
    }

    @Test(arguments: ["127.0.0.1", "localhost"])
    func carriesBytesBothWays(host: String) async {
        let (peer, probe) = (Peer(), Probe())
        let stream = await connect(host, peer.port, probe)
        let accepted = await peer.accept()
        await probe.wait(on: loop) { $0.isOpen }
        for size in [1, 1_460, 2_048, 4_096, 1_048_576] {
            let bytes = (0..<size).map { UInt8(truncatingIfNeeded: $0 &* 31) }
            let receivedHere = Task { await onThread { readAll(accepted, size) } }
            await sendAll(bytes, stream, probe)
            #expect(await receivedHere.value == bytes)
            await onLoop { probe.received = [] }
            await onThread { writeAll(accepted, bytes) }
            await probe.wait(on: loop) { $0.received.count == size }
            #expect(probe.received == bytes)
        }
        close(accepted)
        await probe.wait(on: loop) { $0.isClosed }
        #expect(probe.error == nil)
        loop.stop()
    }

    func sendAll(_ bytes: [UInt8], _ stream: LoopBox<any ByteStream>, _ probe: Probe) async {
        var sent = 0
        while sent < bytes.count {
            let rest = Array(bytes[sent...])
            let writable = await onLoop { probe.writableCount }
            let count = await onLoop { stream.value.send(rest.span) }
            sent += count
            if count < rest.count { await probe.wait(on: loop) { $0.writableCount > writable } }
        }
    }

    @Test func worksOverIPv6() async {
        let (peer, probe) = (Peer(v6: true), Probe())
        _ = await connect("::1", peer.port, probe)
        let accepted = await peer.accept()
        await onThread { writeAll(accepted, [1, 2, 3]) }
        await probe.wait(on: loop) { $0.received == [1, 2, 3] }
        close(accepted)
        loop.stop()
    }

    @Test func reportsARefusedPort() async {
        let port: UInt16 = {
            let peer = Peer()
            return peer.port
        }()
        let probe = Probe()
        _ = await connect("127.0.0.1", port, probe)
        await probe.wait(on: loop) { $0.isClosed }
        #expect(probe.error == .refused(code: ECONNREFUSED))
        #expect(!probe.isOpen)
        loop.stop()
    }

    @Test(arguments: ["no-such-host.invalid", "", "a\0b", "..."])
    func reportsANameWithoutAnAddress(name: String) async {
        let probe = Probe()
        _ = await connect(name, 1, probe)
        await probe.wait(on: loop) { $0.isClosed }
        #expect(probe.error == .nameNotFound)
        loop.stop()
    }

    @Test func deliversUnreadDataBeforeTheEnd() async {
        let (peer, probe) = (Peer(), Probe())
        probe.window = 0
        let stream = await connect("127.0.0.1", peer.port, probe)
        let accepted = await peer.accept()
        let bytes = [UInt8](repeating: 5, count: 200_000)
        await onThread {
            writeAll(accepted, bytes)
            close(accepted)
        }
        // Nothing is taken, so the end is not told.
        #expect(await onLoop { !probe.isClosed })
        while await onLoop({ !probe.isClosed }) {
            await onLoop {
                probe.window = 10_000
                stream.value.resumeReceiving()
            }
        }
        #expect(probe.received == bytes)
        #expect(probe.error == nil)
        loop.stop()
    }

    @Test func stopsReadingWhileNothingIsTaken() async {
        let (peer, probe) = (Peer(), Probe())
        probe.window = 0
        _ = await connect("127.0.0.1", peer.port, probe)
        let accepted = await peer.accept()
        _ = clinux_set_nonblocking(accepted)
        // The kernel's buffers fill up, and then the peer can send no more: what we hold stays at one read.
        let chunk = [UInt8](repeating: 1, count: 65_536)
        var stalls = 0
        while stalls < 50 {
            if send(accepted, chunk, chunk.count, Int32(MSG_NOSIGNAL)) < 0 {
                stalls += 1
                usleep(1_000)
            } else {
                stalls = 0
            }
        }
        #expect(await onLoop { probe.received.isEmpty && !probe.isClosed })
        close(accepted)
        loop.stop()
    }

    @Test func takesLittleWhileThePeerDoesNotRead() async {
        let (peer, probe) = (Peer(), Probe())
        let stream = await connect("127.0.0.1", peer.port, probe)
        let accepted = await peer.accept()
        let chunk = [UInt8](repeating: 1, count: 65_536)
        var total = 0
        var stalls = 0
        while stalls < 20 {
            let count = await onLoop { stream.value.send(chunk.span) }
            total += count
            stalls = count == 0 ? stalls + 1 : 0
        }
        // Our own buffer is full; the rest is the kernel's.
        let received = await onThread { [total] in readAll(accepted, total) }
        #expect(received.count == total)
        await probe.wait(on: loop) { $0.writableCount > 0 }
        close(accepted)
        loop.stop()
    }

    @Test func closeSendsWhatWasTakenAndAbortDoesNot() async {
        for aborts in [false, true] {
            let (peer, probe) = (Peer(), Probe())
            let stream = await connect("127.0.0.1", peer.port, probe)
            let accepted = await peer.accept()
            await probe.wait(on: loop) { $0.isOpen }
            // Large pieces go at once, and cannot be taken back.
            let bytes = [UInt8](repeating: 9, count: aborts ? 10_000 : 100_000)
            await onLoop {
                _ = stream.value.send(bytes.span)
                if aborts { stream.value.abort() } else { stream.value.close() }
                #expect(!probe.isClosed, "no handler is called from inside a call")
                #expect(stream.value.send(bytes.span) == 0)
                stream.value.close()
            }
            let received = await onThread { readAll(accepted, bytes.count + 1) }
            #expect(received.count == (aborts ? 0 : bytes.count))
            await probe.wait(on: loop) { $0.isClosed }
            #expect(probe.error == nil)
            close(accepted)
        }
        loop.stop()
    }

    @Test func reportsAReset() async {
        let (peer, probe) = (Peer(), Probe())
        _ = await connect("127.0.0.1", peer.port, probe)
        let accepted = await peer.accept()
        await probe.wait(on: loop) { $0.isOpen }
        var linger = linger(l_onoff: 1, l_linger: 0)
        setsockopt(accepted, SOL_SOCKET, SO_LINGER, &linger, socklen_t(MemoryLayout.size(ofValue: linger)))
        close(accepted)
        await probe.wait(on: loop) { $0.isClosed }
        #expect(probe.error == .reset(code: ECONNRESET))
        loop.stop()
    }
}
