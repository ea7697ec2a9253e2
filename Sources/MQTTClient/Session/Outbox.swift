internal import Kernel
internal import SAL

/// Packets that wait for the server, in the order they were asked for: what is known of each, and their bytes one after another in memory that is used again and again.
///
/// A record is known by its place, which counts from the first one that there ever was. As in ``MQTTSession``, some functions are `mutating` that change nothing.
struct Outbox: ~Copyable {
    enum State: UInt8 {
        /// Not sent yet; it has no packet identifier.
        case waiting = 0
        /// Sent, not acknowledged.
        case sent
        /// The server has taken it (PUBREC); PUBREL is sent until PUBCOMP comes.
        case released
        /// It is over, and the user is to be told how: ``Outcome``.
        case finished
        /// It is over; its memory is free when all before it is.
        case done
    }

    enum Kind: UInt8 {
        case publish = 0
        case subscribe, resubscribe, unsubscribe
        /// A publish with QoS 0, which waits for a connection only.
        case unacknowledged
    }

    /// How a record ended without an answer from the server.
    enum Outcome: UInt8 {
        case published = 0
        case dropped, expired, tooLarge, unsupportedQoS, unsupportedRetain, sessionLost
    }

    /// What is known of a packet.
    struct Record {
        /// Where the packet starts, counted from the first byte that was ever there.
        var start: Int
        let packetBytes: UInt32
        /// Where in the packet its identifier stands.
        let packetIDOffset: UInt32
        /// The number that the user knows the request by.
        let number: UInt32
        var packetID: UInt16 = 0
        var state = State.waiting
        let kind: Kind
        /// The first byte of the packet, without the DUP flag.
        let flags: UInt8
        var outcome = Outcome.published
        /// Whether it has been sent in the present session.
        var wasSent = false
        #if os(Linux) || MQTT5
        /// When it is of no use any more, in milliseconds of the loop's time.
        var expiresAt = Int64.max
        #endif
    }

    /// What a packet counts for beside its own bytes.
    static let recordBytes = 22
    /// How much memory is kept for the next burst when all is done.
    private static let keptBytes = 1_048_576

    private var records = CompactQueue<Record>(keeping: Self.keptBytes / Self.recordBytes)
    /// The place of `records[0]`.
    private var base = 0
    private var bytes = ByteQueue(keeping: Self.keptBytes)
    /// Where `bytes[0]` stands, counted from the first byte that was ever there.
    private var bytesBase = 0
    /// The place of the first record.
    private(set) var first = 0
    /// How many records are not over.
    private(set) var count = 0
    /// How many bytes they have.
    private(set) var byteCount = 0
    /// How many are over, which the user is to be told.
    private(set) var finishedCount = 0

    /// Where the next record will be.
    var end: Int { base + records.count }

    /// How many bytes all have from the first on, those included that are over.
    var heldBytes: Int {
        let index = first - base
        guard index < records.count else { return 0 }
        return bytesBase + bytes.count - records[index].start + (records.count - index) * Self.recordBytes
    }

    // MARK: Adding

    /// Adds a record whose packet `write` appends; returns its place.
    @inline(__always)
    @discardableResult
    mutating func add(
        _ kind: Kind,
        number: UInt32,
        expiresAt: Int64 = .max,
        _ write: (inout ByteQueue) -> Void
    ) -> Int {
        compact()
        let start = bytes.count
        write(&bytes)
        finish(kind, number: number, expiresAt: expiresAt, from: start)
        return end - 1
    }

    /// Makes a record of the bytes from `start` on.
    private mutating func finish(_ kind: Kind, number: UInt32, expiresAt: Int64, from start: Int) {
        let packetBytes = bytes.count - start
        var record = Record(
            start: bytesBase + start,
            packetBytes: UInt32(packetBytes),
            packetIDOffset: UInt32(packetIDOffset(start, isPublish: kind == .publish)),
            number: number,
            kind: kind,
            flags: bytes[start] & ~0x08
        )
        #if os(Linux) || MQTT5
        record.expiresAt = expiresAt
        #endif
        records.append(record)
        count += 1
        byteCount += packetBytes + Self.recordBytes
    }

    // MARK: Reading

    /// The record behind the one at `place`.
    func next(_ place: Int) -> Int { place + 1 }

    func state(_ place: Int) -> State { records[place - base].state }

    func kind(_ place: Int) -> Kind { records[place - base].kind }

    func packetID(_ place: Int) -> UInt16 { records[place - base].packetID }

    /// The number that the user knows the request by.
    func number(_ place: Int) -> UInt32 { records[place - base].number }

    func outcome(_ place: Int) -> Outcome { records[place - base].outcome }

    /// Whether it has been sent in the present session.
    func wasSent(_ place: Int) -> Bool { records[place - base].wasSent }

