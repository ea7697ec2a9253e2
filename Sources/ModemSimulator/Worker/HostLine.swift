internal import CLinux
internal import SAL

/// The modem's end of the serial line: a pseudo terminal, a TCP port that QEMU connects a UART to, or memory.
///
/// Output waits in a queue: until it is due, until the rate of the line permits, until the host reads. At the rate of the line bytes take
/// their time, and are there when it is over.
struct HostLine {
    /// What the host opens.
    enum Front {
        case pty
        case listener(Int32)
        case memory
    }

    /// What waits here without a reader before the oldest is lost, as on a real line.
    private static let maximumPieces = 65_536

    let front: Front
    private var baudRate: Int
    /// The rate that the modem was set to; without one it finds out the host's.
    private var ownRate: Int?
    private(set) var descriptor: Int32 = -1
    private var slave: Int32 = -1
    private var output: ArraySlice<(bytes: [UInt8], notBefore: Int64)> = []
    /// Under way to the host until ``outputDue``, and from it until ``inputDue``.
    private var leaving: ArraySlice<[UInt8]> = []
    private var outputDue: Int64 = 0
    private var arriving: [UInt8] = []
    private var inputDue: Int64 = 0
    /// Of a line in memory: what the host has sent, and what it is to be given, in pieces.
    var fromHost: [UInt8] = []
    var toHost: [[UInt8]] = []

    init(_ front: Front, baudRate: Int) {
        self.front = front
        self.baudRate = baudRate
    }

    /// The modem has been set to a rate, or to find out the host's.
    mutating func setRate(_ rate: Int?) {
        ownRate = rate
        // A line that takes its time takes that of the new rate.
        if let rate, baudRate > 0 { baudRate = rate }
    }

    /// At two rates each end hears nothing but noise.
    private func heard(_ bytes: [UInt8]) -> [UInt8] {
        guard case .pty = front, let ownRate, let rate = SerialSettings.baudRate(of: slave), rate != ownRate else {
            return bytes
        }
        return bytes.map { $0 &* 167 ^ 0x5A | 0x80 }
    }

    var isOpen: Bool { if case .memory = front { true } else { descriptor >= 0 } }
    var hasOutput: Bool { !output.isEmpty || !leaving.isEmpty }

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
        (arriving, fromHost, toHost) = ([], [], [])
        clear()
    }

    /// Forgets what was not written yet.
    mutating func clear() { (output, leaving) = ([], []) }

    /// The bytes that the line carries in 10 ms; all, if it has no rate.
    private var burst: Int { baudRate == 0 ? .max : max(1, baudRate / 1_000) }

    private func duration(of count: Int) -> Int64 {
        baudRate == 0 ? 0 : Int64(count) * 10_000_000_000 / Int64(baudRate)
    }

    /// Whether to look for bytes from the host: none are under way.
    var mayRead: Bool { isOpen && arriving.isEmpty }

    /// What the host has sent; `nil` if it is gone.
    mutating func read(at now: Int64) -> [UInt8]? {
        var bytes: [UInt8] = []
        while true {
            if !arriving.isEmpty {
                guard inputDue <= now else { return bytes }
                bytes += arriving
                arriving = []
            }
            guard let chunk = next(min(8_192, burst)) else { return bytes.isEmpty ? nil : bytes }
            guard !chunk.isEmpty, baudRate > 0 else { return bytes + chunk }
            inputDue = now + duration(of: chunk.count)
            arriving = chunk
        }
    }

    /// The next bytes from the host, at most `maximum`; `nil` if it is gone.
    private mutating func next(_ maximum: Int) -> [UInt8]? {
        if case .memory = front {
            let chunk = Array(fromHost.prefix(maximum))
            fromHost.removeFirst(chunk.count)
            return chunk
        }
        var chunk = [UInt8](repeating: 0, count: maximum)
        let count = CLinux.read(descriptor, &chunk, chunk.count)
        if count == 0, case .listener = front { return nil }
        return heard(Array(chunk[..<max(count, 0)]))
    }

    /// Queues `bytes`; what was queued before goes out before.
    mutating func enqueue(_ bytes: [UInt8], notBefore: Int64) {
        output.append((bytes, max(notBefore, output.last?.notBefore ?? 0)))
        if output.count > Self.maximumPieces { output = output.dropFirst(Self.maximumPieces / 2) }
    }

    /// Writes what is due; returns what went out.
    mutating func write(at now: Int64) -> [UInt8] {
        var written: [UInt8] = []
        while isOpen {
            if leaving.isEmpty {
                leave(at: now)
                if leaving.isEmpty { break }
            }
            guard outputDue <= now, let piece = leaving.first else { break }
            let count = put(piece)
            guard count > 0 else {
                // The host does not read; or it is gone.
                if clinux_errno() != EAGAIN { clear() }
                outputDue = now + 1_000_000
                break
            }
            written += piece[..<count]
            leaving = leaving.dropFirst()
            if count < piece.count { leaving.insert(Array(piece[count...]), at: leaving.startIndex) }
        }
        return written
    }

    /// Puts the pieces on the way that are due, as many bytes as go in 10 ms.
    private mutating func leave(at now: Int64) {
        var room = burst
        while room > 0, let first = output.first, first.notBefore <= now {
            let piece = Array(first.bytes.prefix(room))
            room -= piece.count
            leaving.append(piece)
            if piece.count == first.bytes.count {
                output = output.dropFirst()
            } else {
                output[output.startIndex].bytes.removeFirst(piece.count)
            }
        }
        outputDue = now + (baudRate == 0 ? 0 : duration(of: burst - room))
    }

    private mutating func put(_ bytes: [UInt8]) -> Int {
        switch front {
        case .pty: return CLinux.write(descriptor, heard(bytes), bytes.count)
        // A host that is gone is no reason to end.
        case .listener: return send(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL))
        case .memory:
            toHost.append(bytes)
            return bytes.count
        }
    }

    /// When there is something to write, or `nil`.
    var outputDeadline: Int64? { isOpen ? leaving.isEmpty ? output.first?.notBefore : outputDue : nil }

    /// When what is under way from the host is there, or `nil`.
    var inputDeadline: Int64? { isOpen && !arriving.isEmpty ? inputDue : nil }
}
