/// How a ``Modem`` is set up, and the limits of its memory.
public struct ModemConfiguration: Sendable {
    /// The wireless network to join: its name and password, UTF-8; `nil` leaves the modem to the one it knows.
    public var accessPoint: (name: [UInt8], password: [UInt8])?
    /// How many bytes wait for the modem, per socket, before a send takes less than it is given.
    public var sendBufferBytes = 16_384
    /// The largest piece of one send command; ESP8266 takes 2,048.
    public var sendChunkBytes = 2_048
    /// The largest piece of one read command.
    public var readChunkBytes = 2_048
    /// Where the modem cannot be stopped: how many bytes wait for a handler, per socket, before the socket is closed.
    public var receiveBufferBytes = 16_384

    /// The defaults, for Linux; firmware wants smaller buffers.
    public init() {}
}

/// What a modem is doing.
public enum ModemState: Equatable, Sendable {
    /// There is no serial line.
    case down
    /// It is being set up.
    case attaching
    /// It is attached: sockets open.
    case attached
    /// It could not be set up, because of this; it is tried again after a pause.
    case failed(ATError)
}

/// Who is told what a ``Modem`` does; all calls are made on its loop.
public protocol ModemHandler: AnyObject {
    /// The modem's state has changed.
    func modemChanged(_ state: ModemState)
}