    #if os(Linux) || MQTT5
    /// When it is of no use any more, in milliseconds of the loop's time.
    func expiresAt(_ place: Int) -> Int64 { records[place - base].expiresAt }
    #endif

    /// Where the packet starts in `bytes`.
    private func start(_ place: Int) -> Int { records[place - base].start - bytesBase }

    /// The first byte of the packet, without the DUP flag.
    func firstByte(_ place: Int) -> UInt8 { records[place - base].flags }

    /// How many bytes the packet has.
    func packetBytes(_ place: Int) -> Int { Int(records[place - base].packetBytes) }

    /// Calls `body` with the packet.
    @inline(__always)
    func withPacket<Result>(_ place: Int, _ body: (Span<UInt8>) -> Result) -> Result {
        let start = start(place)
        let end = start + packetBytes(place)
        return bytes.withSpan { body($0.extracting(start..<end)) }
    }

    /// Where the variable header of a packet of our own starts.
    static func variableHeader(_ packet: Span<UInt8>) -> Int {
        var start = 2
        while packet[start - 1] >= 0x80 { start += 1 }
        return start
    }

    // MARK: Changing

    mutating func set(_ place: Int, _ state: State) {
        let old = self.state(place)
        records[place - base].state = state
        guard old == .finished || state == .finished || state == .done else { return }
        if old == .finished {
            finishedCount -= 1
        } else {
            count -= 1
            byteCount -= packetBytes(place) + Self.recordBytes
        }
        if state == .finished { finishedCount += 1 }
        guard state == .done else { return }
        while first < end, self.state(first) == .done { first += 1 }
        if first == end { empty() }
    }

    #if !hasFeature(Embedded)
    /// It is over in a way that the user is to be told.
    mutating func finish(_ place: Int, _ outcome: Outcome) {
        records[place - base].outcome = outcome
        set(place, .finished)
    }
    #endif

    /// Gives a record its packet identifier, also in its packet; it is on its way.
    mutating func markSent(_ place: Int, packetID: UInt16) {
        set(place, .sent)
        records[place - base].packetID = packetID
        records[place - base].wasSent = true
        writePacketID(place, packetID)
    }

    private mutating func writePacketID(_ place: Int, _ packetID: UInt16) {
        write(packetID, at: start(place) + Int(records[place - base].packetIDOffset))
    }

    /// Where the identifier of the packet that starts at `start` stands in it.
    private mutating func packetIDOffset(_ start: Int, isPublish: Bool) -> Int {
        var offset = 2
        while bytes[start + offset - 1] >= 0x80 { offset += 1 }
        // A PUBLISH has its topic first.
        guard isPublish else { return offset }
        return offset + 2 + (Int(bytes[start + offset]) << 8 | Int(bytes[start + offset + 1]))
    }

    private mutating func write(_ value: UInt16, at index: Int) {
        bytes[index] = UInt8(value >> 8)
        bytes[index + 1] = UInt8(truncatingIfNeeded: value)
    }

    /// The session is a new one: it has never been sent in it.
    mutating func forgetSent(_ place: Int) {
        records[place - base].wasSent = false
        bytes[start(place)] &= ~0x08
        set(place, .waiting)
    }

    /// It is sent again: sets the DUP flag (MQTT 5.0, 3.3.1.1).
    mutating func markSentAgain(_ place: Int) {
        bytes[start(place)] |= 0x08
        set(place, .sent)
    }

    #if os(Linux) || MQTT5
    /// Writes into the packet what is left of its time.
    mutating func setExpiry(_ place: Int, seconds: Int) {
        let hasPacketID = kind(place) == .publish
        let value = withPacket(place) { packet -> Int? in
            let start = Self.variableHeader(packet)
            let topicEnd = start + 2 + (Int(packet[start]) << 8 | Int(packet[start + 1]))
            guard let (length, begin) = VariableByteInteger.read(packet, at: topicEnd + (hasPacketID ? 2 : 0)) else {
                return nil
            }
            let properties = packet.extracting(begin..<(begin + length))
            return MQTTProperties.find(.messageExpiryInterval, in: properties).map { begin + $0.lowerBound }
        }
        guard let value else { return }
        write(UInt16(truncatingIfNeeded: seconds >> 16), at: start(place) + value)
        write(UInt16(truncatingIfNeeded: seconds), at: start(place) + value + 2)
    }
    #endif

    /// All is done: the memory is kept for the next burst.
    private mutating func empty() {
        base = end
        first = base
        bytesBase += bytes.count
        records.removeAll()
        bytes.removeAll()
    }

    /// Gives back the memory of a burst that is over.
    mutating func trim() {
        guard records.isEmpty else { return }
        records.trim()
        bytes.trim()
    }

