internal import CLinux

/// The modem's end of the serial line: a pseudo terminal, or a TCP port that QEMU connects a UART to.
///
/// Output waits in a queue: until it is due, until the rate of the line permits, until the host reads.
struct HostLine {
    /// What the host opens.
    enum Front {
        case pty
        case listener(Int32)
    }

    /// What waits here without a reader before the oldest is lost, as on a real line.
    private static let maximumPieces = 65_536

    let front: Front
    private let baudRate: Int
    private(set) var descriptor: Int32 = -1
    private var slave: Int32 = -1
    private var output: ArraySlice<(bytes: [UInt8], notBefore: Int64)> = []
    private var nextWrite: Int64 = 0
    private var nextRead: Int64 = 0

    init(_ front: Front, baudRate: Int) {
        self.front = front
        self.baudRate = baudRate
    }

    var isOpen: Bool { descriptor >= 0 }
    var hasOutput: Bool { !output.isEmpty }

    /// Opens a terminal in raw mode, so that nothing is echoed or translated; returns its path.
    mutating func openTerminal() throws(ModemSimulatorError) -> String {
        var settings = termios()
        cfmakeraw(&settings)
        var path = [CChar](repeating: 0, count: 256)
        guard openpty(&descriptor, &slave, &path, &settings, nil) == 0 else {
            throw ModemSimulatorError(description: "no pseudo terminal: \(String(cString: strerror(clinux_errno())))")
        }
        _ = clinux_set_nonblocking(descriptor)
        _ = clinux_set_nonblocking(slave)
        return String(decoding: path.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// Takes the host that knocks at the port, unless there is one.
    mutating func acceptHost() {
        guard !isOpen, case .listener(let listener) = front else { return }
        descriptor = accept(listener, nil, nil)
        guard isOpen else { return }
        _ = clinux_set_nonblocking(descriptor)
        // A serial line does not wait for more.
        var on: Int32 = 1
        setsockopt(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &on, 4)
    }

    mutating func closeDown() {
        if descriptor >= 0 { close(descriptor) }
        if slave >= 0 { close(slave) }
        (descriptor, slave) = (-1, -1)
        output = []
    }

    /// Forgets what was not written yet.
    mutating func clear() { output = [] }

    /// The bytes that the line carries in 10 ms; all, if it has no rate.
    private var burst: Int { baudRate == 0 ? .max : max(1, baudRate / 1_000) }

    private func duration(of count: Int) -> Int64 {
        baudRate == 0 ? 0 : Int64(count) * 10_000_000_000 / Int64(baudRate)
    }

    /// Whether the rate of the line lets bytes in already.
    func mayRead(at now: Int64) -> Bool { isOpen && nextRead <= now }

    /// What the host has sent; `nil` if it is gone.
    mutating func read(at now: Int64) -> [UInt8]? {
        guard mayRead(at: now) else { return [] }
        var chunk = [UInt8](repeating: 0, count: min(8_192, burst))
        let count = CLinux.read(descriptor, &chunk, chunk.count)
        if count == 0, case .listener = front { return nil }
        guard count > 0 else { return [] }
        nextRead = now + duration(of: count)
        return Array(chunk[..<count])
    }

    /// Queues `bytes`; what was queued before goes out before.
    mutating func enqueue(_ bytes: [UInt8], notBefore: Int64) {
        output.append((bytes, max(notBefore, output.last?.notBefore ?? 0)))
        if output.count > Self.maximumPieces { output = output.dropFirst(Self.maximumPieces / 2) }
    }

    /// Writes what is due; returns what went out.
    mutating func write(at now: Int64) -> [UInt8] {
        var written: [UInt8] = []
        while let first = output.first, isOpen, max(first.notBefore, nextWrite) <= now {
            let count = put(first.bytes, min(first.bytes.count, burst))
            guard count > 0 else {
                if clinux_errno() != EAGAIN { output = [] }
                nextWrite = now + 1_000_000
                break
            }
            written += first.bytes[..<count]
            nextWrite = max(nextWrite, now) + duration(of: count)
            if count == first.bytes.count {
                output = output.dropFirst()
            } else {
                output[output.startIndex].bytes.removeFirst(count)
            }
        }
        return written
    }

    private func put(_ bytes: [UInt8], _ count: Int) -> Int {
        guard case .listener = front else { return CLinux.write(descriptor, bytes, count) }
        // A host that is gone is no reason to end.
        return send(descriptor, bytes, count, Int32(MSG_NOSIGNAL))
    }

    /// When there is something to do without an event, or `nil`.
    func deadline(at now: Int64) -> Int64? {
        guard isOpen else { return nil }
        let write = output.first.map { max($0.notBefore, nextWrite) }
        guard nextRead > now else { return write }
        return min(nextRead, write ?? .max)
    }
}
