/// What a simulated modem does worse than it should, or just otherwise.
///
/// The first group leaves the meaning of the stream intact: no user of a correct driver sees a difference. The second does not.
/// A number that says "every n-th" is 0 for never.
public struct Faults: Sendable, Equatable {
    /// How the output is cut.
    public enum Pieces: String, Sendable, Equatable, CaseIterable {
        /// As it comes.
        case whole
        /// One byte at a time.
        case bytes
        /// Pieces of random length, as the seed decides.
        case random
    }

    /// What happens to a command line that comes while another is under way.
    public enum Overlap: String, Sendable, Equatable, CaseIterable {
        /// It is executed afterwards.
        case queue
        /// It is refused: `busy p...`, or an error.
        case busy
        /// It is lost.
        case drop
    }

    /// How a prompt looks.
    public enum Prompt: String, Sendable, Equatable, CaseIterable {
        /// As the dialect has it.
        case usual
        /// With a space behind it.
        case spaced
        /// Without.
        case bare
    }

    /// How the output is cut.
    public var pieces = Pieces.whole
    /// Commands are echoed even after `ATE0`.
    public var echoIsStuck = false
    /// Unsolicited lines appear wherever they may: before, between and behind the lines of answers, and behind prompts.
    public var insertsNotices = false
    /// What announces data or the end of a link comes twice.
    public var doublesNotices = false
    /// How a prompt looks.
    public var prompt = Prompt.usual
    /// The prompt comes so late, in milliseconds.
    public var promptDelayMilliseconds = 0
    /// Final results come so late, in milliseconds.
    public var resultDelayMilliseconds = 0
    /// Opening a link takes so long, in milliseconds.
    public var openDelayMilliseconds = 0
    /// Every n-th command is refused as long as another is said to be under way, and not executed: `busy p...`, or `+CME ERROR: 14`.
    public var busyEvery = 0
    /// What happens to a command line that comes while another is under way.
    public var overlap = Overlap.queue
    /// Every n-th send takes only a part, where the dialect can say so.
    public var takesPartEvery = 0
    /// The data frames of its multiplexer have the bit C/R, as those of many modems.
    public var setsCommandBit = false
    /// Its multiplexer does not answer tests.
    public var ignoresTests = false

    /// Every n-th final result is lost.
    public var losesResultEvery = 0
    /// Every n-th prompt is lost; the modem waits for the payload nevertheless.
    public var losesPromptEvery = 0
    /// Every n-th notice that data waits is lost.
    public var losesNoticeEvery = 0
    /// The host is not told when the peer closes a link.
    public var closesSilently = false
    /// Nothing is answered or taken from the line.
    public var isDeaf = false
    /// After every n-th command the modem is deaf for ``deafMilliseconds``.
    public var deafEvery = 0
    /// How long deafness lasts.
    public var deafMilliseconds = 2_000
    /// Every n-th command fails with ``errorCode`` and is not executed.
    public var failsCommandEvery = 0
    /// The code of `+CME ERROR` for ``failsCommandEvery``; Espressif's firmware says `ERROR`.
    public var errorCode = 100
    /// Every n-th send ends with `SEND FAIL`, or what the dialect has for it; nothing is taken.
    public var failsSendEvery = 0
    /// At every n-th send the peer's end is lost between prompt and payload.
    public var closesDuringSendEvery = 0
    /// Every n-th announced length of data is too large.
    public var wrongLengthEvery = 0
    /// Opening a link fails.
    public var refusesToOpen = false
    /// The network cannot be joined: an access point that is not there, a registration that is denied.
    public var refusesToJoin = false
    /// So many links at most are open at a time; 0 is as many as the dialect has.
    public var linkLimit = 0
    /// After every n-th command the data context is lost, and all links with it.
    public var losesContextEvery = 0
    /// How long a lost context stays away.
    public var contextReturnMilliseconds = 1_000
    /// Instead of every n-th command the modem restarts.
    public var restartsEvery = 0
    /// It restarts without its banner.
    public var restartsSilently = false
    /// Lines of random bytes appear between answers.
    public var insertsGarbage = false
    /// Every n-th byte has a wrong bit.
    public var corruptsByteEvery = 0

    /// A modem that does everything right.
    public init() {}
}
