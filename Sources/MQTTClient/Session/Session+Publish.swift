internal import Kernel
internal import SAL

extension MQTTSession {
    // MARK: Asking

    #if os(Linux) || MQTT5
    /// Publishes a message. With QoS 1 and 2 it returns the number that ``Event/published(_:_:)`` will name, waits for a connection if there is none,
    /// and is sent until the server has acknowledged it. With QoS 0 there must be a connection, unless the queue keeps such messages.
    /// In 3.1.1 the properties are left out. `now` is what a message expiry interval counts from.
    public mutating func publish(
        topic: Span<UInt8>,
        payload: Span<UInt8>,
        qos: QoS,
        isRetained: Bool,
        properties: MQTTProperties = MQTTProperties(),
        at now: Duration = .zero
    ) throws(MQTTError) -> MQTTRequestID? {
        guard isVersion5 else {
            return try publish(topic, payload, qos, isRetained, properties.bytes.span, 0, .max)
        }
        var expiresAt = Int64.max
        if !properties.isEmpty {
            // An alias is the session's own matter.
            guard MQTTProperties.find(.topicAlias, in: properties.bytes.span) == nil,
                MQTTProperties.find(.subscriptionIdentifier, in: properties.bytes.span) == nil,
                MQTTProperties.fault(in: properties.bytes.span, of: 1 << UInt16(PacketType.publish.rawValue)) == nil
            else { throw .invalidProperties }
            if let seconds = properties.number(of: .messageExpiryInterval) {
                expiresAt = Int64(now.wholeMilliseconds) + Int64(seconds) * 1_000
            }
        }
        return try publish(topic, payload, qos, isRetained, properties.bytes.span, properties.wireBytes, expiresAt)
    }
    #else
    /// Publishes a message. With QoS 1 and 2 it returns the number that ``Event/published(_:_:)`` will name, waits for a connection if there is none,
    /// and is sent until the server has acknowledged it. With QoS 0 there must be a connection, unless the queue keeps such messages.
    public mutating func publish(
        topic: Span<UInt8>,
        payload: Span<UInt8>,
        qos: QoS,
        isRetained: Bool
    ) throws(MQTTError) -> MQTTRequestID? {
        try publish(topic, payload, qos, isRetained, payload.extracting(first: 0), 0, .max)
    }
    #endif

    /// `propertiesBytes` counts their length too, and is zero for packets without them.
    private mutating func publish(
        _ topic: Span<UInt8>,
        _ payload: Span<UInt8>,
        _ qos: QoS,
        _ isRetained: Bool,
        _ properties: Span<UInt8>,
        _ propertiesBytes: Int,
        _ expiresAt: Int64
    ) throws(MQTTError) -> MQTTRequestID? {
        guard TopicFilter.isValidName(topic) else { throw .invalidTopicName }
        let length = 2 + topic.count + (qos == .atMostOnce ? 0 : 2) + propertiesBytes + payload.count
        try checkPublish(packetBytes: 1 + VariableByteInteger.count(length) + length, qos, isRetained)
        let firstByte = PacketType.publish.rawValue << 4 | qos.rawValue << 1 | (isRetained ? 1 : 0)
        func write(_ bytes: inout ByteQueue) {
            bytes.append(firstByte)
            bytes.appendVariableByteInteger(length)
            bytes.appendField(topic)
            // The packet identifier is filled in when it is sent.
            if qos != .atMostOnce { bytes.appendInteger(0) }
            if propertiesBytes > 0 {
                bytes.appendVariableByteInteger(properties.count)
                bytes.append(properties)
            }
            bytes.append(payload)
        }
        if qos == .atMostOnce, isConnected {
            guard outgoing.count < Self.maximumUnsentBytes else { throw .queueFull(limit: Self.maximumUnsentBytes) }
            #if os(Linux) || MQTT5
            if outgoingAliases.limit > 0 {
                var packet = ByteQueue()
                write(&packet)
                packet.withSpan { outgoing.appendPublish($0, hasPacketID: false, aliases: &outgoingAliases) }
                return nil
            }
            #endif
            write(&outgoing)
            return nil
        }
        #if hasFeature(Embedded)
        guard qos != .atMostOnce else { throw .notConnected }
        #else
        guard qos != .atMostOnce || configuration.queue.keepsQoS0 else { throw .notConnected }
        #endif
        guard try makeRoom(for: length + 5) else { return nil }
        lastNumber &+= 1
        let kind = qos == .atMostOnce ? Outbox.Kind.unacknowledged : .publish
        let place = publishes.add(kind, number: lastNumber, expiresAt: expiresAt, write)
        #if !hasFeature(Embedded)
        if keeper != nil { storeAdded(place) }
        #endif
        return qos == .atMostOnce ? nil : lastNumber
    }

