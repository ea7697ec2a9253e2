/// Why an AT command failed.
@nonexhaustive
public enum ATError: Error, Equatable, Sendable {
    /// The modem answered `ERROR` or `FAIL`, without a reason.
    case refused
    /// `+CME ERROR`: the number in 3GPP 27.007, 9.2.
    case equipment(code: Int32)
    /// `+CMS ERROR`: the number in 3GPP 27.005, 3.2.5.
    case messaging(code: Int32)
    /// `SEND FAIL`: the modem did not take the payload.
    case sendFailed
    /// No final result in time.
    case timedOut
    /// The modem kept saying that it was busy.
    case busy
    /// The modem restarted, or its serial line ended, before it had answered.
    case deviceRestarted
}
