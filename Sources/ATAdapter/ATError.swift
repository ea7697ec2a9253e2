/// Why a command, or a modem as a whole, failed.
@nonexhaustive
public enum ATError: Error, Equatable, Sendable {
    /// No final result in time.
    case timedOut
    /// The modem answered `ERROR` or `FAIL`, without a reason.
    case refused
    /// `+CME ERROR`: the number of 3GPP 27.007, 9.2, or -1 if the modem gave a text.
    case equipment(code: Int32)
    /// `+CMS ERROR`: the number of 3GPP 27.005, 3.2.5, or -1 if the modem gave a text.
    case messaging(code: Int32)
    /// `SEND FAIL`: the modem did not pass the payload on.
    case sendFailed
    /// The modem kept saying that it was busy.
    case busy
    /// The modem was detached before the command was sent.
    case cancelled
    /// Too many commands wait already.
    case queueFull
    /// The command is longer than the modem takes.
    case lineTooLong
    /// The command holds a control character.
    case unsendable
    /// The modem restarted, or its serial line ended, before it had answered.
    case deviceRestarted
    /// The wireless network could not be joined: 1 timeout, 2 wrong password, 3 no such network, 4 other.
    case joinFailed(code: Int32)
    /// The SIM wants its PIN, and the configuration has none, or the wrong one: it is not tried again, since three errors lock the SIM.
    case pinRequired
    /// The SIM is locked in a way that only its operator can undo, such as by its PUK.
    case simLocked
    /// The cellular network refuses this SIM, or this device.
    case registrationDenied
    /// The cellular network gives no data connection; access point name, user or password may be wrong.
    case noDataConnection
    /// The modem does not know yet what it was asked, such as the time before a network has told it.
    case notKnown
    /// The modem answers nothing, whatever is tried. It is tried again.
    case notResponding
}