    /// Whether the server takes such a message, as far as it has said.
    private mutating func checkPublish(packetBytes: Int, _ qos: QoS, _ isRetained: Bool) throws(MQTTError) {
        let limit = min(limits.packetBytes, configuration.queue.bytes)
        guard packetBytes <= limit else { throw .packetTooLarge(bytes: packetBytes, limit: limit) }
        #if os(Linux) || MQTT5
        guard qos.rawValue <= limits.maximumQoS else { throw .unsupportedByServer(.qos(qos)) }
        guard !isRetained || limits.hasRetain else { throw .unsupportedByServer(.retain) }
        #endif
    }

    #if hasFeature(Embedded)
    /// Whether the queue has room for another.
    private mutating func makeRoom(for bytes: Int) throws(MQTTError) -> Bool {
        // One that is never answered holds the memory of those behind it.
        guard waitingCount < configuration.queue.requests,
            publishes.heldBytes + bytes <= configuration.queue.bytes
        else {
            throw .queueFull(limit: configuration.queue.requests)
        }
        return true
    }
    #else
    /// Sees to it that the queue has room for another; returns `false` if the new one is to be dropped.
    private mutating func makeRoom(for bytes: Int) throws(MQTTError) -> Bool {
        let queue = configuration.queue
        // Among small ones it need not be looked for each time.
        if bytes > 1_024 || lastNumber & 0x3F == 0, publishes.hasHoles, largePublish == nil {
            nextPublish = publishes.removeHoles(nextPublish)
        }
        while waitingCount >= queue.requests || publishes.byteCount + requests.byteCount + bytes > queue.bytes {
            let byCount = waitingCount >= queue.requests
            let error = MQTTError.queueFull(limit: byCount ? queue.requests : queue.bytes)
            switch queue.whenFull {
            case .wait, .fail: throw error
            case .dropNewest:
                droppedCount += 1
                return false
            case .dropOldest: guard dropOldest() else { throw error }
            }
        }
        return true
    }

    /// Drops the oldest message that was never sent; `false` if there is none.
    private mutating func dropOldest() -> Bool {
        var place = nextPublish
        while place < publishes.end {
            if publishes.state(place) == .waiting, !publishes.wasSent(place) {
                droppedCount += 1
                finish(place, .dropped)
                return true
            }
            place = publishes.next(place)
        }
        return false
    }

    /// Ends a message without an answer from the server.
    private mutating func finish(_ place: Int, _ outcome: Outbox.Outcome) {
        #if !hasFeature(Embedded)
        if keeper != nil { storeRemoved(publishes.number(place)) }
        #endif
        if publishes.kind(place) == .unacknowledged {
            publishes.set(place, .done)
            advance()
        } else {
            publishes.finish(place, outcome)
        }
    }

    /// What became of a request without an answer from the server; `nil` when all was told. Ask for it after each call.
    public mutating func nextEvent() -> Event? {
        guard publishes.finishedCount > 0 else { return nil }
        var place = publishes.first
        while publishes.state(place) != .finished { place = publishes.next(place) }
        let number = publishes.number(place)
        let outcome = publishes.outcome(place)
        let packetBytes = publishes.packetBytes(place)
        let qos = QoS(rawValue: publishes.firstByte(place) >> 1 & 3) ?? .exactlyOnce
        publishes.set(place, .done)
        advance()
        switch outcome {
        case .published: return .published(number, .success)
        case .dropped: return .failed(number, .droppedFromQueue)
        case .expired: return .failed(number, .expired)
        case .tooLarge: return .failed(number, .packetTooLarge(bytes: packetBytes, limit: limits.packetBytes))
        case .unsupportedQoS: return .failed(number, .unsupportedByServer(.qos(qos)))
        case .unsupportedRetain: return .failed(number, .unsupportedByServer(.retain))
        case .sessionLost: return .failed(number, .disconnected)
        }
    }

    #endif

    /// The places of what is next never lie before the first record.
    private mutating func advance() {
        if nextPublish < publishes.first { nextPublish = publishes.first }
        if nextRequest < requests.first { nextRequest = requests.first }
    }

    // MARK: Sending

    /// Whether one more message may be under way.
    var mayPublish: Bool { underWay < min(limits.receiveMaximum, configuration.maximumInFlight) }

    /// Whether the next message may be under way.
    private var mayPublishNext: Bool {
        mutating get {
            #if hasFeature(Embedded)
            return mayPublish
            #else
            return mayPublish && !isOverQoS2(nextPublish)
            #endif
        }
    }

