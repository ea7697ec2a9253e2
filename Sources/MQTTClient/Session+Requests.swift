internal import Kernel
internal import SAL

extension MQTTSession {
    /// Publishes a message. With QoS 1 it returns the packet identifier, waits for a connection if there is none, and is
    /// sent until the server has acknowledged it; with QoS 0 there must be a connection.
    public mutating func publish(
        topic: Span<UInt8>,
        payload: Span<UInt8>,
        qos: QoS,
        isRetained: Bool
    ) throws(MQTTError) -> UInt16? {
        guard TopicFilter.isValidName(topic) else { throw .invalidTopicName }
        let bytes =
            5
            + ClientPacket.publishRemainingLength(
                topicCount: topic.count,
                payloadCount: payload.count,
                qos: qos
            )
        let limit = min(configuration.maximumPacketBytes, 268_435_455)
        guard bytes <= limit else { throw .packetTooLarge(bytes: bytes, limit: limit) }
        var packet: [UInt8] = []
        switch qos {
        case .atMostOnce:
            guard isConnected else { throw .notConnected }
            guard outgoing.count < Self.maximumUnsentBytes else {
                throw .tooManyInFlight(limit: Self.maximumUnsentBytes)
            }
            ClientPacket.publish(
                topic: topic,
                payload: payload,
                qos: qos,
                isRetained: isRetained,
                packetID: 0,
                to: &packet
            )
            outgoing.append(packet.span)
            return nil
        case .atLeastOnce:
            let packetID = try nextPacketID()
            ClientPacket.publish(
                topic: topic,
                payload: payload,
                qos: qos,
                isRetained: isRetained,
                packetID: packetID,
                to: &packet
            )
            append(Request(kind: .publish, packetID: packetID, packet: packet))
            return packetID
        }
    }

    /// Subscribes to a topic filter and returns the packet identifier. Once granted, it is subscribed to again whenever
    /// a server has lost the session.
    public mutating func subscribe(to filter: Span<UInt8>, qos: QoS) throws(MQTTError) -> UInt16 {
        guard TopicFilter.isValid(filter) else { throw .invalidTopicFilter }
        let packetID = try nextPacketID()
        let packet = ClientPacket.subscribe(filter: filter, qos: qos, packetID: packetID)
        append(Request(kind: .subscribe(qos), packetID: packetID, packet: packet))
        return packetID
    }

    /// Ends a subscription and returns the packet identifier.
    public mutating func unsubscribe(from filter: Span<UInt8>) throws(MQTTError) -> UInt16 {
        guard TopicFilter.isValid(filter) else { throw .invalidTopicFilter }
        let packetID = try nextPacketID()
        let packet = ClientPacket.unsubscribe(filter: filter, packetID: packetID)
        subscriptions.removeAll { Self.equal($0.filter.span, filter) }
        append(Request(kind: .unsubscribe, packetID: packetID, packet: packet))
        return packetID
    }

    /// Says that a message is in the user's hands: only now may the server forget it (4.3.2).
    public mutating func acknowledge(_ packetID: UInt16) {
        guard packetID != 0, isConnected else { return }
        var packet: [UInt8] = []
        ClientPacket.puback(packetID: packetID, to: &packet)
        outgoing.append(packet.span)
    }

    /// Packet identifiers count up, and requests leave in their order, so the next is free as long as there are fewer
    /// than 65,535 requests.
    private mutating func nextPacketID() throws(MQTTError) -> UInt16 {
        guard !requests.isFull else { throw .tooManyInFlight(limit: requests.limit) }
        lastPacketID = lastPacketID == 65_535 ? 1 : lastPacketID + 1
        return lastPacketID
    }

    private mutating func append(_ request: Request) {
        let wasAppended = requests.enqueue(request)
        precondition(wasAppended, "nextPacketID has checked that there is room")
    }

    /// Turns requests into outgoing bytes while the transport keeps up.
    mutating func fillOutgoing() {
        guard isConnected else { return }
        while sentCount < requests.count, outgoing.count < Self.maximumUnsentBytes {
            if !requests[sentCount].isAcknowledged {
                let packet = requests[sentCount].packet
                outgoing.append(packet.span)
                requests[sentCount].wasSent = true
            }
            sentCount += 1
        }
    }

    /// After CONNACK: requests without an acknowledgement go out again, publishes marked as duplicates if the server has
    /// our session; if it has not, what was subscribed to is subscribed to again.
    mutating func resume(sessionPresent: Bool) {
        sentCount = 0
        for index in 0..<requests.count {
            guard case .publish = requests[index].kind, requests[index].wasSent else { continue }
            if sessionPresent {
                requests[index].packet[0] |= 0x08
            } else {
                requests[index].packet[0] &= ~0x08
            }
        }
        guard !sessionPresent else { return }
        for subscription in subscriptions {
            // Beyond the limit there is no room; the user hears of it as a lost subscription would be heard of.
            guard let packetID = try? nextPacketID() else { break }
            let packet = ClientPacket.subscribe(
                filter: subscription.filter.span,
                qos: subscription.qos,
                packetID: packetID
            )
            append(Request(kind: .resubscribe, packetID: packetID, packet: packet))
        }
    }

    /// Deals with the acknowledgement `packet` of `packetID`.
    /// One that nothing waits for is ignored: a server may repeat itself when a session goes on.
    mutating func acknowledged(_ packetID: UInt16, as packet: ServerPacket) -> Event? {
        for index in 0..<sentCount where requests[index].packetID == packetID && !requests[index].isAcknowledged {
            let event: Event?
            switch (requests[index].kind, packet) {
            case (.publish, .puback): event = .published(packetID: packetID)
            case (.unsubscribe, .unsuback): event = .unsubscribed(packetID: packetID)
            case (.subscribe(let qos), .suback(_, let granted)):
                let filter = Self.filter(ofSubscribe: requests[index].packet)
                if granted != nil { remember(filter, qos) }
                event = .subscribed(packetID: packetID, granted: granted)
            case (.resubscribe, .suback(_, let granted)):
                let filter = Self.filter(ofSubscribe: requests[index].packet)
                if granted == nil { subscriptions.removeAll { Self.equal($0.filter.span, filter.span) } }
                event = granted == nil ? .subscriptionLost(filter: filter) : nil
            case (.publish, _), (.subscribe, _), (.resubscribe, _), (.unsubscribe, _): continue
            }
            requests[index].isAcknowledged = true
            requests[index].packet = []
            while let first = requests.first, first.isAcknowledged {
                _ = requests.dequeue()
                sentCount -= 1
            }
            return event
        }
        return nil
    }

    private mutating func remember(_ filter: [UInt8], _ qos: QoS) {
        subscriptions.removeAll { Self.equal($0.filter.span, filter.span) }
        subscriptions.append(Subscription(filter: filter, qos: qos))
    }

    /// The topic filter in a SUBSCRIBE packet of our own.
    private static func filter(ofSubscribe packet: [UInt8]) -> [UInt8] {
        var start = 2
        while packet[start - 1] >= 0x80 { start += 1 }
        return Array(packet[(start + 4)..<(packet.count - 1)])
    }

    private static func equal(_ a: Span<UInt8>, _ b: Span<UInt8>) -> Bool {
        guard a.count == b.count else { return false }
        for index in a.indices where a[index] != b[index] { return false }
        return true
    }
}
