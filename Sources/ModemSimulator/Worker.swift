internal import CLinux
internal import Kernel

/// The thread of a simulated modem: it moves bytes between the line and the sockets, and answers commands.
final class Worker: @unchecked Sendable {
    // @unchecked: everything but `shared` is touched by the worker's thread only.

    /// What other threads may change or see.
    struct Shared {
        var faults: Faults
        var statistics = ModemStatistics()
        var requests: [Request] = []
        var transcript: [String] = []
        var path = ""
    }

    enum Request { case wake, stop, unplug, plugIn, restart(hasBanner: Bool), closeLinks(hasNotice: Bool) }

    /// Where the bytes come from.
    enum Front {
        case pty
        case listener(Int32)
    }

    let shared: Guarded<Shared>
    let configuration: ModemSimulatorConfiguration
    let onLine: (@Sendable (String) -> Void)?
    private let front: Front
    private let wakeUp: Int32
    private(set) var line: Int32 = -1
    private var slave: Int32 = -1
    var dialect: Dialect
    var randomness: Randomness
    var faults: Faults
    private var input: [UInt8] = []
    /// What is to be written, and not before when.
    private var output: [(bytes: [UInt8], notBefore: Int64)] = []
    private var nextWrite: Int64 = 0
    /// A command is under way until then; others are answered `busy`.
    private var isStopping = false
    var commandCount = 0
    var resultCount = 0
    var sendCount = 0

    init(
        _ configuration: ModemSimulatorConfiguration,
        front: Front,
        onLine: (@Sendable (String) -> Void)?
    ) throws(ModemSimulatorError) {
        self.configuration = configuration
        self.front = front
        self.onLine = onLine
        faults = configuration.faults
        shared = Guarded(Shared(faults: configuration.faults))
        dialect = Dialect(generation: configuration.generation)
        randomness = Randomness(seed: configuration.seed)
        wakeUp = eventfd(0, Int32(EFD_CLOEXEC | EFD_NONBLOCK))
        if case .pty = front { try openPty() }
    }

    deinit {
        if case .listener(let descriptor) = front { close(descriptor) }
        close(wakeUp)
    }

    func request(_ request: Request) {
        shared.withLock { $0.requests.append(request) }
        eventfd_write(wakeUp, 1)
    }

    /// Opens a terminal in raw mode, so that nothing is echoed or translated.
    func openPty() throws(ModemSimulatorError) {
        var settings = termios()
        cfmakeraw(&settings)
        var path = [CChar](repeating: 0, count: 256)
        guard openpty(&line, &slave, &path, &settings, nil) == 0 else {
            throw ModemSimulatorError(description: "no pseudo terminal: \(String(cString: strerror(clinux_errno())))")
        }
        _ = clinux_set_nonblocking(line)
        _ = clinux_set_nonblocking(slave)
        let name = String(decoding: path.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        if let link = configuration.link {
            unlink(link)
            guard symlink(name, link) == 0 else {
                throw ModemSimulatorError(
                    description: "cannot make the link \(link): \(String(cString: strerror(clinux_errno())))"
                )
            }
        }
        shared.withLock { $0.path = name }
    }

    // MARK: The loop

    func run() {
        while !isStopping {
            wait()
            takeRequests()
            acceptHost()
            readLine()
            for link in dialect.links.indices { serveLink(link) }
            write()
        }
        for link in dialect.links.indices { closeLink(link) }
        closeLine()
        if let link = configuration.link { unlink(link) }
    }

    private func wait() {
        var watched: [pollfd] = [pollfd(fd: wakeUp, events: Int16(POLLIN), revents: 0)]
        if line >= 0, !faults.isDeaf, input.count < 65_536 {
            watched.append(pollfd(fd: line, events: Int16(POLLIN), revents: 0))
        }
        if line < 0, case .listener(let descriptor) = front {
            watched.append(pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0))
        }
        for case let link? in dialect.links where link.descriptor >= 0 {
            var events = 0
            if link.isConnecting || !link.outgoing.isEmpty { events |= Int(POLLOUT) }
            if !link.isConnecting, !link.hasEnded, link.buffer.count < Dialect.linkBufferBytes { events |= Int(POLLIN) }
            if events != 0 { watched.append(pollfd(fd: link.descriptor, events: Int16(events), revents: 0)) }
        }
        var timeout: Int32 = -1
        if let first = output.first {
            let due = max(first.notBefore, nextWrite) - clinux_monotonic_ns()
            timeout = due <= 0 ? 0 : Int32(min((due + 999_999) / 1_000_000, 1_000))
        }
        _ = poll(&watched, nfds_t(watched.count), timeout)
        var value: eventfd_t = 0
        eventfd_read(wakeUp, &value)
    }

