internal import CLinux
internal import Kernel

/// What a simulated modem does in turns, each at a time that it is told: it moves bytes between the line, the sockets and the dialect, which
/// knows what they mean. A thread runs it, or an event loop.
final class Worker: @unchecked Sendable {
    // @unchecked: everything but `shared` is touched by the worker's thread, or on its loop, only.

    /// What other threads may change or see.
    struct Shared {
        var faults: Faults
        var statistics = ModemStatistics()
        var requests: [Request] = []
        var transcript: [String] = []
        var path = ""
        var playback: ModemPlayback?
        var hasEnded = false
    }

    enum Request {
        case wake, stop, unplug, plugIn, loseContext
        case restart(hasBanner: Bool)
        case closeLinks(hasNotice: Bool)
        case resolved(lookup: Int, [UInt32])
        case uplink(Int, Uplink.Event)
        case loseMQTT(hasNotice: Bool)
    }

    let shared: Guarded<Shared>
    let configuration: ModemSimulatorConfiguration
    private let onLine: (@Sendable (String) -> Void)?
    /// Called, on any thread, when there is something in ``Shared/requests``.
    private let wake: @Sendable () -> Void
    private let carrier: any Carrier
    var line: HostLine
    private(set) var sockets: Sockets
    lazy var dialect = makeDialect(channel: 1)
    var multiplexer: Multiplexer?
    /// What answers on channels beside the first, and who has opened a link, where that is one of them.
    var others: [Int: any Dialect] = [:]
    var owners: [Int: Int] = [:]
    var channelInput: [Int: [UInt8]] = [:]
    private var recorder: Recorder?
    var randomness: Randomness
    private(set) var faults: Faults
    var input: [UInt8] = []
    private var timers: [(due: Int64, body: () -> Void)] = []
    private var lookups: [Int: ([UInt32]) -> Void] = [:]
    private var lookupCount = 0
    private var uplinks: [Int: (Uplink.Event) -> Void] = [:]
    private var uplinkCount = 0
    private var deafUntil: Int64 = 0
    /// After so long a silence, in nanoseconds, it sleeps, and loses what wakes it.
    private var sleepsAfter: Int64?
    private var lastTraffic: Int64 = 0
    private var bytesOut = 0
    private var occasions: [KeyPath<Faults, Int>: Int] = [:]
    private(set) var isStopping = false
    /// The time of the turn, in nanoseconds.
    private(set) var now: Int64

    init(
        _ configuration: ModemSimulatorConfiguration,
        front: HostLine.Front,
        carrier: any Carrier,
        at now: Int64,
        onLine: (@Sendable (String) -> Void)?,
        wake: @escaping @Sendable () -> Void
    ) throws(ModemSimulatorError) {
        self.configuration = configuration
        self.carrier = carrier
        self.now = now
        self.onLine = onLine
        self.wake = wake
        faults = configuration.faults
        let playback = configuration.playing.map { ModemPlayback.playing(line: $0.lines.first ?? 1) }
        shared = Guarded(Shared(faults: configuration.faults, playback: playback))
        randomness = Randomness(seed: configuration.seed)
        line = HostLine(front, baudRate: configuration.baudRate)
        sockets = Sockets(count: configuration.dialect.linkCount, carrier: carrier)
        if let path = configuration.recording { recorder = try Recorder(path) }
        line.setRate(configuration.lineRate)
        if case .pty = front { try openTerminal() }
    }

    deinit { if case .listener(let descriptor) = line.front { close(descriptor) } }

    func makeDialect(channel: Int) -> any Dialect {
        if let transcript = configuration.playing { return Player(transcript, worker: self) }
        let modem = configuration.dialect.makeModem(self)
        (modem as? CommandModem)?.channel = channel
        return modem
    }

    private func openTerminal() throws(ModemSimulatorError) {
        let name = try line.openTerminal()
        if let link = configuration.link {
            unlink(link)
            guard symlink(name, link) == 0 else {
                let reason = String(cString: strerror(clinux_errno()))
                throw ModemSimulatorError(description: "cannot make the link \(link): \(reason)")
            }
        }
        shared.withLock { $0.path = name }
    }

    /// Asks for something from any thread.
    func request(_ request: Request) {
        shared.withLock { $0.requests.append(request) }
        wake()
    }

    // MARK: Turns

    /// Starts, as after power has come.
    func start() { dialect.powerUp(hasBanner: configuration.announcesPowerUp) }

