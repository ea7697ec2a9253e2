internal import Kernel
internal import SAL

extension MQTTSession {
    /// Subscribes to a topic filter and returns the number of the answer. Once granted, it is subscribed to again whenever
    /// a server has lost the session.
    public mutating func subscribe(
        to filter: Span<UInt8>,
        options: MQTTSubscriptionOptions = MQTTSubscriptionOptions()
    ) throws(MQTTError) -> MQTTRequestID {
        try check(filter, options)
        #if os(Linux) || MQTT5
        try makeRoomForRequest(bytes: filter.count + options.properties.bytes.count)
        #else
        try makeRoomForRequest(bytes: filter.count)
        #endif
        lastNumber &+= 1
        addSubscribe(.subscribe, number: lastNumber, filter, options)
        return lastNumber
    }

    #if !hasFeature(Embedded)
    /// Subscribes to several topic filters with one packet; the options of all have the same identifier and properties.
    public mutating func subscribe(
        to subscriptions: [(filter: [UInt8], options: MQTTSubscriptionOptions)]
    ) throws(MQTTError) -> MQTTRequestID {
        guard let first = subscriptions.first else { throw .invalidTopicFilter }
        var bytes = 0
        for (filter, options) in subscriptions {
            guard options.identifier == first.options.identifier, options.properties == first.options.properties else {
                throw .invalidProperties
            }
            try check(filter.span, options)
            bytes += filter.count + 3
        }
        try makeRoomForRequest(bytes: bytes + first.options.properties.bytes.count)
        let properties = subscribeProperties(first.options)
        let length = 2 + properties.count + bytes
        lastNumber &+= 1
        requests.add(.subscribe, number: lastNumber) { packet in
            packet.appendHeader(.subscribe, flags: 2, remainingLength: length)
            packet.appendInteger(0)
            packet.append(properties.span)
            for (filter, options) in subscriptions {
                packet.appendField(filter.span)
                packet.append(options.byte)
            }
        }
        return lastNumber
    }
    #endif

    #if os(Linux) || MQTT5
    /// Ends a subscription and returns the number of the answer. `properties` are user properties of the request (5.0).
    public mutating func unsubscribe(
        from filter: Span<UInt8>,
        properties: MQTTProperties = MQTTProperties()
    ) throws(MQTTError) -> MQTTRequestID {
        guard MQTTProperties.fault(in: properties.bytes.span, of: 1 << UInt16(PacketType.unsubscribe.rawValue)) == nil
        else { throw .invalidProperties }
        guard isVersion5 else { return try unsubscribe(from: filter, []) }
        var bytes: [UInt8] = []
        bytes.appendProperties(properties)
        return try unsubscribe(from: filter, bytes)
    }
    #else
    /// Ends a subscription and returns the number of the answer.
    public mutating func unsubscribe(from filter: Span<UInt8>) throws(MQTTError) -> MQTTRequestID {
        try unsubscribe(from: filter, [])
    }
    #endif

    /// `properties` have their length before them, and are empty in 3.1.1.
    private mutating func unsubscribe(
        from filter: Span<UInt8>,
        _ properties: [UInt8]
    ) throws(MQTTError) -> MQTTRequestID {
        guard TopicFilter.isValid(filter) else { throw .invalidTopicFilter }
        try makeRoomForRequest(bytes: filter.count + properties.count)
        lastNumber &+= 1
        requests.add(.unsubscribe, number: lastNumber) { packet in
            packet.appendHeader(.unsubscribe, flags: 2, remainingLength: 4 + properties.count + filter.count)
            packet.appendInteger(0)
            packet.append(properties.span)
            packet.appendField(filter)
        }
        forget(filter)
        return lastNumber
    }

    private mutating func check(_ filter: Span<UInt8>, _ options: MQTTSubscriptionOptions) throws(MQTTError) {
        guard TopicFilter.isValid(filter) else { throw .invalidTopicFilter }
        #if os(Linux) || MQTT5
        // What 3.1.1 does not have would be left out without a word.
        let isPlain = options.identifier == nil && options.properties.isEmpty && options.byte == options.qos.rawValue
        let packet: UInt16 = 1 << UInt16(PacketType.subscribe.rawValue)
        guard isVersion5 || isPlain, options.properties.number(of: .subscriptionIdentifier) == nil,
            MQTTProperties.fault(in: options.properties.bytes.span, of: packet) == nil
        else { throw .invalidProperties }
        if let identifier = options.identifier {
            guard identifier > 0, identifier <= VariableByteInteger.maximum else { throw .invalidProperties }
            guard limits.hasSubscriptionIdentifiers else { throw .unsupportedByServer(.subscriptionIdentifiers) }
        }
        let isShared = TopicFilter.isShared(filter)
        if isShared {
            guard isVersion5 ? limits.hasSharedSubscriptions : configuration.hasSharedSubscriptions else {
                throw .unsupportedByServer(.sharedSubscriptions)
            }
            // One's own messages cannot be left out of what others share (MQTT-3.8.3-4).
            guard !options.noLocal else { throw .invalidProperties }
        }
        guard limits.hasWildcards || !TopicFilter.hasWildcard(filter) else {
            throw .unsupportedByServer(.wildcardSubscriptions)
        }
        #endif
    }

