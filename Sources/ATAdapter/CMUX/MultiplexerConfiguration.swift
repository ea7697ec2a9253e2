/// How a ``Multiplexer`` is set up, and the limits of its memory.
public struct MultiplexerConfiguration: Sendable {
    /// How frames are delimited. All modems know the basic option, few the advanced one.
    public var option = MultiplexerOption.basic
    /// The bits per second of the line. The modem is told, since it may go on with just that rate; rates without a number in 3GPP 27.007, 5.7 are not told.
    public var baudRate = 115_200
    /// The most bytes of a channel that one frame carries (N1), from 31 to 1,509. Longer frames cost less, shorter ones let others through sooner. A modem that
    /// does not want to be told gets frames of 31 bytes.
    public var frameBytes = 127
    /// The highest number that a channel can have, up to 61; most modems have 3 or 4.
    public var channels = 4
    /// How many bytes wait to be sent, per channel, before a send takes less than it is given.
    public var sendBufferBytes = 4_096
    /// How many bytes a channel holds for a handler that takes nothing. The modem is stopped at once, but may have sent some; more end the
    /// channel with an overflow.
    public var receiveBufferBytes = 16_384
    /// How long the modem is left alone between its `OK` and the first frame, in milliseconds.
    public var settlingMilliseconds = 300

    /// The defaults, for Linux; firmware wants smaller buffers.
    public init() {}
}

/// What a ``Multiplexer`` is doing.
public enum MultiplexerState: Equatable, Sendable {
    /// There is no serial line.
    case down
    /// The modem is to be found, or is told to speak in frames. Channels that are opened wait.
    case starting
    /// There are frames.
    case up
    /// The modem does not answer, or has no multiplexer; it is tried again after a pause. Channels that are opened wait.
    case failed(ATError)
}

/// Who is told what a ``Multiplexer`` does; all calls are made on its loop.
public protocol MultiplexerHandler: AnyObject {
    /// Its state has changed.
    func multiplexerChanged(_ state: MultiplexerState)

    /// The modem does not answer. Returns whether its reset line, or its power, was switched; by default there is none.
    func resetModem() -> Bool
}

extension MultiplexerHandler {
    /// There is no reset line.
    public func resetModem() -> Bool { false }
}

/// What went over a multiplexer's line, and what should not have been there, counted from its start.
public struct MultiplexerCounters: Equatable, Sendable {
    /// Frames that arrived.
    public var frames = 0
    /// Frames that were dropped: their checksum, length or end was wrong.
    public var damagedFrames = 0
    /// Bytes outside of frames.
    public var noiseBytes = 0
    /// Commands that were sent again since they were not answered.
    public var repeats = 0
    /// How often the modem had left the multiplexer, so that all channels ended.
    public var losses = 0

    /// Nothing yet.
    public init() {}
}

extension MultiplexerCounters {
    mutating func add(_ other: MultiplexerCounters) {
        frames += other.frames
        damagedFrames += other.damagedFrames
        noiseBytes += other.noiseBytes
        repeats += other.repeats
        losses += other.losses
    }
}