    private func takeRequests() {
        let requests = shared.withLock { shared in
            faults = shared.faults
            defer { shared.requests = [] }
            return shared.requests
        }
        for request in requests {
            switch request {
            case .wake: break
            case .stop: isStopping = true
            case .unplug:
                closeLine()
                if let link = configuration.link { unlink(link) }
                // It has no power either.
                restart(hasBanner: false)
            case .plugIn: if line < 0, case .pty = front { try? openPty() }
            case .restart(let hasBanner): restart(hasBanner: hasBanner)
            case .closeLinks(let hasNotice):
                for index in dialect.links.indices where dialect.links[index] != nil {
                    closeLink(index)
                    if hasNotice { say("\(index),CLOSED\r\n") }
                }
            }
        }
    }

    func restart(hasBanner: Bool) {
        for link in dialect.links.indices { closeLink(link) }
        dialect = Dialect(generation: configuration.generation)
        output = []
        input = []
        if hasBanner { say([0x1C, 0xE2, 0x8F] + Array("rl\r\n\r\nready\r\n".utf8)) }
    }

    private func closeLine() {
        if line >= 0 { close(line) }
        if slave >= 0 { close(slave) }
        (line, slave) = (-1, -1)
        input = []
        output = []
    }

    private func acceptHost() {
        guard line < 0, case .listener(let descriptor) = front else { return }
        line = accept(descriptor, nil, nil)
        guard line >= 0 else { return }
        _ = clinux_set_nonblocking(line)
        // A serial line does not wait for more.
        var on: Int32 = 1
        setsockopt(line, Int32(IPPROTO_TCP), TCP_NODELAY, &on, 4)
    }

    // MARK: The line

    private func readLine() {
        guard line >= 0, !faults.isDeaf else { return }
        var chunk = [UInt8](repeating: 0, count: 8_192)
        let count = read(line, &chunk, chunk.count)
        if count > 0 {
            shared.withLock { $0.statistics.bytesIn += count }
            input += chunk[..<count]
        } else if count == 0, case .listener = front {
            // The host is gone; another may come.
            closeLine()
            return
        }
        takeInput()
    }

    private func takeInput() {
        while !input.isEmpty {
            if var payload = dialect.payload {
                let count = min(payload.left, input.count)
                payload.bytes += input[..<count]
                payload.left -= count
                input.removeFirst(count)
                dialect.payload = payload
                guard payload.left == 0 else { return }
                dialect.payload = nil
                finishSend(payload.link, payload.bytes)
                continue
            }
            guard let end = input.firstIndex(of: 0x0A) else {
                // No command is that long.
                if input.count > 1_024 { input = [] }
                return
            }
            var text = input[..<end]
            input.removeFirst(end - input.startIndex + 1)
            while text.last == 0x0D { text.removeLast() }
            guard !text.isEmpty else { continue }
            execute(String(decoding: text, as: UTF8.self))
        }
    }

    /// Sends `text` to the host.
    func say(_ text: String, afterMilliseconds delay: Int = 0) { say(Array(text.utf8), afterMilliseconds: delay) }

    func say(_ bytes: [UInt8], afterMilliseconds delay: Int = 0) {
        // What was said before goes out before.
        let earliest = max(clinux_monotonic_ns() + Int64(delay) * 1_000_000, output.last?.notBefore ?? 0)
        var rest = bytes[...]
        while !rest.isEmpty {
            let count =
                switch faults.pieces {
                case .whole: rest.count
                case .bytes: 1
                case .random: Int.random(in: 1...min(rest.count, 20), using: &randomness)
                }
            output.append((Array(rest.prefix(count)), earliest))
            rest = rest.dropFirst(count)
        }
        note("< ", bytes)
    }

    func note(_ direction: String, _ bytes: [UInt8]) {
        let text =
            direction
            + String(decoding: bytes.prefix(120), as: UTF8.self).split(
                whereSeparator: { $0.isNewline }).joined(separator: " | ")
        shared.withLock { shared in
            shared.transcript.append(text)
            if shared.transcript.count > 1_000 { shared.transcript.removeFirst(500) }
        }
        onLine?(text)
    }

    private func write() {
        while let first = output.first, line >= 0 {
            let now = clinux_monotonic_ns()
            guard max(first.notBefore, nextWrite) <= now else { return }
            let count = CLinux.write(line, first.bytes, first.bytes.count)
            guard count > 0 else {
                // Without a reader a real line loses what it carries; what waits here is bounded.
                if output.count > 65_536 { output.removeFirst(32_768) }
                if clinux_errno() != EAGAIN { output = [] }
                nextWrite = now + 1_000_000
                return
            }
            shared.withLock { $0.statistics.bytesOut += count }
            if configuration.baudRate > 0 {
                nextWrite = max(nextWrite, now) + Int64(count) * 10_000_000_000 / Int64(configuration.baudRate)
            }
            if count == first.bytes.count {
                output.removeFirst()
            } else {
                output[0].bytes.removeFirst(count)
            }
        }
    }
}