    private mutating func makeRoomForRequest(bytes: Int) throws(MQTTError) {
        let queue = configuration.queue
        guard waitingCount < queue.requests else { throw .queueFull(limit: queue.requests) }
        #if hasFeature(Embedded)
        // One that is never answered holds the memory of those behind it.
        guard requests.heldBytes + bytes <= queue.bytes else { throw .queueFull(limit: queue.bytes) }
        #else
        if requests.hasHoles { nextRequest = requests.removeHoles(nextRequest) }
        #endif
        guard bytes + 16 <= limits.packetBytes else {
            throw .packetTooLarge(bytes: bytes + 16, limit: limits.packetBytes)
        }
    }

    /// Adds a SUBSCRIBE with one topic filter.
    private mutating func addSubscribe(
        _ kind: Outbox.Kind,
        number: UInt32,
        _ filter: Span<UInt8>,
        _ options: MQTTSubscriptionOptions
    ) {
        #if os(Linux) || MQTT5
        let properties = subscribeProperties(options)
        let count = properties.count
        #else
        let count = 0
        #endif
        requests.add(kind, number: number) { packet in
            packet.appendHeader(.subscribe, flags: 2, remainingLength: 5 + count + filter.count)
            packet.appendInteger(0)
            #if os(Linux) || MQTT5
            packet.append(properties.span)
            #endif
            packet.appendField(filter)
            packet.append(options.byte)
        }
    }

    #if os(Linux) || MQTT5
    /// The properties of a SUBSCRIBE with their length; nothing at all in 3.1.1.
    private func subscribeProperties(_ options: MQTTSubscriptionOptions) -> [UInt8] {
        guard isVersion5 else { return [] }
        var properties = options.properties
        if let identifier = options.identifier { properties.appendSubscriptionIdentifier(identifier) }
        var bytes: [UInt8] = []
        bytes.appendProperties(properties)
        return bytes
    }
    #endif

    /// Sends the next subscription or unsubscription; `false` if it must wait.
    mutating func sendRequest() -> Bool {
        let place = nextRequest
        switch requests.state(place) {
        case .waiting, .sent:
            if !requests.wasSent(place) {
                guard let packetID = newPacketID() else { return false }
                requests.markSent(place, packetID: packetID)
            }
            requests.withPacket(place) { outgoing.append($0) }
        case .released, .finished, .done: break
        }
        nextRequest = requests.next(place)
        return true
    }

    /// After CONNACK: what has no acknowledgement goes out again; with a new session, as new, and what was subscribed to is subscribed to
    /// again.
    mutating func resume(sessionPresent: Bool) {
        nextPublish = publishes.first
        nextRequest = requests.first
        underWay = 0
        if sessionPresent { return }
        sessionNumber &+= 1
        received.removeAll()
        #if !hasFeature(Embedded)
        keeper?.store.removeAllReceived()
        #endif
        var place = publishes.first
        while place < publishes.end {
            let next = publishes.next(place)
            switch publishes.state(place) {
            case .waiting, .finished, .done: break
            #if hasFeature(Embedded)
            // A server answers a PUBREL that it does not know.
            case .released: break
            case .sent: publishes.forgetSent(place)
            #else
            // The server has had it (4.3.3).
            case .released: lose(place, .published)
            case .sent:
                if configuration.publishesAgainWithoutSession {
                    publishes.forgetSent(place)
                } else {
                    lose(place, .sessionLost)
                }
            #endif
            }
            place = next
        }
        place = requests.first
        while place < requests.end {
            let next = requests.next(place)
            switch requests.state(place) {
            // All are asked for anew below.
            case .sent, .waiting:
                if requests.kind(place) == .resubscribe {
                    requests.set(place, .done)
                } else {
                    requests.forgetSent(place)
                }
            case .released, .finished, .done: break
            }
            place = next
        }
        // They go before all else that waits: their number is zero.
        var rest = firstSubscription
        while let subscription = rest {
            rest = subscription.next
            let filter = subscription.filter
            addSubscribe(.resubscribe, number: 0, filter.span, subscription.options)
        }
        nextPublish = publishes.first
        nextRequest = requests.first
    }

    #if !hasFeature(Embedded)
    private mutating func lose(_ place: Int, _ outcome: Outbox.Outcome) {
        if keeper != nil { storeRemoved(publishes.number(place)) }
        publishes.finish(place, outcome)
    }
    #endif