    /// Does what is due at `now`.
    func turn(at now: Int64) {
        self.now = now
        takeRequests()
        fireTimers()
        // What has arrived before a command is there for it.
        for link in sockets.used { sockets.serve(link) }
        line.acceptHost()
        readLine()
        takeInput()
        for link in sockets.used { (owners[link].flatMap { others[$0] } ?? dialect).serve(link) }
        // A link may have ended a command that others wait for.
        takeInput()
        writeLine()
    }

    /// Lets everything go.
    func end() {
        dialect.powerDown()
        sockets.closeAll()
        line.closeDown()
        recorder?.end()
        if let link = configuration.link { unlink(link) }
        shared.withLock { $0.hasEnded = true }
    }

    /// When there is something to do without an event, or `nil`.
    var deadline: Int64? {
        let wakesUp = deafUntil > now && deafUntil < .max
        let dues = [line.outputDeadline, timers.first?.due, sockets.deadline, wakesUp ? deafUntil : nil]
        return (dues + [isDeaf ? nil : line.inputDeadline]).compactMap(\.self).min()
    }

    /// Whether it would take bytes of the host now.
    var readsLine: Bool { line.mayRead && !isDeaf && input.count < 65_536 }

    private var isDeaf: Bool { faults.isDeaf || deafUntil > now }

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
                line.closeDown()
                if let link = configuration.link { unlink(link) }
                // It has no power either.
                restart(hasBanner: false)
            case .plugIn: if !line.isOpen, case .pty = line.front { try? openTerminal() }
            case .loseContext: dialect.loseContext()
            case .restart(let hasBanner): restart(hasBanner: hasBanner)
            case .closeLinks(let hasNotice):
                for link in sockets.used { dialect.breakLink(link, hasNotice: hasNotice) }
            case .resolved(let lookup, let addresses): lookups.removeValue(forKey: lookup)?(addresses)
            case .uplink(let uplink, let event): uplinks[uplink]?(event)
            case .loseMQTT(let hasNotice): dialect.loseMQTT(hasNotice: hasNotice)
            }
        }
    }

    /// Starts anew: what it was told and its links are gone.
    func restart(hasBanner: Bool) {
        sockets.closeAll()
        timers = []
        lookups = [:]
        uplinks = [:]
        line.clear()
        input = []
        sleepsAfter = nil
        line.setRate(configuration.lineRate)
        endChannels()
        dialect.powerDown()
        dialect = makeDialect(channel: 1)
        deafUntil = now + Int64(configuration.bootMilliseconds) * 1_000_000
        dialect.powerUp(hasBanner: hasBanner)
    }

    /// Neither hears nor answers for a while.
    func goDeaf(milliseconds: Int) { deafUntil = now + Int64(milliseconds) * 1_000_000 }

    /// From now on the line has this rate, in bits per second, or that which the host has.
    func setRate(_ rate: Int?) { afterOutput { [self] in line.setRate(rate) } }

    /// From now on it may sleep after 5 s without a byte on the line, or may not.
    func setSleep(_ isAllowed: Bool) { sleepsAfter = isAllowed ? 5_000_000_000 : nil }

    /// Neither hears nor answers any more.
    func powerOff() { deafUntil = .max }

    private func readLine() {
        guard line.isOpen, !isDeaf else { return }
        guard let bytes = line.read(at: now) else {
            // The host is gone; another may come.
            line.closeDown()
            input = []
            endChannels()
            return
        }
        guard !bytes.isEmpty else { return }
        shared.withLock { $0.statistics.bytesIn += bytes.count }
        recorder?.note(.host, bytes, at: now)
        defer { lastTraffic = now }
        if let sleepsAfter, now - lastTraffic >= sleepsAfter { return shared.withLock { $0.statistics.wakeUps += 1 } }
        input += bytes
    }

    private func takeInput() {
        guard !isDeaf else { return }
        let bytes = input
        input = []
        if let multiplexer {
            let left = multiplexer.receive(bytes)
            for channel in channelInput.keys.sorted() {
                guard let receiver = channel == 1 ? dialect : others[channel] else { continue }
                let bytes = channelInput[channel, default: []]
                channelInput[channel] = []
                let left = give(bytes, to: receiver)
                if self.multiplexer === multiplexer, !left.isEmpty { channelInput[channel] = left }
            }
            if self.multiplexer == nil, !left.isEmpty { input = give(left, to: dialect) }
        } else {
            input = give(bytes, to: dialect)
        }
    }

    /// Returns what is not taken yet.
    private func give(_ bytes: [UInt8], to receiver: any Dialect) -> [UInt8] {
        guard !bytes.isEmpty else { return [] }
        let first = dialect
        var left = bytes
        receiver.receive(&left)
        // A restart has forgotten what came before it.
        return first === dialect ? left : []
    }

    private func writeLine() {
        let bytes = line.write(at: now)
        guard !bytes.isEmpty else { return }
        lastTraffic = now
        shared.withLock { $0.statistics.bytesOut += bytes.count }
        recorder?.note(.modem, bytes, at: now)
    }

    private func fireTimers() {
        while let first = timers.first, first.due <= now {
            timers.removeFirst()
            first.body()
        }
    }

    // MARK: What dialects call

    /// Calls `body` later.
    func after(milliseconds: Int, _ body: @escaping () -> Void) {
        let due = now + Int64(milliseconds) * 1_000_000
        timers.insert((due, body), at: timers.firstIndex { $0.due > due } ?? timers.endIndex)
    }

    /// Calls `body` once all that was said is on the line.
    func afterOutput(_ body: @escaping () -> Void) {
        after(milliseconds: 5) { [self] in line.hasOutput ? afterOutput(body) : body() }
    }

    /// Looks a name or a dotted address up.
    func resolve(_ name: String, _ body: @escaping ([UInt32]) -> Void) {
        if let peer = Peer(numeric: name, port: 0) { return body([peer.address]) }
        lookupCount += 1
        let lookup = lookupCount
        lookups[lookup] = body
        carrier.resolve(name) { self.request(.resolved(lookup: lookup, $0)) }
    }

    /// Makes an MQTT connection; `body` is called on this thread with what happens to it.
    func openUplink(_ target: Uplink.Target, _ body: @escaping (Uplink.Event) -> Void) -> Uplink? {
        uplinkCount += 1
        let number = uplinkCount
        let uplink = Uplink(target) { [weak self] event in self?.request(.uplink(number, event)) }
        if uplink != nil { uplinks[number] = body }
        return uplink
    }

    /// Says `bytes` to the host on a channel, of which a line without frames has just the first.
    func send(_ bytes: [UInt8], on channel: Int = 1, afterMilliseconds delay: Int = 0) {
        if let multiplexer {
            multiplexer.send(bytes, on: channel, afterMilliseconds: delay)
        } else if channel == 1 {
            transmit(bytes, afterMilliseconds: delay)
        }
        note("< ", bytes)
    }

    /// Sends `bytes` to the host, cut as the faults say, after what was sent before.
    func transmit(_ bytes: [UInt8], afterMilliseconds delay: Int) {
        let earliest = now + Int64(delay) * 1_000_000
        var rest = bytes[...]
        while !rest.isEmpty {
            let count =
                switch faults.pieces {
                case .whole: rest.count
                case .bytes: 1
                case .random: Int.random(in: 1...min(rest.count, 20), using: &randomness)
                }
            line.enqueue(corrupted(rest.prefix(count)), notBefore: earliest)
            rest = rest.dropFirst(count)
        }
    }

    private func corrupted(_ bytes: ArraySlice<UInt8>) -> [UInt8] {
        guard faults.corruptsByteEvery > 0 else { return Array(bytes) }
        return bytes.map { byte in
            bytesOut += 1
            guard bytesOut % faults.corruptsByteEvery == 0 else { return byte }
            return byte ^ (1 << UInt8.random(in: 0..<8, using: &randomness))
        }
    }

    /// Whether this occasion is one of those that a fault of the kind "every n-th" picks.
    func happens(_ fault: KeyPath<Faults, Int>) -> Bool {
        let period = faults[keyPath: fault]
        guard period > 0 else { return false }
        occasions[fault, default: 0] += 1
        return occasions[fault, default: 0] % period == 0
    }

    /// Counts something that has happened.
    func count(_ what: WritableKeyPath<ModemStatistics, Int>) { shared.withLock { $0.statistics[keyPath: what] += 1 } }

    /// Tells how far a transcript has been played.
    func report(_ playback: ModemPlayback) { shared.withLock { $0.playback = playback } }

    /// Writes a line into the transcript that users see.
    func note(_ direction: String, _ bytes: [UInt8]) {
        let lines = String(decoding: bytes.prefix(120), as: UTF8.self).split(whereSeparator: \.isNewline)
        let text = direction + TencentFirmware.masked(lines.joined(separator: " | "))
        shared.withLock { shared in
            shared.transcript.append(text)
            if shared.transcript.count > 1_000 { shared.transcript.removeFirst(500) }
        }
        onLine?(text)
    }
}