    private mutating func compact() {
        let free = first - base
        guard free > 0, free >= records.count / 2 else { return }
        let freeBytes = first < end ? start(first) : bytes.count
        records.removeFirst(free)
        bytes.removeFirst(freeBytes)
        base = first
        bytesBase += freeBytes
    }
}

#if !hasFeature(Embedded)
extension Outbox {
    /// Whether so much of the memory is of records that are over, behind one that is not, that it is worth ``removeHoles(_:)``.
    var hasHoles: Bool { mutating get { heldBytes > 2 * byteCount + 65_536 } }

    /// Moves the records that are not over together: one that the server never answers must not hold the memory of all behind it. Returns the place that
    /// `cursor` has then.
    mutating func removeHoles(_ cursor: Int) -> Int {
        var kept = CompactQueue<Record>(keeping: Self.keptBytes / Self.recordBytes)
        var keptPackets = ByteQueue(keeping: Self.keptBytes)
        var newCursor: Int?
        // Places go on counting, so that an old one is never taken for a new one.
        let newBase = end
        let newBytesBase = bytesBase + bytes.count
        for place in first..<end {
            if place >= cursor, newCursor == nil { newCursor = newBase + kept.count }
            var record = records[place - base]
            guard record.state != .done else { continue }
            record.start = newBytesBase + keptPackets.count
            kept.append(record)
            withPacket(place) { keptPackets.append($0) }
        }
        records = kept
        bytes = keptPackets
        base = newBase
        first = newBase
        bytesBase = newBytesBase
        return newCursor ?? end
    }

    /// Whether the oldest request is so old that packet identifiers may have come round to those in use.
    mutating func isOld(_ number: UInt32) -> Bool { first < end && number &- self.number(first) > 32_768 }

    /// Whether a packet identifier is one that waits for the server's answer.
    func isInUse(_ packetID: UInt16) -> Bool {
        for place in first..<end where self.packetID(place) == packetID {
            switch state(place) {
            case .sent, .released: return true
            case .waiting, .finished, .done: break
            }
        }
        return false
    }

    // What is kept of a record: its length with this header (4), state, kind, packet identifier (2), number (4), outcome, whether it was ever sent, and its end of
    // life in milliseconds (8), of the time of day.

    /// The header of a record as it is kept.
    func header(_ place: Int, timeOfDay: Int64) -> [UInt8] {
        let record = records[place - base]
        let length = Int(record.packetBytes) + Self.recordBytes
        var header: [UInt8] = []
        header.reserveCapacity(Self.recordBytes)
        header.appendInteger(UInt16(truncatingIfNeeded: length >> 16))
        header.appendInteger(UInt16(truncatingIfNeeded: length))
        header.append(record.state.rawValue)
        header.append(record.kind.rawValue)
        header.appendInteger(record.packetID)
        header.appendInteger(UInt16(truncatingIfNeeded: record.number >> 16))
        header.appendInteger(UInt16(truncatingIfNeeded: record.number))
        header.append(record.outcome.rawValue)
        header.append(record.wasSent ? 1 : 0)
        let expiresAt = record.expiresAt == .max ? .max : record.expiresAt + timeOfDay
        for part in 0..<4 {
            header.appendInteger(UInt16(truncatingIfNeeded: expiresAt >> (48 - 16 * Int64(part))))
        }
        return header
    }

    /// Adds a record that was kept. What cannot be one is left out.
    mutating func restore(_ header: Span<UInt8>, _ packet: Span<UInt8>, timeOfDay: Int64) {
        guard header.count == Self.recordBytes, !packet.isEmpty, var state = State(rawValue: header[4]),
            state != .done, state != .finished
        else { return }
        func integer(_ start: Int, _ count: Int) -> UInt64 {
            (start..<(start + count)).reduce(0) { $0 << 8 | UInt64(header[$1]) }
        }
        // What a damaged file cannot have right.
        let kind: Kind = packet[0] & 6 == 0 ? .unacknowledged : .publish
        var packetID = UInt16(integer(6, 2))
        var wasSent = header[13] != 0
        if packetID == 0 || packet[0] & 6 == 0 {
            (state, packetID, wasSent) = (.waiting, 0, false)
        } else {
            // Only QoS 2 has a second half.
            if state == .released, packet[0] & 4 == 0 { state = .sent }
            wasSent = state != .waiting
            if state == .waiting { packetID = 0 }
        }
        let expiresAt = Int64(bitPattern: integer(14, 8))
        let place = add(
            kind,
            number: UInt32(integer(8, 4)),
            expiresAt: expiresAt == .max ? .max : expiresAt &- timeOfDay
        ) { $0.append(packet) }
        records[place - base].state = state
        records[place - base].wasSent = wasSent
        records[place - base].packetID = packetID
        // The packet was kept before it had its identifier.
        if packetID != 0 { writePacketID(place, packetID) }
    }
}
#endif
