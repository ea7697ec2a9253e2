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
            append(Request(.publish, packetID, packet))
            return packetID
        }
    }

    /// Subscribes to a topic filter and returns the packet identifier. Once granted, it is subscribed to again whenever
    /// a server has lost the session.
    public mutating func subscribe(to filter: Span<UInt8>, qos: QoS) throws(MQTTError) -> UInt16 {
        guard TopicFilter.isValid(filter) else { throw .invalidTopicFilter }
        let packetID = try nextPacketID()
        let packet = ClientPacket.subscribe(filter: filter, qos: qos, packetID: packetID)
        append(Request(.subscribe, packetID, packet))
        return packetID
    }

    /// Ends a subscription and returns the packet identifier.
    public mutating func unsubscribe(from filter: Span<UInt8>) throws(MQTTError) -> UInt16 {
        guard TopicFilter.isValid(filter) else { throw .invalidTopicFilter }
        let packetID = try nextPacketID()
        let packet = ClientPacket.unsubscribe(filter: filter, packetID: packetID)
        forget(filter)
        append(Request(.unsubscribe, packetID, packet))
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
        let limit = min(configuration.maximumInFlight, 65_534)
        guard inFlightCount < limit else { throw .tooManyInFlight(limit: limit) }
        lastPacketID = lastPacketID == 65_535 ? 1 : lastPacketID + 1
        return lastPacketID
    }

    /// Turns requests into outgoing bytes while the transport keeps up.
    mutating func fillOutgoing() {
        guard isConnected else { return }
        while let request = firstUnsent, outgoing.count < Self.maximumUnsentBytes {
            if !request.isAcknowledged {
                let packet = request.packet
                outgoing.append(packet.span)
                request.wasSent = true
            }
            firstUnsent = request.next
        }
    }

    private mutating func append(_ request: Request) {
        if let lastRequest { lastRequest.next = request } else { firstRequest = request }
        lastRequest = request
        if firstUnsent == nil { firstUnsent = request }
        inFlightCount += 1
    }

    /// After CONNACK: requests without an acknowledgement go out again, publishes marked as duplicates if the server has
    /// our session; if it has not, what was subscribed to is subscribed to again.
    mutating func resume(sessionPresent: Bool) {
        firstUnsent = firstRequest
        var rest = firstRequest
        while let request = rest {
            rest = request.next
            guard request.kind == .publish && request.wasSent && !request.isAcknowledged else { continue }
            if sessionPresent { request.packet[0] |= 0x08 } else { request.packet[0] &= ~0x08 }
        }
        guard !sessionPresent else { return }
        rest = firstSubscription
        while let subscription = rest {
            rest = subscription.next
            // Beyond the limit there is no room; what waits there is subscribed to again after the next connect.
            guard let packetID = try? nextPacketID() else { break }
            var packet = subscription.packet
            let start = Self.variableHeader(of: packet)
            packet[start] = UInt8(packetID >> 8)
            packet[start + 1] = UInt8(truncatingIfNeeded: packetID)
            append(Request(.resubscribe, packetID, packet))
        }
    }

    /// Deals with the acknowledgement `packet` of `packetID`.
    /// One that nothing waits for is ignored: a server may repeat itself when a session goes on.
    mutating func acknowledged(_ packetID: UInt16, as packet: ServerPacket) -> Event? {
        var rest = firstRequest
        while let request = rest, request !== firstUnsent {
            rest = request.next
            guard request.packetID == packetID, !request.isAcknowledged else { continue }
            let event: Event?
            switch (request.kind, packet) {
            case (.publish, .puback): event = .published(packetID: packetID)
            case (.unsubscribe, .unsuback): event = .unsubscribed(packetID: packetID)
            case (.subscribe, .suback(_, let granted)):
                if granted != nil {
                    let packet = request.packet
                    forget(packet.span.extracting(Self.filterRange(ofSubscribe: packet)))
                    let subscription = Request(.subscribe, packetID, packet)
                    subscription.next = firstSubscription
                    firstSubscription = subscription
                }
                event = .subscribed(packetID: packetID, granted: granted)
            case (.resubscribe, .suback(_, let granted)):
                if granted == nil {
                    let packet = request.packet
                    let filter = [UInt8](copying: packet.span.extracting(Self.filterRange(ofSubscribe: packet)))
                    forget(filter.span)
                    event = .subscriptionLost(filter: filter)
                } else {
                    event = nil
                }
            case (.publish, _), (.subscribe, _), (.resubscribe, _), (.unsubscribe, _): continue
            }
            request.isAcknowledged = true
            request.packet = []
            while let first = firstRequest, first.isAcknowledged {
                firstRequest = first.next
                inFlightCount -= 1
            }
            if firstRequest == nil { lastRequest = nil }
            return event
        }
        return nil
    }

    /// Takes a topic filter out of what is subscribed to again.
    private mutating func forget(_ filter: Span<UInt8>) {
        var previous: Request?
        var rest = firstSubscription
        while let subscription = rest {
            rest = subscription.next
            let packet = subscription.packet
            guard Self.equal(packet.span.extracting(Self.filterRange(ofSubscribe: packet)), filter) else {
                previous = subscription
                continue
            }
            if let previous { previous.next = rest } else { firstSubscription = rest }
            return
        }
    }

    /// Where the packet identifier stands in a packet of our own.
    private static func variableHeader(of packet: [UInt8]) -> Int {
        var start = 2
        while packet[start - 1] >= 0x80 { start += 1 }
        return start
    }

    /// Where the topic filter stands in a SUBSCRIBE packet of our own.
    private static func filterRange(ofSubscribe packet: [UInt8]) -> Range<Int> {
        (variableHeader(of: packet) + 4)..<(packet.count - 1)
    }

    private static func equal(_ a: Span<UInt8>, _ b: Span<UInt8>) -> Bool {
        guard a.count == b.count else { return false }
        for index in a.indices where a[index] != b[index] { return false }
        return true
    }
}
