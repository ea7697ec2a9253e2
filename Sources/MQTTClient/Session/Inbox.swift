internal import SAL

/// What is known of messages with an acknowledgement that have arrived: a list of packet identifiers, each with a flag, in the order of their arrival.
struct PacketIDList: ~Copyable {
    struct Entry {
        let packetID: UInt16
        var flags: UInt8
    }

    private var entries = CompactQueue<Entry>(keeping: 64)

    var count: Int { entries.count }

    mutating func append(_ packetID: UInt16, _ flags: UInt8) {
        entries.append(Entry(packetID: packetID, flags: flags))
    }

    /// The place of a packet identifier, from 0.
    func firstIndex(of packetID: UInt16) -> Int? {
        for index in 0..<entries.count where entries[index].packetID == packetID { return index }
        return nil
    }

    subscript(index: Int) -> Entry { entries[index] }

    mutating func setFlags(at index: Int, _ flags: UInt8) { entries[index].flags = flags }

    mutating func removeFirst() { entries.removeFirst() }

    mutating func remove(at index: Int) {
        var position = index
        while position > 0 {
            entries[position] = entries[position - 1]
            position -= 1
        }
        entries.removeFirst()
    }

    mutating func removeAll() { entries.removeAll() }
}
