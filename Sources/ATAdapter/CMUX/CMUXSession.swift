internal import Kernel
internal import SAL

/// The host's side of the multiplexer (3GPP 27.010, 5.3 and 5.4) as a struct that is given bytes and time.
///
/// Channel 0 is for control, and opened first. After each call send what ``outgoing`` holds and set a timer for ``deadline``.
struct CMUXSession: ~Copyable {
    enum Event: Equatable {
        /// Channel 0 is open: others can be opened.
        case started
        case opened(Int)
        /// Channel closed, or never opened: `nil` as it was asked for, or by the modem.
        case closed(Int, SocketError?)
        /// Information for a channel; see ``withInformation(_:)``.
        case data(Int)
        /// The modem takes data again.
        case writable
        case ended(End)
    }

    /// Why there is no multiplexer any more.
    enum End: Equatable {
        /// It was told to end, by this side or by the modem.
        case closed
        /// The modem sends back what it is sent, as it does with commands: it has restarted.
        case echo
        case unresponsive
    }

    enum State: UInt8 { case closed, opening, open, closing }

    struct Channel {
        var state = State.closed
        /// The modem takes nothing on it; it was told to send nothing.
        var isStopped = false
        var stopsModem = false
        /// How often the command that waits for its answer was sent, and when it is sent again.
        var tries: UInt8 = 0
        var repeatsAt = CMUXSession.never
    }

    static var never: Duration { .seconds(1 << 30) }
    /// The highest channel; 62 and 63 look like flags.
    static var lastChannel: Int { 61 }
    /// How long an answer may take before its command is sent again, in milliseconds, and how often it is: some modems take seconds at first.
    static var answerTime: Int { 500 }
    static var openTries: UInt8 { 10 }
    static var closeTries: UInt8 { 3 }
    /// How often a modem is asked whether it is still there, in milliseconds, while it is sent something.
    private static var checkTime: Int { 5_000 }
    /// What no modem would test with.
    static let pattern: [UInt8] = [0x41, 0x70, 0x75, 0x73]

    var channels: [Channel]
    var decoder: CMUXDecoder
    /// The bytes to send.
    var outgoing = ByteQueue(keeping: 256)
    /// The most information of a frame that is sent.
    let frameBytes: Int
    /// The modem takes nothing on any channel (FCoff).
    var isStopped = false
    var isOver = false
    var now: Duration
    var heardAt: Duration
    private var knownNoise = 0
    /// How often the test under way was sent, and when it is again; when the next one begins, and whether it has to.
    var testTries: UInt8 = 0
    var testsAt = CMUXSession.never
    var testBeganAt = Duration.zero
    private var mustTest = false
    var abandonsAt = CMUXSession.never
    var counters = MultiplexerCounters()

    /// A session with the channels up to `channels`; it begins by opening channel 0.
    init(
        _ option: MultiplexerOption,
        channels: Int,
        frameBytes: Int,
        receivedFrameBytes: Int,
        at now: Duration
    ) {
        self.channels = Array(repeating: Channel(), count: min(channels, Self.lastChannel) + 1)
        self.frameBytes = frameBytes
        decoder = CMUXDecoder(option, maximumBytes: receivedFrameBytes)
        self.now = now
        heardAt = now
        open(0, at: now)
    }

    /// When to call ``handleTimeout(at:)``.
    var deadline: Duration {
        if isOver { return Self.never }
        var first = min(testsAt, abandonsAt)
        for channel in channels { first = min(first, channel.repeatsAt) }
        return first
    }

    // MARK: Requests

    /// Opens a channel.
    mutating func open(_ number: Int, at now: Duration) {
        self.now = now
        channels[number] = Channel(state: .opening)
        sendPending(number)
    }

    /// Closes a channel; ``Event/closed(_:_:)`` follows.
    mutating func close(_ number: Int, at now: Duration) {
        self.now = now
        channels[number] = Channel(state: .closing)
        sendPending(number)
    }

    /// Ends the multiplexer: the line is plain again (5.4.6.3.3).
    mutating func shutDown(at now: Duration) { close(0, at: now) }

    /// Whether there is room for another frame on the line.
    var hasRoom: Bool { outgoing.count <= frameBytes }

    /// Sends what fits into one frame; returns how much that is.
    mutating func send(_ bytes: Span<UInt8>, on number: Int, at now: Duration) -> Int {
        self.now = now
        guard channels[number].state == .open, hasRoom else { return 0 }
        if testTries == 0, testsAt == Self.never { testsAt = now + .milliseconds(Self.checkTime) }
        if channels[number].isStopped || isStopped { return 0 }
        let count = min(bytes.count, frameBytes)
        put(CMUXFrame(.uih, channel: number), bytes.extracting(first: count))
        return count
    }

    /// Has the modem stop sending on a channel, or go on.
    mutating func setStopped(_ isStopped: Bool, _ number: Int, at now: Duration) {
        self.now = now
        guard channels[number].state == .open, channels[number].stopsModem != isStopped else { return }
        channels[number].stopsModem = isStopped
        startStatus(number)
    }

