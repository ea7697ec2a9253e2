import CLinux
import Kernel
import Testing

/// Runs `body`, which waits, on a thread of its own: those of Swift concurrency are few, and tests need them.
func offPool(_ body: @escaping @Sendable () throws -> Void) async throws {
    let loop = EventLoop.start()
    defer { loop.stop() }
    let result: Result<Void, any Error> = await withCheckedContinuation { continuation in
        loop.execute { continuation.resume(returning: Result { try body() }) }
    }
    try result.get()
}

@Suite(.timeLimit(.minutes(1))) struct BootTests {
    /// The other end of the second UART.
    enum Line: CaseIterable { case socket, terminal }

    @Test(arguments: Line.allCases)
    func helloChecksTheBoardAndEchoes64KiBWithoutLoss(line: Line) async throws {
        try await offPool {
            let peer = try Peer(line)
            let machine = try Machine("hello", second: peer.name)
            try peer.accept(machine)
            try machine.wait(for: "hmac=ok\n")
            let heap = try #require(Int(try Self.value("heap", machine)))
            #expect(heap > 16_384 && heap <= 32_768)
            #expect(try #require(Int(try Self.value("tick", machine))) >= 10)
            // Every byte value, at every offset within the FIFOs, and never the same 64 bytes twice.
            let sent = (0..<65_536).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8) }
            #expect(try peer.exchange(sent) == sent)
            try machine.wait(for: "echoed=65536 overrun=no\n")
            #expect(machine.wait() == 0)
        }
    }

    @Test(arguments: [
        ("trap", "pc="), ("access", "pc="), ("memory", "pc="), ("stack", "stack-overflow"),
    ])
    func aFaultSaysWhereItWasAndEndsTheImage(order: String, reason: String) async throws {
        try await offPool {
            let machine = try Machine("faults")
            try machine.wait(for: "ready\n")
            machine.type(order)
            try machine.wait(for: "fault=")
            try machine.wait(for: reason)
            #expect(machine.wait() == 1)
        }
    }

    @Test func anImageThatEndsWellSaysSo() async throws {
        try await offPool {
            let machine = try Machine("faults")
            try machine.wait(for: "ready\n")
            machine.type("nothing")
            #expect(machine.wait() == 0)
        }
    }

    private static func value(_ name: String, _ machine: Machine) throws -> String {
        try machine.wait(for: "\(name)=")
        return try machine.wait(for: "\n")
    }
}

/// A peer on the second UART.
private final class Peer {
    /// What the script calls it.
    let name: String
    private var descriptor: Int32
    /// The terminal's other end, kept open so that nothing is lost before QEMU has it.
    private let other: Int32?
    private let path: String?

    init(_ line: BootTests.Line) throws {
        switch line {
        case .terminal:
            // QEMU opens the other end by its name.
            var other: Int32 = 0
            descriptor = 0
            var settings = termios()
            cfmakeraw(&settings)
            var name = [CChar](repeating: 0, count: 64)
            try #require(openpty(&descriptor, &other, &name, &settings, nil) == 0)
            self.name = String(decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
            self.other = other
            path = nil
        case .socket:
            let path = "/tmp/apus-firmware-\(getpid()).sock"
            unlink(path)
            let listener = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
            descriptor = listener
            var address = sockaddr_un()
            address.sun_family = sa_family_t(AF_UNIX)
            withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
            let size = socklen_t(MemoryLayout<sockaddr_un>.size)
            let isListening = withUnsafePointer(to: &address) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(listener, $0, size) == 0 }
            }
            try #require(isListening && listen(listener, 1) == 0)
            name = "unix:\(path)"
            self.path = path
            other = nil
        }
        _ = clinux_set_nonblocking(descriptor)
    }

    deinit {
        close(descriptor)
        if let other { close(other) }
        if let path { unlink(path) }
    }

    /// Waits for the machine to connect, where there is something to connect to.
    func accept(_ machine: Machine) throws {
        guard path != nil else { return }
        try #require(isReady(POLLIN), "QEMU does not connect")
        let connection = CLinux.accept(descriptor, nil, nil)
        try #require(connection >= 0)
        close(descriptor)
        descriptor = connection
        _ = clinux_set_nonblocking(descriptor)
    }

    /// Sends `bytes`, and returns as many as come back within the time.
    func exchange(_ bytes: [UInt8]) throws -> [UInt8] {
        var sent = 0
        var received: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 4_096)
        while received.count < bytes.count, isReady(sent < bytes.count ? POLLIN | POLLOUT : POLLIN) {
            if sent < bytes.count {
                let count = bytes[sent...].withUnsafeBytes { write(descriptor, $0.baseAddress, min($0.count, 4_096)) }
                sent += max(count, 0)
            }
            let count = read(descriptor, &buffer, buffer.count)
            received += buffer[..<max(count, 0)]
        }
        return received
    }

    private func isReady(_ events: Int32) -> Bool {
        var poller = pollfd(fd: descriptor, events: Int16(events), revents: 0)
        return poll(&poller, 1, 20_000) > 0
    }
}