    /// Deals with SUBACK or UNSUBACK. One that nothing waits for is ignored.
    mutating func answered(
        _ answer: SubscriptionAcknowledgement,
        by type: PacketType,
        _ firstByte: UInt8
    ) throws(MQTTError) -> Event {
        var place = requests.first
        while place < nextRequest {
            guard requests.state(place) == .sent, requests.packetID(place) == answer.packetID else {
                place = requests.next(place)
                continue
            }
            let kind = requests.kind(place)
            guard (kind == .unsubscribe) == (type == .unsuback) else {
                throw .protocolViolation(.unexpectedPacket(firstByte: firstByte))
            }
            return try finishRequest(place, kind, answer, firstByte)
        }
        return .nothing
    }

    private mutating func finishRequest(
        _ place: Int,
        _ kind: Outbox.Kind,
        _ answer: SubscriptionAcknowledgement,
        _ firstByte: UInt8
    ) throws(MQTTError) -> Event {
        let number = requests.number(place)
        let packet = requests.withPacket(place) { [UInt8](copying: $0) }
        let codes = answer.codes
        if kind != .unsubscribe || isVersion5 {
            guard count(ofFiltersIn: packet.span, kind) == codes.count else {
                throw .protocolViolation(.malformedPacket(firstByte: firstByte))
            }
        }
        requests.set(place, .done)
        if nextRequest < requests.first { nextRequest = requests.first }
        if kind == .unsubscribe { return .unsubscribed(number, codes: codes) }
        var lost: [UInt8]?
        var lostCode = MQTTReasonCode.success
        var index = 0
        var position = filtersStart(in: packet.span)
        while position < packet.count {
            let end = position + 2 + (Int(packet[position]) << 8 | Int(packet[position + 1]))
            let filter = [UInt8](copying: packet.span.extracting((position + 2)..<end))
            let isRefused = codes[index] >= 0x80
            if kind == .resubscribe {
                if isRefused {
                    forget(filter.span)
                    lost = filter
                    lostCode = MQTTReasonCode(rawValue: codes[index])
                }
            } else if !isRefused {
                forget(filter.span)
                let subscription = Subscription(filter, options(packet[end], in: packet.span))
                subscription.next = firstSubscription
                firstSubscription = subscription
            }
            position = end + 1
            index += 1
        }
        if kind == .resubscribe { return lost.map { .subscriptionLost(filter: $0, lostCode) } ?? .nothing }
        return .subscribed(number, codes: codes)
    }

    /// Where the topic filters start in a packet of our own.
    private func filtersStart(in packet: Span<UInt8>) -> Int {
        let start = Outbox.variableHeader(packet) + 2
        guard isVersion5, let (length, begin) = VariableByteInteger.read(packet, at: start) else { return start }
        return begin + length
    }

    private func count(ofFiltersIn packet: Span<UInt8>, _ kind: Outbox.Kind) -> Int {
        var position = filtersStart(in: packet)
        var count = 0
        while position < packet.count {
            position += 2 + (Int(packet[position]) << 8 | Int(packet[position + 1])) + (kind == .unsubscribe ? 0 : 1)
            count += 1
        }
        return count
    }

    #if os(Linux) || MQTT5
    /// The properties of a SUBSCRIBE of our own.
    private func properties(in packet: Span<UInt8>) -> MQTTProperties {
        guard isVersion5 else { return MQTTProperties() }
        let start = Outbox.variableHeader(packet) + 2
        guard let (length, begin) = VariableByteInteger.read(packet, at: start) else { return MQTTProperties() }
        return MQTTProperties(copying: packet.extracting(begin..<(begin + length)))
    }
    #endif

    /// The options that a SUBSCRIBE of our own has for a filter.
    private func options(_ byte: UInt8, in packet: Span<UInt8>) -> MQTTSubscriptionOptions {
        var options = MQTTSubscriptionOptions(QoS(rawValue: byte & 3) ?? .atMostOnce)
        #if os(Linux) || MQTT5
        options.noLocal = byte & 4 != 0
        options.retainAsPublished = byte & 8 != 0
        options.retainHandling = MQTTSubscriptionOptions.RetainHandling(rawValue: byte >> 4 & 3) ?? .send
        options.properties = properties(in: packet)
        options.identifier = options.properties.number(of: .subscriptionIdentifier)
        options.properties.set(.subscriptionIdentifier, to: nil as Int?)
        #endif
        return options
    }

    /// Takes a topic filter out of what is subscribed to again.
    private mutating func forget(_ filter: Span<UInt8>) {
        var previous: Subscription?
        var rest = firstSubscription
        while let subscription = rest {
            rest = subscription.next
            let other = subscription.filter
            guard Self.equal(other.span, filter) else {
                previous = subscription
                continue
            }
            if let previous { previous.next = rest } else { firstSubscription = rest }
            return
        }
    }

    private static func equal(_ a: Span<UInt8>, _ b: Span<UInt8>) -> Bool {
        guard a.count == b.count else { return false }
        for index in a.indices where a[index] != b[index] { return false }
        return true
    }
}
