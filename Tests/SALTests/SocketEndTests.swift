import CLinux
import Kernel
import SAL
import Testing

/// How TCP connections end, and what becomes of the bytes that are under way.
@Suite(.timeLimit(.minutes(1))) struct SocketEndTests {
    let loop = EventLoop.start()
    let peer = Peer(receiveBytes: 4_096)
    let probe = Probe()

    /// A connection, and the peer's end of it.
    private func connection() async -> (stream: LoopBox<any ByteStream>, accepted: Int32) {
        let stream = await loop.call { [loop, peer, probe] in
            LoopBox(
                LinuxNetwork(loop: loop).connect(
                    to: Endpoint(host: "127.0.0.1", port: peer.port),
                    deadline: loop.now + .seconds(20),
                    handler: probe
                )
            )
        }
        let accepted = await peer.accept()
        await probe.wait(on: loop) { $0.isOpen }
        return (stream, accepted)
    }

    /// Sends until nothing more is taken, with the system's buffers full.
    private func fill(_ stream: LoopBox<any ByteStream>) async -> [UInt8] {
        var sent: [UInt8] = []
        var stalls = 0
        while stalls < 15 {
            let chunk = (0..<65_536).map { UInt8(truncatingIfNeeded: $0 &* 7 &+ sent.count >> 12) }
            let count = await loop.call { stream.value.send(chunk.span) }
            sent += chunk[..<count]
            stalls = count == 0 ? stalls + 1 : 0
            // The system moves bytes on when it has time to.
            if count == 0 { await onThread { _ = usleep(2_000) } }
        }
        return sent
    }

    private func reset(_ accepted: Int32) {
        var linger = linger(l_onoff: 1, l_linger: 0)
        setsockopt(accepted, SOL_SOCKET, SO_LINGER, &linger, socklen_t(MemoryLayout.size(ofValue: linger)))
        close(accepted)
    }

    @Test func closeDeliversAllThatWasTaken() async {
        let (stream, accepted) = await connection()
        let sent = await fill(stream)
        await loop.call { stream.value.close() }
        #expect(await onThread { readAll(accepted, sent.count + 1) } == sent)
        await probe.wait(on: loop) { $0.isClosed }
        #expect(probe.error == nil)
        close(accepted)
        loop.stop()
    }

    /// Bytes that nobody has read would make the system reset the connection, with ours still under way.
    @Test func closeDeliversAllAlthoughBytesAreLeftUnread() async {
        let (stream, accepted) = await connection()
        await loop.call { [probe] in probe.window = 0 }
        await onThread { writeAll(accepted, [UInt8](repeating: 1, count: 100_000)) }
        await probe.wait(on: loop) { $0.offers > 0 }
        let bytes = (0..<30_000).map { UInt8(truncatingIfNeeded: $0 &* 7) }
        await loop.call {
            #expect(stream.value.send(bytes.span) == bytes.count)
            stream.value.close()
        }
        await probe.wait(on: loop) { $0.isClosed }
        #expect(probe.error == nil)
        #expect(await onThread { readAll(accepted, bytes.count + 1) } == bytes)
        close(accepted)
        loop.stop()
    }

    @Test func abortResets() async {
        let (stream, accepted) = await connection()
        _ = await fill(stream)
        await loop.call { stream.value.abort() }
        await probe.wait(on: loop) { $0.isClosed }
        #expect(probe.error == nil)
        let code = await onThread {
            var buffer = [UInt8](repeating: 0, count: 65_536)
            while read(accepted, &buffer, buffer.count) > 0 {}
            return clinux_errno()
        }
        #expect(code == ECONNRESET)
        close(accepted)
        loop.stop()
    }

    /// The peer says that it has no more to send, and reads on.
    @Test(arguments: [false, true])
    func aHalfClosedPeerStillGetsWhatWasTaken(closesFirst: Bool) async {
        let (stream, accepted) = await connection()
        let sent = await fill(stream)
        if closesFirst { await loop.call { stream.value.close() } }
        await onThread {
            writeAll(accepted, [1, 2, 3])
            shutdown(accepted, Int32(SHUT_WR))
        }
        if !closesFirst { await probe.wait(on: loop) { $0.received == [1, 2, 3] } }
        #expect(await onThread { readAll(accepted, sent.count + 1) } == sent)
        await probe.wait(on: loop) { $0.isClosed }
        #expect(probe.error == nil)
        #expect(probe.received == (closesFirst ? [] : [1, 2, 3]))
        close(accepted)
        loop.stop()
    }

    /// The last request is answered although the peer has said that it was the last.
    @Test func answersAHalfClosedPeer() async {
        let (stream, accepted) = await connection()
        await loop.call { [probe] in
            probe.onReceive = { _ in _ = stream.value.send(([9, 9] as [UInt8]).span) }
        }
        await onThread {
            writeAll(accepted, [1])
            shutdown(accepted, Int32(SHUT_WR))
        }
        #expect(await onThread { readAll(accepted, 3) } == [9, 9])
        await probe.wait(on: loop) { $0.isClosed }
        #expect(probe.error == nil)
        await loop.call { [probe] in probe.onReceive = nil }
        close(accepted)
        loop.stop()
    }

    @Test func reportsAResetWhileBytesWait() async {
        let (stream, accepted) = await connection()
        _ = await fill(stream)
        await onThread { [self] in reset(accepted) }
        await probe.wait(on: loop) { $0.isClosed }
        #expect(probe.error == .reset(code: ECONNRESET) || probe.error == .reset(code: EPIPE))
        #expect(await loop.call { stream.value.send(([1] as [UInt8]).span) } == 0)
        loop.stop()
    }

    /// The end of a peer that dies after it was told goodbye is no failure, unless bytes were lost.
    @Test func reportsAResetWhileItCloses() async {
        let (stream, accepted) = await connection()
        _ = await fill(stream)
        await loop.call { stream.value.close() }
        await onThread { [self] in reset(accepted) }
        await probe.wait(on: loop) { $0.isClosed }
        #expect(probe.error == .reset(code: ECONNRESET) || probe.error == .reset(code: EPIPE))
        loop.stop()
    }

    @Test func tellsWhenThereIsRoomAgain() async {
        let (stream, accepted) = await connection()
        var sent = await fill(stream)
        let before = await loop.call { [probe] in probe.writableCount }
        let first = sent.count
        #expect(await onThread { readAll(accepted, first) } == sent)
        await probe.wait(on: loop) { $0.writableCount > before }
        #expect(await loop.call { stream.value.send(([1, 2] as [UInt8]).span) } == 2)
        sent = await onThread { readAll(accepted, 2) }
        #expect(sent == [1, 2])
        await loop.call { stream.value.abort() }
        close(accepted)
        loop.stop()
    }

    @Test func offersTheRestWhenTheHandlerResumes() async {
        let (stream, accepted) = await connection()
        await loop.call { [probe] in probe.window = 3 }
        let bytes = Array(0...255) as [UInt8]
        await onThread { writeAll(accepted, bytes) }
        await probe.wait(on: loop) { $0.received.count == 3 }
        // A timer's turns pass, and nothing is offered.
        for _ in 0..<5 { await loop.call {} }
        let early = await loop.call { [probe] in probe.received }
        #expect(early == [0, 1, 2])
        for count in stride(from: 10, through: 250, by: 7) {
            await loop.call { [probe] in
                probe.window = count - probe.received.count
                stream.value.resumeReceiving()
                stream.value.resumeReceiving()
            }
            await probe.wait(on: loop) { $0.received.count == count }
        }
        await loop.call { [probe] in
            probe.window = .max
            stream.value.resumeReceiving()
        }
        await probe.wait(on: loop) { $0.received.count == 256 }
        #expect(probe.received == bytes)
        close(accepted)
        await probe.wait(on: loop) { $0.isClosed }
        loop.stop()
    }

    /// A handler that closes in the midst of taking is told the end, and nothing more.
    @Test(arguments: [false, true], [false, true])
    func endsWhenTheHandlerClosesWhileItTakes(aborts: Bool, isLeftOver: Bool) async {
        let (stream, accepted) = await connection()
        await loop.call { [probe] in
            probe.onReceive = { _ in aborts ? stream.value.abort() : stream.value.close() }
            probe.window = isLeftOver ? 0 : 2
        }
        if isLeftOver {
            await loop.call { [probe] in probe.onReceive = nil }
            await onThread { writeAll(accepted, [1, 2, 3, 4]) }
            await probe.wait(on: loop) { $0.offers > 0 }
            await loop.call { [probe] in
                probe.onReceive = { _ in aborts ? stream.value.abort() : stream.value.close() }
                probe.window = 2
                stream.value.resumeReceiving()
            }
        } else {
            await onThread { writeAll(accepted, [1, 2, 3, 4]) }
        }
        await probe.wait(on: loop) { $0.isClosed }
        #expect(probe.error == nil)
        #expect(probe.received == [1, 2])
        await loop.call { [probe] in probe.onReceive = nil }
        close(accepted)
        loop.stop()
    }
}