    /// Asks the modem whether it is still there.
    mutating func test(at now: Duration) {
        self.now = now
        guard testTries == 0, channels[0].state == .open else { return }
        testBeganAt = now
        sendTest()
        // All modems answer a status, but not all a test. And one may have forgotten that it stopped a channel.
        for number in channels.indices.dropFirst() where channels[number].state == .open { startStatus(number) }
    }

    // MARK: Input

    /// Calls `body` with the information of the frame of ``Event/data(_:)``.
    func withInformation<Result>(_ body: (Span<UInt8>) -> Result) -> Result { decoder.withInformation(body) }

    /// Takes bytes that arrived, from `position` on, up to the next event; `nil` when all are taken.
    mutating func receive(_ bytes: Span<UInt8>, from position: inout Int, at now: Duration) -> Event? {
        self.now = now
        while let frame = decoder.receive(bytes, from: &position) {
            if isOver { continue }
            if let event = handle(frame) { return event }
        }
        count()
        abandonsAt = decoder.isInside ? now + .milliseconds(Self.answerTime) : Self.never
        // Text between frames may be that of a modem that has restarted.
        if decoder.noise - knownNoise > 3 {
            knownNoise = decoder.noise
            test(at: now)
        }
        return nil
    }

    mutating func count() {
        counters.frames = decoder.frames
        counters.damagedFrames = decoder.damaged
        counters.noiseBytes = decoder.noise
    }

    mutating func handle(_ frame: CMUXFrame) -> Event? {
        guard frame.channel < channels.count else {
            if frame.isPolling, frame.control == .sabm || frame.control == .disc { answer(.dm, frame.channel) }
            return nil
        }
        heardAt = now
        let state = channels[frame.channel].state
        switch frame.control {
        case .ua: return acknowledged(frame.channel)
        case .dm:
            switch state {
            case .opening: return ended(frame.channel, .refused(code: 0))
            // Some modems have closed it before they are asked to.
            case .open, .closing: return ended(frame.channel, nil)
            case .closed: return nil
            }
        case .sabm:
            switch state {
            // Some modems answer so; but those that have restarted echo it.
            case .opening where frame.channel > 0:
                answer(.ua, frame.channel)
                return acknowledged(frame.channel)
            case .open: answer(.ua, frame.channel)
            case .opening, .closing: break
            case .closed: answer(.dm, frame.channel)
            }
            return nil
        case .disc:
            answer(state == .closed ? .dm : .ua, frame.channel)
            return state == .closed ? nil : ended(frame.channel, nil)
        case .uih, .ui:
            if frame.channel == 0 { return handleControl() }
            return state == .open ? .data(frame.channel) : nil
        }
    }

    private mutating func acknowledged(_ number: Int) -> Event? {
        switch channels[number].state {
        case .opening:
            channels[number] = Channel(state: .open)
            if number == 0 { return .started }
            startStatus(number)
            return .opened(number)
        case .closing: return ended(number, nil)
        case .open, .closed: return nil
        }
    }

    mutating func ended(_ number: Int, _ error: SocketError?) -> Event {
        if number == 0 { return over(error == nil ? .closed : .unresponsive) }
        channels[number] = Channel()
        return .closed(number, error)
    }

    mutating func over(_ end: End) -> Event {
        isOver = true
        return .ended(end)
    }

    // MARK: Output

    /// Sends the command whose answer the channel waits for.
    mutating func sendPending(_ number: Int) {
        channels[number].tries += 1
        channels[number].repeatsAt = now + .milliseconds(Self.answerTime)
        switch channels[number].state {
        case .opening: put(CMUXFrame(.sabm, channel: number), [])
        case .closing where number == 0: put(control: Message.closeDown | Message.command, [])
        case .closing: put(CMUXFrame(.disc, channel: number), [])
        case .open:
            let signals = Self.signals | (channels[number].stopsModem ? Self.stopSignal : 0)
            put(control: Message.status | Message.command, [UInt8(truncatingIfNeeded: number) << 2 | 3, signals])
        case .closed: channels[number].repeatsAt = Self.never
        }
    }

    mutating func startStatus(_ number: Int) {
        channels[number].tries = 0
        sendPending(number)
    }

    mutating func sendTest() {
        testTries += 1
        testsAt = now + .milliseconds(Self.answerTime)
        put(control: Message.test | Message.command, Self.pattern)
    }

    private mutating func answer(_ control: CMUXControl, _ number: Int) {
        guard outgoing.count < 4 * (frameBytes + 64) else { return }
        put(CMUXFrame(control, channel: number, isCommand: false), [])
    }

    /// Answers a message with the same values.
    mutating func reply(_ type: UInt8, _ values: [UInt8]) { put(control: type & ~2, values) }

    mutating func put(control type: UInt8, _ values: [UInt8]) {
        var message: [UInt8] = [type, UInt8(truncatingIfNeeded: values.count) << 1 | 1]
        message += values
        put(CMUXFrame(.uih, channel: 0), message.span)
    }

    private mutating func put(_ frame: CMUXFrame, _ information: [UInt8]) { put(frame, information.span) }

    private mutating func put(_ frame: CMUXFrame, _ information: Span<UInt8>) {
        outgoing.append(frame, information, decoder.option)
    }
}
