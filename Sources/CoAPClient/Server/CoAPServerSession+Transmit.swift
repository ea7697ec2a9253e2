internal import Kernel
internal import SAL

extension CoAPServerSession {
    // MARK: Confirmable messages (RFC 7252, 4.2)

    /// Sends a response in a confirmable message of its own.
    mutating func sendConfirmable(
        _ response: CoAPResponse,
        _ token: CoAPToken,
        to peer: SocketAddress,
        observer: UInt32?,
        at now: Duration
    ) {
        let messageID = nextMessageID(for: peer)
        if let observer { note(messageID, for: observer) }
        let timeout = configuration.messages.firstTimeout(random: random.next())
        let datagram = Self.message(.confirmable, response, messageID, token).encoded
        transmissions.append(
            Transmission(
                peer: peer,
                datagram: datagram,
                messageID: messageID,
                observer: observer,
                timeout: timeout,
                resendAt: now + timeout
            )
        )
        output(.transmit(datagram, to: peer))
        wake(at: now + timeout)
    }

    func acknowledge(_ messageID: UInt16, of peer: SocketAddress) -> Output {
        .transmit(CoAPMessage.empty(.acknowledgement, messageID).encoded, to: peer)
    }

    mutating func acknowledged(_ message: CoAPMessage, by peer: SocketAddress, at now: Duration) {
        guard message.code == .empty, let sent = takeTransmission(message.messageID, to: peer) else {
            return counters.unexpected += 1
        }
        if let observer = sent.observer { confirmed(observer, at: now) }
    }

    mutating func rejected(_ message: CoAPMessage, by peer: SocketAddress) {
        guard message.code == .empty else { return counters.unexpected += 1 }
        if let sent = takeTransmission(message.messageID, to: peer) {
            if let observer = sent.observer { removeObserver(observer) }
        } else if let observer = observers.first(where: { $0.messageID == message.messageID && $0.peer == peer }) {
            removeObserver(observer.id)
        } else {
            counters.unexpected += 1
        }
    }

    private mutating func takeTransmission(_ messageID: UInt16, to peer: SocketAddress) -> Transmission? {
        guard let index = transmissions.firstIndex(where: { $0.messageID == messageID && $0.peer == peer }) else {
            return nil
        }
        return transmissions.remove(at: index)
    }

    /// Sends a confirmable message again, or gives it up with the observer that it was for; `false` then.
    private mutating func retransmit(_ index: Int, at now: Duration) -> Bool {
        let sent = transmissions[index]
        guard sent.count <= configuration.messages.retransmissions else {
            counters.unacknowledged += 1
            return false
        }
        counters.retransmissions += 1
        if let observer = sent.observer, let newer = successor(of: observer, at: now) {
            transmissions[index].messageID = newer.messageID
            transmissions[index].datagram = newer.encoded
        }
        transmissions[index].count += 1
        transmissions[index].timeout += sent.timeout
        transmissions[index].resendAt = now + transmissions[index].timeout
        output(.transmit(transmissions[index].datagram, to: sent.peer))
        return true
    }

    // MARK: Time

    /// Acts on a ``deadline`` that has passed; does nothing before it.
    public mutating func handleTimeout(at now: Duration) {
        guard let deadline, now >= deadline else { return }
        self.deadline = nil
        resendDue(at: now)
        for index in pending.indices where pending[index].acknowledgeAt.map({ $0 <= now }) == true {
            pending[index].acknowledgeAt = nil
            pending[index].isAcknowledged = true
            output(acknowledge(pending[index].message.messageID, of: pending[index].peer))
        }
        for request in pending where request.giveUpAt <= now {
            output(.abandoned(CoAPServerRequestID(rawValue: request.id)))
            respond(to: CoAPServerRequestID(rawValue: request.id), with: CoAPResponse(.serviceUnavailable), at: now)
        }
        var index = 0
        while index < delayed.count {
            if delayed[index].sendAt <= now {
                output(.transmit(delayed[index].datagram, to: delayed[index].peer))
                delayed.remove(at: index)
            } else {
                index += 1
            }
        }
        refreshDue(at: now)
        bodies.removeOld(at: now)
        for request in pending { wake(at: request.acknowledgeAt ?? request.giveUpAt) }
        for transmission in transmissions { wake(at: transmission.resendAt) }
        for response in delayed { wake(at: response.sendAt) }
        for observer in observers { if let time = observer.dueAt { wake(at: time) } }
        if let time = bodies.deadline { wake(at: time) }
    }

    private mutating func resendDue(at now: Duration) {
        var index = 0
        while index < transmissions.count {
            if transmissions[index].resendAt > now || retransmit(index, at: now) {
                index += 1
            } else if let observer = transmissions.remove(at: index).observer {
                removeObserver(observer)
            }
        }
    }
}
