internal import Kernel

/// What a firmware can do beside sockets: it has commands and lines of its own, and takes its turn after the sockets.
///
/// It is not internal, so that the compiler does not count on there being one such class only, and leaves that out of images which do not use it.
package protocol ModemService: AnyObject {
    /// When it wants its turn, although nothing has happened.
    var deadline: Duration { get }
    /// Has its next command started, if there is one: returns whether there is. It is asked only while the modem is attached and free.
    func takeTurn() -> Bool
    /// What the prompt of its command is answered with.
    func takePayload() -> [UInt8]
    /// Its command has ended.
    func commandEnded(_ error: ATError?)
    /// What a line says that the dialect does not know.
    func heard(_ line: Span<UInt8>) -> ModemServiceNotice
    /// The next bytes of its payload, of `total`, with `left` to come; returns whether its command is over with them.
    func received(_ bytes: Span<UInt8>, behind header: Span<UInt8>, total: Int, left: Int) -> Bool
    /// Its payload was all there, or was not.
    func payloadEnded(isWhole: Bool)
    /// The modem has another service, or is closed.
    func endForGood()
    /// The modem was attached, or is not any more.
    func modemChanged(isAttached: Bool)
}

/// What a line says to a service, and of its command in flight.
package enum ModemServiceNotice: UInt8 {
    case unknown, ignored, done, failed
}
