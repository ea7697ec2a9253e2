import CLinux
import Kernel
import SAL
import Testing

/// Serial ports over pseudo-terminals of the system.
@Suite(.timeLimit(.minutes(1))) struct SerialPortTests {
    let loop = EventLoop.start()
    let probe = Probe()
    private let terminal = Terminal()

    /// The end of the line where a modem would be, and the name of the other end.
    private final class Terminal: Sendable {
        let descriptor: Int32
        let path: String

        init() {
            var (master, slave): (Int32, Int32) = (-1, -1)
            var name = [CChar](repeating: 0, count: 128)
            openpty(&master, &slave, &name, nil, nil)
            // Closed, so that ours is the only user; the master stays.
            close(slave)
            _ = clinux_set_close_on_exec(master)
            descriptor = master
            path = String(decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        }
    }

    private func open(_ path: String, baudRate: Int? = nil) async throws(SocketError) -> LoopBox<any ByteStream> {
        let result: Result<LoopBox<any ByteStream>, SocketError> = await loop.call { [loop, probe] in
            Result { () throws(SocketError) in
                let stream = try SerialPort.open(path: path, settings: SerialSettings(baudRate: baudRate), loop: loop)
                stream.handler = probe
                return LoopBox(stream)
            }
        }
        return try result.get()
    }

    @Test(arguments: [nil, 9_600, 115_200, 921_600]) func carriesAllBytesBothWays(baudRate: Int?) async throws {
        let stream = try await open(terminal.path, baudRate: baudRate)
        // Control characters, line ends and XON/XOFF among them: nothing is translated or echoed.
        let bytes = Array(0...255) as [UInt8]
        #expect(await loop.call { stream.value.send(bytes.span) } == 256)
        let line = terminal.descriptor
        #expect(await onThread { readAll(line, 256) } == bytes)
        await onThread { _ = write(line, bytes, bytes.count) }
        await probe.wait(on: loop) { $0.received.count == 256 }
        #expect(probe.received == bytes)
        await loop.call { stream.value.close() }
        await probe.wait(on: loop) { $0.isClosed }
        #expect(probe.error == nil)
        close(line)
        loop.stop()
    }

    @Test func reportsThatTheDeviceWasUnplugged() async throws {
        let stream = try await open(terminal.path)
        let line = terminal.descriptor
        await onThread { _ = write(line, [1, 2, 3] as [UInt8], 3) }
        await probe.wait(on: loop) { $0.received == [1, 2, 3] }
        close(line)
        await probe.wait(on: loop) { $0.isClosed }
        #expect(probe.error == .deviceRestarted)
        #expect(await loop.call { stream.value.send(([1] as [UInt8]).span) } == 0)
        loop.stop()
    }

    @Test func reportsThatTheDeviceWasUnpluggedWhileBytesWait() async throws {
        let stream = try await open(terminal.path)
        let bytes = [UInt8](repeating: 5, count: 65_536)
        var stalls = 0
        while stalls < 10 { if await loop.call({ stream.value.send(bytes.span) }) == 0 { stalls += 1 } }
        close(terminal.descriptor)
        await probe.wait(on: loop) { $0.isClosed }
        #expect(probe.error == .deviceRestarted)
        loop.stop()
    }

    @Test func waitsForADeviceThatTakesNothing() async throws {
        let stream = try await open(terminal.path)
        var sent: [UInt8] = []
        var stalls = 0
        while stalls < 10 {
            let chunk = (0..<10_000).map { UInt8(truncatingIfNeeded: $0 &* 3 &+ sent.count >> 8) }
            let count = await loop.call { stream.value.send(chunk.span) }
            sent += chunk[..<count]
            stalls = count == 0 ? stalls + 1 : 0
        }
        let (line, total) = (terminal.descriptor, sent.count)
        #expect(await onThread { readAll(line, total) } == sent)
        await probe.wait(on: loop) { $0.writableCount > 0 }
        await loop.call { stream.value.close() }
        await probe.wait(on: loop) { $0.isClosed }
        close(line)
        loop.stop()
    }

    @Test func refusesWhatIsNoTerminalOrNoRate() async throws {
        let path = terminal.path
        await #expect(throws: SocketError.other(code: ENOENT)) { _ = try await open("/dev/no-such-terminal") }
        await #expect(throws: SocketError.other(code: ENOTTY)) { _ = try await open("/dev/null") }
        await #expect(throws: SocketError.other(code: EINVAL)) { _ = try await open(path, baudRate: 12_345) }
        close(terminal.descriptor)
        loop.stop()
    }
}
