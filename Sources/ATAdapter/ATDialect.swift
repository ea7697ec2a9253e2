internal import SAL

/// What a modem is asked to do.
struct ATRequest {
    enum Kind: UInt8 {
        case none
        /// A step of the bring-up.
        case attach
        case open, send, read, close
        /// The address of a socket's host.
        case resolve
        /// How the links are.
        case poll
        case signal
        /// A command that does nothing, so that old notices are behind its answer.
        case rest
        /// A user's own command.
        case user
        /// What the modem's service wants.
        case service
        /// The rate of the serial line is changed.
        case rate
        /// A step of those that make the line a pipe, and of those that lead back.
        case transparent, leave
        /// The multiplexer begins; the link is its option, the count that of the most bytes in a frame, the port the number of the line's rate.
        case multiplex
    }

    var kind: Kind
    /// Whether the socket is one for datagrams.
    var isDatagram = false
    var link = 0
    /// How many bytes are sent, or read at most.
    var count = 0
    /// The port of this side, for modems that want to be told one: from the dynamic ones (RFC 6335, 6).
    var localPort = 0
    /// An opening, and the bring-up, may take several commands, counted from 0; of polls, 0 and 1 take turns.
    var step = 0
}

/// What a line of a modem says.
enum ATNotice {
    /// Nothing that anyone knows.
    case unknown
    /// Something that makes no difference.
    case ignored
    /// The command in flight has done what it should; where it needs `OK` too, that is still to come.
    case done
    /// The command in flight has failed; where `OK` or `ERROR` is still to come, so it has.
    case failed
    /// So many bytes of the send in flight were taken; negative if its link is broken. It is ``done``.
    case accepted(Int)
    /// The modem has chosen this link for the opening in flight.
    case link(Int)
    /// How the opening of a link, whose command was answered with `OK` or will be, has ended.
    case opened(link: Int)
    case openFailed(link: Int, ATReason)
    case closed(link: Int)
    /// Data waits on a link: perhaps of a datagram so long.
    case dataWaits(link: Int, bytes: Int = 0)
    /// What waits on all links, separated by commas, from `position` of the line; negative for closed ones.
    case lengths(position: Int)
    /// Whether the links are open, as 1 or 0, separated by commas, from `position` of the line.
    case states(position: Int)
    /// The numbers of the links that are not in use, separated by spaces, from `position` of the line.
    case free(position: Int)
    case networkLost
    case restarted
    /// The address of a name, in the line's bytes; the resolving is ``done``.
    case address(Range<Int>)
    /// In dBm.
    case signal(Int)
    /// Why the result that follows is bad.
    case reason(ATReason)
}

/// Why a command failed, beyond its final result.
enum ATReason {
    case none
    /// The link was in use: it is closed first.
    case alreadyConnected
    case linkNotValid
    /// There is nothing to read.
    case nothingWaits
    case error(SocketError)
}

/// What stands behind a header.
enum ATHeader {
    case none
    /// So many bytes of payload, for a link or for the read in flight; of a datagram perhaps with its sender.
    case payload(link: Int, count: Int, sender: ATSender? = nil)
    /// The same as hexadecimal digits; without a count, to the end of the line.
    case digits(link: Int, count: Int?, sender: ATSender? = nil)
    case malformed

    /// In place of a link: of the read in flight.
    static var ofRead: Int { -1 }
    /// In place of a link: of none that is known.
    static var ofNobody: Int { -2 }
    /// In place of a link: of the modem's service. Where the header ends with a quote, one and the line's end stand behind the payload.
    static var ofService: Int { -3 }
}

/// Who has sent a datagram: the place of the address in the line, and the port.
struct ATSender {
    let address: Range<Int>
    let port: Int
}

#if !hasFeature(Embedded)
/// How a modem's line becomes a pipe, and a line for commands again.
struct ATTransparency {
    /// How long the line is silent before and behind the escape, in milliseconds.
    var silenceBefore = 1_000
    var silenceBehind = 1_000
    /// Whether the modem says `NO CARRIER` when the peer has closed, and hears commands then.
    var tellsEnd = true
}
#endif

