internal import Kernel

/// How a ``Modem`` is set up, and the limits of its memory.
public struct ModemConfiguration: Sendable {
    /// The wireless network to join: its name and password, as bytes; `nil` leaves the modem to the one it knows.
    public var accessPoint: (name: [UInt8], password: [UInt8])?
    /// The PIN of the SIM, in digits, for a SIM that asks for it. A wrong one is tried once.
    public var pin: [UInt8] = []
    /// The access point name (APN) of a cellular network; empty leaves the modem to its own.
    public var apn: [UInt8] = []
    /// The user and the password that the access point wants, as bytes.
    public var user: [UInt8] = []
    /// See ``user``.
    public var password: [UInt8] = []
    /// How user and password are shown to the access point.
    public var authentication = Authentication.none
    /// How many bytes wait to be sent, per socket, before a send takes less than it is given.
    public var sendBufferBytes = 16_384
    /// The largest piece of one send command, and the largest datagram, if the modem takes as much; ESP8266 takes 2,048.
    public var sendChunkBytes = 2_048
    /// The largest piece of a stream that one read command asks for, if the modem gives as much.
    public var readChunkBytes = 2_048
    /// How many bytes a socket holds for a handler that takes nothing, and the longest datagram that arrives whole. Where
    /// the modem can be stopped, less than one read command is held; where it cannot, more ends the stream with an overflow.
    public var receiveBufferBytes = 16_384
    /// How many sockets there may be at once, those included that wait for the modem or for one of its links.
    public var maximumSockets = 16
    /// How many commands of ``Modem/execute(_:timeoutMilliseconds:completion:)`` may wait.
    public var waitingCommands = 4
    /// Longer lines of the modem are dropped; so is what an answer to a user's command has beyond this.
    public var lineBytes = 512
    /// How often a quiet modem is asked what it holds, since it may have failed to tell.
    public var pollInterval: Duration = .seconds(5)
    /// After so long a silence the modem may sleep, and lose the first bytes that it is told: it is woken by `AT` before the next command. `nil` for a modem
    /// that does not sleep. Modems that may (``Modem/setSleep(isAllowed:_:)``) fall asleep after some seconds.
    public var wakesAfter: Duration?

    /// How a cellular network's access point authenticates its users (3GPP 27.007, 10.1.31).
    public enum Authentication: UInt8, Sendable {
        /// Not at all.
        case none
        /// PAP, in the clear.
        case pap
        /// CHAP.
        case chap
    }

    /// The defaults, for Linux; firmware wants smaller buffers.
    public init() {}
}

/// What a modem is doing.
public enum ModemState: Equatable, Sendable {
    /// There is no serial line.
    case down
    /// It is being set up, or looks for its network. Sockets that are opened wait.
    case searching
    /// It is attached: sockets open.
    case attached
    /// It could not be set up, because of this; it is tried again after a pause. Sockets that are opened wait.
    case failed(ATError)
}

/// Who is told what a ``Modem`` does; all calls are made on its loop.
public protocol ModemHandler: AnyObject {
    /// The modem's state has changed.
    func modemChanged(_ state: ModemState)

    /// The modem does not answer. Returns whether its reset line, or its power, was switched; by default there is none.
    func resetModem() -> Bool
}

extension ModemHandler {
    /// There is no reset line.
    public func resetModem() -> Bool { false }
}
