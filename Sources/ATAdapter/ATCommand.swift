/// A command line and what ends it.
struct ATCommand {
    /// The line without its terminator.
    var line: [UInt8] = []
    /// How long the final result may take, in milliseconds, from the moment that the line is written.
    var timeout = 5_000
    /// How many bytes the modem takes after its prompt, with `SEND OK` as the result; 0 for a command without a prompt.
    var payloadBytes = 0

    /// Why the line cannot be sent to a modem that takes lines of `maximumBytes`; `nil` if it can.
    func problem(maximumBytes: Int) -> ATError? {
        if line.count > maximumBytes - 2 { return .lineTooLong }
        for byte in line where byte < 0x20 || byte == 0x7F { return .unsendable }
        return nil
    }
}

/// What became of a piece of input, or of a deadline.
enum ATEvent {
    /// A line that is no final result; see ``ATEngine/line``.
    case line
    /// The next `count` bytes of the payload for ``ATEngine/payloadLink``, in the input at `start`.
    case payload(start: Int, count: Int)
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