    /// Turns requests into outgoing bytes while the transport keeps up.
    mutating func fillOutgoing(at now: Duration) {
        guard isConnected else { return }
        while outgoing.count < Self.maximumUnsentBytes {
            #if !hasFeature(Embedded)
            guard largePublish == nil else { return }
            #endif
            let hasRequest = nextRequest < requests.end
            guard nextPublish < publishes.end else {
                guard hasRequest, sendRequest() else { return }
                continue
            }
            // In the order they were asked for; but messages that must wait hold nothing else up.
            if hasRequest, !mayPublishNext || requests.number(nextRequest) < publishes.number(nextPublish) {
                guard sendRequest() else { return }
            } else {
                guard sendPublish(at: now) else { return }
            }
        }
    }

    /// Sends the next message; `false` if it must wait.
    private mutating func sendPublish(at now: Duration) -> Bool {
        let place = nextPublish
        #if !hasFeature(Embedded)
        if isOverQoS2(place) { return false }
        #endif
        switch publishes.state(place) {
        case .finished, .done: break
        case .released:
            guard mayPublish else { return false }
            sendAcknowledgement(.pubrel, publishes.packetID(place), .success)
            underWay += 1
            #if !hasFeature(Embedded)
            countQoS2(place, 1)
            #endif
        case .waiting, .sent:
            guard mayPublish else { return false }
            #if !hasFeature(Embedded)
            if let outcome = obstacle(place, at: now) {
                if outcome == .expired { droppedCount += 1 }
                nextPublish = publishes.next(place)
                finish(place, outcome)
                return true
            }
            if publishes.kind(place) == .unacknowledged {
                transmit(place, at: now)
                nextPublish = publishes.next(place)
                if keeper != nil { storeRemoved(publishes.number(place)) }
                publishes.set(place, .done)
                return true
            }
            #endif
            if publishes.wasSent(place) {
                publishes.markSentAgain(place)
            } else {
                guard let packetID = newPacketID() else { return false }
                publishes.markSent(place, packetID: packetID)
                #if !hasFeature(Embedded)
                if keeper != nil { storeChanged(place) }
                #endif
            }
            transmit(place, at: now)
            underWay += 1
            #if !hasFeature(Embedded)
            countQoS2(place, 1)
            #endif
        }
        nextPublish = publishes.next(place)
        return true
    }

    #if !hasFeature(Embedded)
    /// Whether a message has QoS 2, and as many of those are under way as a server of 3.1.1, which does not say how many it takes, may be given.
    private mutating func isOverQoS2(_ place: Int) -> Bool {
        guard !isVersion5, publishes.firstByte(place) & 0x04 != 0 else { return false }
        return underWayQoS2 >= configuration.maximumQoS2InFlight
    }

    /// Counts messages with QoS 2 that are under way.
    private mutating func countQoS2(_ place: Int, _ change: Int) {
        if publishes.firstByte(place) & 0x04 != 0 { underWayQoS2 += change }
    }

    /// Why a message cannot be sent to this server at all. What was sent before is sent again, whatever the server says now.
    private mutating func obstacle(_ place: Int, at now: Duration) -> Outbox.Outcome? {
        if publishes.packetBytes(place) > limits.packetBytes { return .tooLarge }
        if publishes.wasSent(place) { return nil }
        let firstByte = publishes.firstByte(place)
        if firstByte >> 1 & 3 > limits.maximumQoS { return .unsupportedQoS }
        if firstByte & 1 != 0, !limits.hasRetain { return .unsupportedRetain }
        let expiresAt = publishes.expiresAt(place)
        if expiresAt != .max, Int64(now.wholeMilliseconds) >= expiresAt { return .expired }
        return nil
    }
    #endif

    private mutating func transmit(_ place: Int, at now: Duration) {
        #if os(Linux) || MQTT5
        let expiresAt = publishes.expiresAt(place)
        if expiresAt != .max {
            // What is left of its time, at least a second of it.
            let seconds = (expiresAt - Int64(now.wholeMilliseconds) + 999) / 1_000
            publishes.setExpiry(place, seconds: max(1, Int(seconds)))
        }
        #endif
        #if !hasFeature(Embedded)
        // What is large goes out from where it is kept.
        if publishes.packetBytes(place) > Self.maximumUnsentBytes {
            largePublish = LargePublish(place: place, bytesBefore: outgoing.count)
            return
        }
        #endif
        #if os(Linux) || MQTT5
        if outgoingAliases.limit > 0 {
            let hasPacketID = publishes.kind(place) == .publish
            publishes.withPacket(place) {
                outgoing.appendPublish($0, hasPacketID: hasPacketID, aliases: &outgoingAliases)
            }
            return
        }
        #endif
        publishes.withPacket(place) { outgoing.append($0) }
    }

