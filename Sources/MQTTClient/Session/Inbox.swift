internal import Kernel

/// What is known of messages with an acknowledgement that have arrived: a list of packet identifiers, each with a flag, in the order of their arrival.
struct PacketIDList {
    // Three bytes each.
    private var bytes: [UInt8] = []
    private var head = 0

    var count: Int { (bytes.count - head) / 3 }

    mutating func append(_ packetID: UInt16, _ flags: UInt8) {
        if head > 0, head == bytes.count {
            bytes.clear()
            head = 0
        } else if head >= 192, head >= bytes.count / 2 {
            let rest = bytes.count - head
            for index in 0..<rest { bytes[index] = bytes[index + head] }
            while bytes.count > rest { bytes.removeLast() }
            head = 0
        }
        bytes.appendInteger(packetID)
        bytes.append(flags)
    }

    /// The place of a packet identifier, from 0.
    func firstIndex(of packetID: UInt16) -> Int? {
        let (high, low) = (UInt8(packetID >> 8), UInt8(truncatingIfNeeded: packetID))
        var index = head
        while index < bytes.count {
            if bytes[index + 1] == low, bytes[index] == high { return (index - head) / 3 }
            index += 3
        }
        return nil
    }

    func packetID(at index: Int) -> UInt16 {
        UInt16(bytes[head + 3 * index]) << 8 | UInt16(bytes[head + 3 * index + 1])
    }

    func flags(at index: Int) -> UInt8 { bytes[head + 3 * index + 2] }

    mutating func setFlags(at index: Int, _ flags: UInt8) { bytes[head + 3 * index + 2] = flags }

    mutating func removeFirst() { head += 3 }

    mutating func remove(at index: Int) {
        if index == 0 { return removeFirst() }
        var position = head + 3 * index
        while position + 3 < bytes.count {
            bytes[position] = bytes[position + 3]
            position += 1
        }
        bytes.removeLast()
        bytes.removeLast()
        bytes.removeLast()
    }

    mutating func removeAll() {
        bytes = []
        head = 0
    }
}