/// How the bring-up goes on after one of its steps.
enum ATOutcome {
    case next
    /// With another step, after a pause.
    case jump(to: Int, milliseconds: Int)
    /// Not: the modem is set up anew after a pause that grows.
    case failed(ATError)
}

/// What differs between families of modems and is no more than a value; at first as with most cellular ones.
struct ATTraits {
    /// The numbers of the links.
    var links = 0..<6
    /// The modem gives a socket its number when it makes one.
    var choosesLinks = false
    var sendBytes = 1_460
    var datagramBytes = 1_460
    var readBytes = 1_460

    var terminator: StaticString = "\r"
    /// The longest command line with its terminator, in bytes, without the payload.
    var commandBytes = 512
    /// Strings can hold quotes, behind backslashes.
    var hasEscapes = false
    /// Payload stands in the command, as hexadecimal digits.
    var sendsDigits = false
    var prompt = UInt8(ascii: ">")
    /// The pauses between a prompt and its payload, and between a result and the next command, in milliseconds.
    var promptPause = 0
    var resultPause = 0

    /// What ends a wait for payload.
    var escape: StaticString = "\u{1B}"
    /// What ends a data mode, with a second of silence around it; empty where there is no such mode.
    var hangUp: StaticString = "+++"
    /// What restarts the modem.
    var reset: StaticString = "AT+CFUN=1,1\r"
    /// How often `AT` is tried, twice a second, before a modem that may be booting is restarted.
    var bootTries = 17

    /// It can carry several channels over its line (3GPP 27.010).
    var hasMultiplexer = true
    /// TCP connections are opened by name, and the modem says so when it has no address; datagrams always go to an address.
    var opensByName = true
    /// Each line begins with a line end, too: what stands right behind data is none, but more data.
    var framesLines = true
    /// What is received is told once, until all of it was read, or not at all: it is read until there is nothing, now and then too.
    var readsUntilEmpty = true
    /// A poll is for one link, so that they take turns.
    var pollsEachLink = false
    /// What arrives during a command is not told.
    var forgetsNotices = false
    /// A link that its peer has closed is taken until it is closed on this side too, or may be.
    var keepsClosedLinks = true
    /// A read is refused when the link has gone, not when there is nothing to read.
    var refusesReadsOfClosedLinks = true
    /// A send that is refused before its prompt has taken nothing, for lack of room: it is repeated, unless a read says that the link has gone.
    var repeatsRefusedSends = true
    /// So is one that has failed behind its prompt.
    var repeatsFailedSends = false
}

/// What a family of modems says and understands: no state of sockets, no time, no input or output.
protocol ATDialect: AnyObject {
    var traits: ATTraits { get }
    /// Whether the modem keeps what it receives until it is read.
    var isPassive: Bool { get }

    /// The template of a request's command (see ``ATCommand/init(template:request:host:port:escaping:configuration:)``), or `nil` where there
    /// is no such command, or no such step any more. An empty one skips a step of the bring-up.
    ///
    /// The modem itself makes those of the kinds `rest`, `user` and `service`.
    func template(for request: ATRequest, _ configuration: ModemConfiguration) -> StaticString?
    /// A step of the bring-up has ended; its template says whether it is optional.
    func attachStepEnded(_ step: Int, _ error: ATError?, isOptional: Bool) -> ATOutcome
    /// What stands behind `line`, which is not over yet and ends with `:`, `,` or `"`, or which is over.
    func header(_ line: Span<UInt8>, isOver: Bool) -> ATHeader
    /// What a whole line says while `request` is in flight.
    func notice(_ line: Span<UInt8>, during request: ATRequest) -> ATNotice
    /// How the firmware's MQTT is talked to, where it has it: see ``ModemMQTT``.
    var tencent: TencentTraits? { get }
    #if !hasFeature(Embedded)
    /// How the line becomes a pipe, where that is possible.
    var transparency: ATTransparency? { get }
    /// The step of the bring-up from which on the modem is registered; none, where that is no step.
    var registeredStep: Int { get }
    #endif
}

extension ATDialect {
    var tencent: TencentTraits? { nil }
}

#if !hasFeature(Embedded)
extension ATDialect {
    var registeredStep: Int { .max }
}
#endif