    #if hasFeature(Embedded)
    /// The next packet identifier; `nil` while the oldest that is in use has not been given back.
    mutating func newPacketID() -> UInt16? {
        let next = lastPacketID == 65_535 ? 1 : lastPacketID + 1
        // They are given in order, so all that are in use lie behind the first of each queue.
        if publishes.first < publishes.end, publishes.packetID(publishes.first) == next { return nil }
        if requests.first < requests.end, requests.packetID(requests.first) == next { return nil }
        lastPacketID = next
        return next
    }
    #else
    /// The next packet identifier that is not in use; `nil` if all are.
    mutating func newPacketID() -> UInt16? {
        lastPacketID = lastPacketID == 65_535 ? 1 : lastPacketID + 1
        // They are given in order: as long as the oldest request is younger than so many identifiers, none comes round to one that is in use.
        guard publishes.isOld(lastNumber) || requests.isOld(lastNumber) else { return lastPacketID }
        for _ in 0..<65_535 {
            if !publishes.isInUse(lastPacketID), !requests.isInUse(lastPacketID) { return lastPacketID }
            lastPacketID = lastPacketID == 65_535 ? 1 : lastPacketID + 1
        }
        return nil
    }
    #endif

    /// Sends PUBACK, PUBREC, PUBREL or PUBCOMP.
    mutating func sendAcknowledgement(_ type: PacketType, _ packetID: UInt16, _ code: MQTTReasonCode) {
        let firstByte = type.rawValue << 4 | (type == .pubrel ? 2 : 0)
        let (high, low) = (UInt8(packetID >> 8), UInt8(truncatingIfNeeded: packetID))
        #if os(Linux) || MQTT5
        if isVersion5, code != .success {
            let packet: InlineArray<5, UInt8> = [firstByte, 3, high, low, code.rawValue]
            outgoing.append(packet.span)
            return
        }
        #endif
        let packet: InlineArray<4, UInt8> = [firstByte, 2, high, low]
        outgoing.append(packet.span)
    }

    // MARK: The server's answers

    /// Deals with PUBACK, PUBREC or PUBCOMP. One that nothing waits for is ignored, or answered as the standard says: a server may repeat
    /// itself when a session goes on.
    mutating func acknowledged(
        _ answer: Acknowledgement,
        by type: PacketType,
        _ firstByte: UInt8
    ) throws(MQTTError) -> Event {
        guard let place = place(of: answer.packetID) else {
            if type == .pubrec, !answer.code.isFailure {
                sendAcknowledgement(.pubrel, answer.packetID, .packetIdentifierNotFound)
            }
            return .nothing
        }
        #if !hasFeature(Embedded)
        // One that is still being sent cannot be answered.
        if largePublish?.place == place { throw .protocolViolation(.unexpectedPacket(firstByte: firstByte)) }
        #endif
        let isQoS2 = publishes.firstByte(place) & 0x04 != 0
        // RabbitMQ up to 3.12, which has QoS 1 at most, acknowledges a message with QoS 2 as one with QoS 1. A server of 5.0 says what it has.
        let isDowngraded = isQoS2 && type == .puback && !isVersion5 && publishes.state(place) == .sent
        guard isQoS2 == (type != .puback) || isDowngraded else {
            throw .protocolViolation(.unexpectedPacket(firstByte: firstByte))
        }
        let number = publishes.number(place)
        if type == .pubrec {
            if !answer.code.isFailure {
                if publishes.state(place) == .sent {
                    publishes.set(place, .released)
                    #if !hasFeature(Embedded)
                    if keeper != nil { storeChanged(place) }
                    #endif
                }
                sendAcknowledgement(.pubrel, answer.packetID, .success)
                return .nothing
            }
        } else if type == .pubcomp, publishes.state(place) == .sent {
            // It completes what was never received: a server that has lost track, whose PUBREC will come.
            return .nothing
        }
        #if !hasFeature(Embedded)
        if keeper != nil { storeRemoved(number) }
        countQoS2(place, -1)
        #endif
        publishes.set(place, .done)
        advance()
        underWay -= 1
        // PUBCOMP can only fail for want of the packet identifier: the server has had the message.
        guard answer.code.isFailure, type != .pubcomp else {
            return .published(number, answer.code.isFailure ? .success : answer.code)
        }
        #if os(Linux) || MQTT5
        return .failed(number, .publishRefused(MQTTReason(answer.code, answer.properties)))
        #else
        return .failed(number, .publishRefused(MQTTReason(answer.code)))
        #endif
    }

    /// The message that is under way with a packet identifier.
    private mutating func place(of packetID: UInt16) -> Int? {
        var place = publishes.first
        while place < nextPublish {
            if publishes.packetID(place) == packetID {
                switch publishes.state(place) {
                case .sent, .released: return place
                case .waiting, .finished, .done: break
                }
            }
            place = publishes.next(place)
        }
        return nil
    }
}
