/// What a simulated modem does worse than it should, or just otherwise.
///
/// The first group leaves the meaning of the stream intact: no user of a correct driver sees a difference. The second does not.
public struct Faults: Sendable, Equatable {
    /// How the output is cut.
    public enum Pieces: Sendable, Equatable {
        /// As it comes.
        case whole
        /// One byte at a time.
        case bytes
        /// Pieces of random length, as the seed decides.
        case random
    }

    /// How the output is cut.
    public var pieces = Pieces.whole
    /// Commands are echoed even after `ATE0`.
    public var echoIsStuck = false
    /// Unsolicited lines appear between the lines of answers.
    public var insertsNotices = false
    /// The prompt comes so late, in milliseconds.
    public var promptDelayMilliseconds = 0
    /// Final results come so late, in milliseconds.
    public var resultDelayMilliseconds = 0
    /// Every n-th command is answered `busy p...` and not executed; 0 is none.
    public var busyEvery = 0

    /// Every n-th final result is lost; 0 is none.
    public var losesResultEvery = 0
    /// Nothing is answered or taken from the line.
    public var isDeaf = false
    /// Every n-th send ends with `SEND FAIL`; 0 is none.
    public var failsSendEvery = 0
    /// Opening a link fails.
    public var refusesToOpen = false
    /// The network cannot be joined.
    public var refusesToJoin = false
    /// Lines of random bytes appear between answers.
    public var insertsGarbage = false

    /// A modem that does everything right.
    public init() {}
}
