internal import Kernel
internal import SAL

/// What is known of a message whose acknowledgement is owed.
enum Inbound {
    /// The user has it, and is through with it.
    static let isTaken: UInt8 = 1
    static let isQoS2: UInt8 = 2
}

extension MQTTSession {
    /// Whether as many messages wait for the user's acknowledgement as may, so that nothing more should be taken from the transport.
    /// Those that only wait for the server to release them are not counted: its word is still to be read.
    var isFull: Bool { unacknowledged.count >= Int(configuration.receiveMaximum) }

    /// A message that has arrived; `nil` if the user has it already.
    mutating func receivePublish(_ packet: Span<UInt8>, _ header: FixedHeader) throws(MQTTError) -> Event {
        let body = packet.extracting(droppingFirst: header.headerBytes)
        let layout = try PublishLayout(body, firstByte: header.firstByte, hasProperties: isVersion5)
        let topic = body.extracting(2..<layout.topicEnd)
        let payloadStart = header.headerBytes + layout.propertiesEnd
        #if os(Linux) || MQTT5
        var alias = 0
        if isVersion5, layout.propertiesEnd > layout.propertiesStart {
            let properties = body.extracting(layout.propertiesStart..<layout.propertiesEnd)
            if let fault = MQTTProperties.fault(in: properties, of: 1 << UInt16(PacketType.publish.rawValue)) {
                throw .protocolViolation(fault)
            }
            alias = MQTTProperties.number(.topicAlias, in: properties) ?? 0
            guard alias <= Int(configuration.topicAliasMaximum) else { throw .protocolViolation(.topicAliasInvalid) }
        }
        let hasTopic = !topic.isEmpty || alias == 0
        #else
        let hasTopic = true
        #endif
        if hasTopic {
            guard TopicFilter.isValidName(topic) else {
                throw .protocolViolation(.malformedPacket(firstByte: header.firstByte))
            }
        }
        var message: MQTTMessage
        #if os(Linux) || MQTT5
        if alias > 0 {
            message = try resolved(packet, header, layout, alias)
        } else {
            message = taken(packet, header, layout, payloadStart)
        }
        #else
        message = taken(packet, header, layout, payloadStart)
        #endif
        guard layout.packetID != 0 else { return .message(message) }
        message.receipt = MQTTReceipt(
            packetID: layout.packetID,
            isQoS2: message.qos == .exactlyOnce,
            connection: connectionNumber,
            session: sessionNumber
        )
        let index = message.qos == .exactlyOnce ? received.firstIndex(of: layout.packetID) : nil
        #if os(Linux) || MQTT5
        // A message with QoS 2 would count until its PUBCOMP (3.3.4), but Mosquitto lets it count until its PUBREC.
        if isVersion5, index == nil, isFull {
            throw .protocolViolation(.receiveMaximumExceeded)
        }
        #endif
        guard message.qos == .exactlyOnce else {
            unacknowledged.append(layout.packetID, 0)
            return .message(message)
        }
        // A duplicate of what the user has, or has had, is only answered (4.3.3).
        if let index {
            let isTaken = received[index].flags & Inbound.isTaken
            if unacknowledged.firstIndex(of: layout.packetID) == nil {
                unacknowledged.append(layout.packetID, Inbound.isQoS2 | isTaken)
            }
            sendAcknowledgements()
            recycle(message)
            return .nothing
        }
        received.append(layout.packetID, 0)
        unacknowledged.append(layout.packetID, Inbound.isQoS2)
        return .message(message)
    }

