internal import Kernel
package import SAL

/// Who has the serial line to itself: while it is open, bytes go through as they are, and there are no commands.
///
/// It is not internal for the reason that ``ModemService`` has.
package protocol ModemPipe: AnyObject {
    /// Whether the line carries data now.
    var isOpen: Bool { get }
    /// When it wants its turn, although nothing has happened.
    var deadline: Duration { get }
    /// Has its next command started, if there is one. It is asked only while the modem is attached and free.
    func takeTurn() -> Bool
    /// Its command is answered by a prompt.
    func prompted()
    /// Its command has ended.
    func commandEnded(_ error: ATError?)
    /// Takes bytes of the line, and returns how many.
    func received(_ bytes: Span<UInt8>) -> Int
    /// Does what is due.
    func settle()
    /// Sends what it has.
    func pass(to serial: any ByteStream)
    /// The modem has lost its network or its line.
    func lineEnded(_ error: SocketError)
}
