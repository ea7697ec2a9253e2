/// What a modem is asked to do.
struct ATRequest {
    enum Kind: UInt8 {
        case openStream, openDatagrams, send, read, close
        /// The address of a socket's host.
        case resolve
        /// How much waits on each link.
        case lengths
        case signal
        /// A command that does nothing, so that old notices are behind its answer.
        case rest
        /// A step of the bring-up; `count` is its number, counted from 0.
        case attach
        /// A user's own command.
        case user
        case none
    }

    var kind: Kind
    var link = 0
    var count = 0
}

/// What a line of a modem says.
enum ATNotice {
    /// Nothing that anyone knows.
    case unknown
    /// Something that makes no difference.
    case ignored
    case closed(link: Int)
    /// Data waits on a link.
    case dataWaits(link: Int)
    /// What waits on all links, separated by commas, from `position` of the line; negative for closed ones.
    case lengths(position: Int)
    case networkLost
    case restarted
    /// The address of a name, in the line's bytes from `start`.
    case address(start: Int, end: Int)
    /// In dBm.
    case signal(Int)
    /// Why the result that follows is bad.
    case reason(ATReason)
    case joinFailed(code: Int)
}

/// Why a command failed, as a line before its result says.
enum ATReason: UInt8 {
    case none, alreadyConnected, nameNotFound, noNetwork, linkNotValid
}

/// What stands behind a header in the middle of a line.
enum ATHeader {
    case none
    /// So many bytes of payload, for a link or, if that is negative, for the read in flight.
    case payload(link: Int, count: Int)
    case malformed
}

/// What a family of modems says and understands: no state of sockets, no time, no input or output.
protocol ATDialect: AnyObject {
    /// How many links the modem has.
    var linkCount: Int { get }
    /// The longest command line with its terminator, in bytes.
    var maximumCommandBytes: Int { get }
    /// What ends a mode in which the modem takes bytes for data.
    var escape: StaticString { get }
    /// What restarts the modem.
    var reset: StaticString { get }
    /// Whether the modem keeps what it receives until it is read.
    var isPassive: Bool { get }

    /// The command for a request about `host` and `port`, or `nil` where the bring-up has no such step.
    func command(for request: ATRequest, host: [UInt8], port: UInt16, configuration: ModemConfiguration) -> ATCommand?
    /// A step of the bring-up has ended. Returns whether the bring-up can go on.
    func attachStepEnded(_ step: Int, isSuccess: Bool) -> Bool
    /// What stands behind `line`, which is not over yet and ends with `:` or `,`.
    func header(_ line: Span<UInt8>) -> ATHeader
    /// What a whole line says.
    func notice(_ line: Span<UInt8>) -> ATNotice
}
