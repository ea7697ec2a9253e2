/// What became of a piece of input, or of a deadline.
enum ATEvent {
    /// A line that is no final result; see ``ATEngine/line``.
    case line
    /// The next `count` bytes of the payload for ``ATEngine/payloadLink``, in the input at `start`.
    case payload(start: Int, count: Int)
    /// The next bytes of that payload, which came as digits, are in ``ATEngine/decoded``.
    case decoded
    /// What stands behind a payload in quotes is as it should be: it was as long as announced.
    case whole
    /// The modem waits for the payload of the command in flight.
    case prompt
    /// The command in flight has ended.
    case finished(ATError?)
    /// The rest of the current payload did not come, or a header was nonsense: its stream has a hole.
    case damaged
    /// The modem answers again after ``ATEngine/resynchronize(at:)`` or a timeout.
    case recovered
    /// Echo has come back after `ATE0`: the modem has restarted.
    case restarted
    /// The modem did not answer and was told to restart.
    case resetting
    /// The modem must be restarted by its reset line or its power, if there is a way.
    case needsHardwareReset
    /// Nothing helped; the next try comes after a pause.
    case failed
}

/// What an engine saw that should not have been, counted from its start.
public struct ATCounters: Sendable {
    /// Lines that mean nothing here.
    public var unknownLines = 0
    /// Lines longer than the limit, dropped.
    public var overlongLines = 0
    /// Payload headers that cannot be, and payloads that broke off.
    public var damagedPayloads = 0
    /// Final results that no command waited for.
    public var lateResults = 0
    /// Commands that got no final result in time.
    public var timeouts = 0
    /// Commands that were sent again because the modem was busy.
    public var busyRepeats = 0
    /// Restarts of the modem.
    public var restarts = 0
    /// Bytes that came for sockets that are gone.
    public var droppedBytes = 0
}
