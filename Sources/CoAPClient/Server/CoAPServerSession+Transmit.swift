internal import Kernel
internal import SAL

extension CoAPServerSession {
    // MARK: Confirmable messages (RFC 7252, 4.2)

    /// Sends a response in a confirmable message of its own.
    mutating func sendConfirmable(
        _ response: CoAPResponse,
        _ token: CoAPToken,
        to peer: SocketAddress,
        observer: Observer?,
        at now: Duration
    ) {
        let messageID = nextMessageID(for: peer)
        observer?.messageID = messageID
        let timeout = timeouts.first(random: random.next())
        let datagram = Self.message(.confirmable, response, messageID, token).encoded
        transmissions.append(Transmission(of: datagram, messageID, to: peer, for: observer, timeout: timeout, at: now))
        output(.transmit(datagram, to: peer))
        wake(at: now + timeout)
    }

    func acknowledge(_ messageID: UInt16, of peer: SocketAddress) -> Output {
        .transmit(CoAPMessage.empty(.acknowledgement, messageID).encoded, to: peer)
    }

    mutating func acknowledged(_ message: CoAPMessage, by peer: SocketAddress, at now: Duration) {
        guard message.code == .empty, takeTransmission(message.messageID, to: peer) != nil else {
            return counters.unexpected += 1
        }
        notifyWaiting(peer, at: now)
    }

    mutating func rejected(_ message: CoAPMessage, by peer: SocketAddress, at now: Duration) {
        guard message.code == .empty else { return counters.unexpected += 1 }
        if let sent = takeTransmission(message.messageID, to: peer) {
            if let observer = sent.observer { remove(observer) }
        } else if let observer = observers.first(where: { $0.messageID == message.messageID && $0.peer == peer }) {
            remove(observer)
        } else {
            return counters.unexpected += 1
        }
        notifyWaiting(peer, at: now)
    }

    private mutating func takeTransmission(_ messageID: UInt16, to peer: SocketAddress) -> Transmission? {
        guard let index = transmissions.firstIndex(where: { $0.messageID == messageID && $0.peer == peer }) else {
            return nil
        }
        return transmissions.remove(at: index)
    }

    /// Sends a confirmable message again, or gives it up; `false` then.
    private mutating func retransmit(_ sent: Transmission, at now: Duration) -> Bool {
        guard sent.count <= configuration.messages.retransmissions else {
            counters.unacknowledged += 1
            return false
        }
        counters.retransmissions += 1
        if let observer = sent.observer, let newer = successor(for: observer, at: now) {
            sent.messageID = newer.messageID
            sent.datagram = newer.encoded
        }
        sent.count += 1
        sent.timeout += sent.timeout
        sent.resendAt = now + sent.timeout
        output(.transmit(sent.datagram, to: sent.peer))
        return true
    }

    // MARK: Time

    /// Acts on a ``deadline`` that has passed; does nothing before it.
    public mutating func handleTimeout(at now: Duration) {
        guard let deadline, now >= deadline else { return }
        self.deadline = nil
        // Those that are given up go, and so do their observers.
        for sent in transmissions where sent.resendAt <= now && !retransmit(sent, at: now) {
            transmissions.removeAll { $0 === sent }
            if let observer = sent.observer { remove(observer) }
            notifyWaiting(sent.peer, at: now)
        }
        for request in pending {
            if let time = request.acknowledgeAt, time <= now {
                request.acknowledgeAt = nil
                request.isAcknowledged = true
                output(acknowledge(request.message.messageID, of: request.peer))
            }
            if request.giveUpAt <= now {
                output(.abandoned(CoAPServerRequestID(rawValue: request.id)))
                respond(to: CoAPServerRequestID(rawValue: request.id), with: CoAPResponse(.serviceUnavailable), at: now)
            }
        }
        for response in delayed where response.sendAt <= now { output(.transmit(response.datagram, to: response.peer)) }
        delayed.removeAll { $0.sendAt <= now }
        refreshDue(at: now)
        bodies.removeOld(at: now)
        for request in pending { wake(at: request.acknowledgeAt ?? request.giveUpAt) }
        for transmission in transmissions { wake(at: transmission.resendAt) }
        for response in delayed { wake(at: response.sendAt) }
        for observer in observers { if let time = observer.dueAt { wake(at: time) } }
        if let time = bodies.deadline { wake(at: time) }
    }
}
