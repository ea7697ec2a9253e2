internal import Kernel

/// What is known of a resource that is observed (RFC 7641).
final class Observation {
    /// Whether its messages are protected, so that nobody but who has the keys can register again, or tells how long a notification is valid (RFC 8613).
    let isProtected: Bool
    /// Whether the server has taken the registration.
    var isRegistered = false
    /// The number and the time of the newest notification.
    private var number: UInt32 = 0
    private var receivedAt = Duration.zero
    /// What fetches the rest of the newest notification.
    var fetch: CoAPExchangeID?
    /// When what was notified last is not fresh any more.
    private(set) var staleAt: Duration?

    init(isProtected: Bool) { self.isProtected = isProtected }

    /// Takes a notification; `false` if a newer one has come before it (RFC 7641, 3.4).
    ///
    /// What a byte stream brings is in order (RFC 8323, 7.1). What is protected has its order inside, where nobody changes it (RFC 8613, 4.1.3.5).
    func take(_ options: CoAPOptions, isInOrder: Bool, at now: Duration) -> Bool {
        let next = options.observe ?? 0
        if isRegistered, !isInOrder, !isProtected {
            let isNewer = next != number && (next &- number) & 0xFF_FFFF < 0x80_0000
            guard isNewer || now > receivedAt + .seconds(128) else { return false }
        }
        isRegistered = true
        number = next
        receivedAt = now
        if !isProtected { staleAt = now + .seconds(Int64(options.maxAge ?? 60)) }
        return true
    }

    /// The server is asked again; what it says next is the newest.
    func forget() {
        isRegistered = false
        staleAt = nil
    }
}
