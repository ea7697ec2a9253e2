#if !hasFeature(Embedded)
internal import Kernel

extension MQTTSession {
    /// Keeps the session in `store` from now on, and takes up what is there. `timeOfDay` is how many milliseconds that is ahead of the loop's time.
    mutating func use(_ store: any MQTTStore, timeOfDay: Int64) throws(MQTTError) {
        for entry in try store.load() {
            // What is no PUBLISH, such as from a file that was damaged, or of the other version of the protocol, is left out.
            guard Self.isPublish(entry.packet.span, isVersion5: isVersion5) else {
                store.remove(entry.number)
                droppedCount += 1
                continue
            }
            publishes.restore(entry.header.span, entry.packet.span, timeOfDay: timeOfDay)
            lastNumber = entry.number
        }
        for packetID in try store.loadReceived() { received.append(packetID, Inbound.isTaken) }
        var place = publishes.first
        while place < publishes.end {
            if publishes.packetID(place) != 0 { lastPacketID = publishes.packetID(place) }
            place = publishes.next(place)
        }
        nextPublish = publishes.first
        hasSession = publishes.count > 0 || received.count > 0
        keeper = Keeper(store, timeOfDay: timeOfDay)
    }

    /// Notes that the user gets a message with QoS 2 now, so that not even the next process gets it again: ``commit()`` before it does.
    mutating func noteDelivery(_ receipt: MQTTReceipt) {
        guard receipt.isQoS2, receipt.session == sessionNumber else { return }
        keeper?.store.addReceived(receipt.packetID)
    }

    /// The user has not taken a message after all.
    mutating func withdrawDelivery(_ receipt: MQTTReceipt) {
        guard receipt.isQoS2, receipt.session == sessionNumber else { return }
        keeper?.store.removeReceived(receipt.packetID)
    }

    private static func isPublish(_ packet: Span<UInt8>, isVersion5: Bool) -> Bool {
        guard let header = try? FixedHeader.parse(packet), header.packetBytes == packet.count,
            header.firstByte >> 4 == PacketType.publish.rawValue
        else { return false }
        // Its packet identifier is still zero if it was never sent.
        var body = [UInt8](copying: packet.extracting(droppingFirst: header.headerBytes))
        guard body.count >= 2 else { return false }
        let topicEnd = 2 + (Int(body[0]) << 8 | Int(body[1]))
        if header.firstByte & 6 != 0 {
            guard body.count >= topicEnd + 2 else { return false }
            body[topicEnd + 1] = 1
        }
        guard let layout = try? PublishLayout(body.span, firstByte: header.firstByte & ~8, hasProperties: isVersion5)
        else {
            return false
        }
        return TopicFilter.isValidName(body.span.extracting(2..<layout.topicEnd))
            && MQTTProperties.fault(
                in: body.span.extracting(layout.propertiesStart..<layout.propertiesEnd),
                of: 1 << UInt16(PacketType.publish.rawValue)
            ) == nil
    }

    /// Makes last what has changed.
    mutating func commit() {
        guard let keeper, keeper.failure == nil else { return }
        do throws(MQTTError) { try keeper.store.commit() } catch { keeper.failure = error }
    }

    mutating func storeAdded(_ place: Int) {
        guard let keeper else { return }
        let header = publishes.header(place, timeOfDay: keeper.timeOfDay)
        publishes.withPacket(place) { keeper.store.put(publishes.number(place), header: header.span, packet: $0) }
    }

    mutating func storeChanged(_ place: Int) {
        guard let keeper else { return }
        keeper.store.update(publishes.number(place), header: publishes.header(place, timeOfDay: keeper.timeOfDay).span)
    }

    mutating func storeRemoved(_ number: UInt32) { keeper?.store.remove(number) }
}
#endif
