internal import Kernel
internal import SAL

// Keep alive and timeouts.
extension MQTTSession {
    /// When to call ``handleTimeout(at:)``, or `nil` while no timer runs.
    public var deadline: Duration? { isTimed ? dueAt : nil }

    /// Acts on a ``deadline`` that has passed; does nothing before it.
    public mutating func handleTimeout(at now: Duration) throws(MQTTError) {
        guard isTimed, now >= dueAt else { return }
        switch state {
        case .disconnected: isTimed = false
        case .connecting:
            disconnected()
            throw .connectTimedOut
        case .connected:
            // What was sent or received meanwhile has put the ping off.
            rest()
            guard isTimed, now >= dueAt else { return }
            // What a burst has made large is given back.
            outgoing.trim()
            publishes.trim()
            requests.trim()
            append(.pingreq)
            state = .pinging
            setTimer(for: now + pingTimeout)
        case .pinging:
            #if !hasFeature(Embedded)
            // The ping may stand behind a large message that is still going out.
            if largePublish != nil, lastSentAt + pingTimeout > now {
                return setTimer(for: lastSentAt + pingTimeout)
            }
            #endif
            fail(.keepAliveTimedOut)
            throw .keepAliveTimedOut
        }
    }

    private var pingTimeout: Duration {
        let half = Duration.milliseconds(keepAliveSeconds &* 500)
        return half < configuration.pingTimeout ? half : configuration.pingTimeout
    }

    /// Grants the server its time again: its answer may lie in what the user has not taken yet.
    mutating func postponePingTimeout(at now: Duration) {
        if state == .pinging { dueAt = now + pingTimeout }
    }

    mutating func setTimer(for time: Duration) {
        dueAt = time
        isTimed = true
    }

    mutating func disconnected() {
        state = .disconnected
        isTimed = false
    }

    /// The connection is up. A ping is due when for the keep alive's time nothing was sent, which the server would end the connection for (3.1.2.10), or
    /// nothing has come, so that a link that is open on this side only is found though one sends all the time.
    mutating func rest() {
        state = .connected
        setTimer(for: (lastSentAt < lastReceivedAt ? lastSentAt : lastReceivedAt) + .seconds(keepAliveSeconds))
        if keepAliveSeconds == 0 { isTimed = false }
    }
}
