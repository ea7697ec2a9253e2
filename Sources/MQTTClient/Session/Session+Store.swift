#if !hasFeature(Embedded)
internal import Kernel

extension MQTTSession {
    /// Keeps the session in `store` from now on, and takes up what is there. `timeOfDay` is how many milliseconds that is ahead of the loop's time.
    mutating func use(_ store: any MQTTStore, timeOfDay: Int64) throws(MQTTError) {
        self.timeOfDay = timeOfDay
        for entry in try store.load() {
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
        self.store = store
    }

    /// Makes last what has changed.
    mutating func commit() {
        guard let store, storeFailure == nil else { return }
        do throws(MQTTError) { try store.commit() } catch { storeFailure = error }
    }

    func storeAdded(_ place: Int) {
        let header = publishes.header(place, timeOfDay: timeOfDay)
        publishes.withPacket(place) { store?.put(publishes.number(place), header: header.span, packet: $0) }
    }

    func storeChanged(_ place: Int) {
        store?.update(publishes.number(place), header: publishes.header(place, timeOfDay: timeOfDay).span)
    }

    func storeRemoved(_ number: UInt32) { store?.remove(number) }
}
#endif