    #if os(Linux) || MQTT5
    /// A message whose topic an alias stands for, or shall stand for (MQTT 5.0, 3.3.2.3.4).
    private mutating func resolved(
        _ packet: Span<UInt8>,
        _ header: FixedHeader,
        _ layout: PublishLayout,
        _ alias: Int
    ) throws(MQTTError) -> MQTTMessage {
        let body = packet.extracting(droppingFirst: header.headerBytes)
        let topic = body.extracting(2..<layout.topicEnd)
        while incomingAliases.count < alias { incomingAliases.append([]) }
        if !topic.isEmpty {
            incomingAliases[alias - 1] = [UInt8](copying: topic)
            return taken(packet, header, layout, header.headerBytes + layout.propertiesEnd)
        }
        let name = incomingAliases[alias - 1]
        guard !name.isEmpty else { throw .protocolViolation(.topicAliasInvalid) }
        var storage = name
        storage.append(body.extracting(droppingFirst: layout.propertiesStart))
        scratch = []
        return MQTTMessage(
            storage: storage,
            topic: 0..<name.count,
            propertiesStart: name.count,
            payloadStart: name.count + layout.propertiesEnd - layout.propertiesStart,
            payloadEnd: storage.count,
            firstByte: header.firstByte
        )
    }
    #endif

    /// A message in the memory of the one before, or in the packet's own if that was put together from pieces.
    private mutating func taken(
        _ packet: Span<UInt8>,
        _ header: FixedHeader,
        _ layout: PublishLayout,
        _ payloadStart: Int
    ) -> MQTTMessage {
        var storage = scratch
        scratch = []
        if !isWhole { storage.overwrite(with: packet) }
        isWhole = false
        let start = header.headerBytes
        return MQTTMessage(
            storage: storage,
            topic: (start + 2)..<(start + layout.topicEnd),
            propertiesStart: start + layout.propertiesStart,
            payloadStart: payloadStart,
            payloadEnd: packet.count,
            firstByte: header.firstByte
        )
    }

    /// Gives the memory of a message back that nobody keeps, for the next.
    public mutating func recycle(_ message: consuming MQTTMessage) {
        scratch = message.storage
        if scratch.capacity > 16_384 { scratch = [] }
    }

    // MARK: Acknowledgements

    /// Says that a message is in the user's hands: only now may the server forget it (4.3.2). The server is told in the order of the messages' arrival
    /// (4.6.0), so one that is not acknowledged holds back the acknowledgements behind it.
    public mutating func acknowledge(_ receipt: MQTTReceipt) {
        guard receipt.packetID != 0 else { return }
        if receipt.isQoS2 {
            // Also after a new connection: the server sends it again, and the user is not bothered with it.
            guard receipt.session == sessionNumber, let index = received.firstIndex(of: receipt.packetID) else {
                return
            }
            received.setFlags(at: index, Inbound.isTaken)
        }
        guard isConnected else { return }
        guard receipt.isQoS2 || receipt.connection == connectionNumber,
            let index = unacknowledged.firstIndex(of: receipt.packetID)
        else { return }
        unacknowledged.setFlags(at: index, unacknowledged[index].flags | Inbound.isTaken)
        if index == 0 { sendAcknowledgements() }
    }

    private mutating func sendAcknowledgements() {
        while unacknowledged.count > 0 {
            let entry = unacknowledged[0]
            guard entry.flags & Inbound.isTaken != 0 else { return }
            let isQoS2 = entry.flags & Inbound.isQoS2 != 0
            sendAcknowledgement(isQoS2 ? .pubrec : .puback, entry.packetID, .success)
            unacknowledged.removeFirst()
        }
    }

    /// The server gives a packet identifier back (PUBREL).
    mutating func release(_ packetID: UInt16) {
        guard let index = received.firstIndex(of: packetID) else {
            return sendAcknowledgement(.pubcomp, packetID, .packetIdentifierNotFound)
        }
        received.remove(at: index)
        #if !hasFeature(Embedded)
        keeper?.store.removeReceived(packetID)
        #endif
        sendAcknowledgement(.pubcomp, packetID, .success)
    }
}

extension [UInt8] {
    /// Has `bytes` at the start; more may follow. It is cheaper than to make an array shorter.
    fileprivate mutating func overwrite(with bytes: Span<UInt8>) {
        guard bytes.count <= count else {
            clear()
            return append(bytes)
        }
        #if hasFeature(Embedded)
        for index in bytes.indices { self[index] = bytes[index] }
        #else
        unsafe withUnsafeMutableBytes { target in
            unsafe bytes.withUnsafeBytes { unsafe target.copyMemory(from: $0) }
        }
        #endif
    }
}
