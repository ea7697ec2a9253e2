internal import Kernel

/// Packets that wait for the server, in the order they were asked for, in one piece of memory that is used again and again.
///
/// A record is a header and the packet as it is sent first. It is known by its place, which counts from the first byte that was ever there.
struct Outbox {
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

    // The header: length (4), state, kind, packet identifier (2), number (4), outcome, whether it was ever sent, and of 5.0 its end of
    // life in milliseconds (8).
    #if os(Linux) || MQTT5
    static let headerBytes = 22
    #else
    static let headerBytes = 14
    #endif

    /// How much memory is kept for the next burst when all is done.
    private static let keptBytes = 1_048_576

    private var bytes: [UInt8] = []
    /// The place of `bytes[0]`.
    private var base = 0
    /// The place of the first record.
    private(set) var first = 0
    /// How many records are not over.
    private(set) var count = 0
    /// How many bytes they have.
    private(set) var byteCount = 0
    /// How many are over, which the user is to be told.
    private(set) var finishedCount = 0

    /// Where the next record will be.
    var end: Int { base + bytes.count }

    // MARK: Adding

    /// Begins a record; its packet is to be appended to ``bytes`` by ``write(_:)`` calls, then it is ended by ``finishRecord(_:)``.
    mutating func beginRecord(_ kind: Kind, number: UInt32, expiresAt: Int64 = .max) -> Int {
        compact()
        let place = end
        bytes.appendInteger(0)
        bytes.appendInteger(0)
        bytes.append(State.waiting.rawValue)
        bytes.append(kind.rawValue)
        bytes.appendInteger(0)
        bytes.appendInteger(UInt16(truncatingIfNeeded: number >> 16))
        bytes.appendInteger(UInt16(truncatingIfNeeded: number))
        // The outcome, and whether it was sent.
        bytes.appendInteger(0)
        #if os(Linux) || MQTT5
        for part in 0..<4 { bytes.appendInteger(UInt16(truncatingIfNeeded: expiresAt >> (48 - 16 * Int64(part)))) }
        #endif
        return place
    }

    /// Lets `body` append to the record that was begun.
    @inline(__always)
    mutating func write(_ body: (inout [UInt8]) -> Void) { body(&bytes) }

    mutating func finishRecord(_ place: Int) {
        let length = end - place
        set(place, 0, UInt16(truncatingIfNeeded: length >> 16))
        set(place, 2, UInt16(truncatingIfNeeded: length))
        count += 1
        byteCount += length
    }

    // MARK: Reading

    private func get(_ place: Int, _ offset: Int) -> UInt16 {
        let index = place - base + offset
        return UInt16(bytes[index]) << 8 | UInt16(bytes[index + 1])
    }

    private mutating func set(_ place: Int, _ offset: Int, _ value: UInt16) {
        let index = place - base + offset
        bytes[index] = UInt8(value >> 8)
        bytes[index + 1] = UInt8(truncatingIfNeeded: value)
    }

    private func length(_ place: Int) -> Int { Int(get(place, 0)) << 16 | Int(get(place, 2)) }

    /// The record behind the one at `place`.
    func next(_ place: Int) -> Int { place + length(place) }

    func state(_ place: Int) -> State { State(rawValue: bytes[place - base + 4]) ?? .done }

    func kind(_ place: Int) -> Kind { Kind(rawValue: bytes[place - base + 5]) ?? .publish }

    func packetID(_ place: Int) -> UInt16 { get(place, 6) }

    /// The number that the user knows the request by.
    func number(_ place: Int) -> UInt32 { UInt32(get(place, 8)) << 16 | UInt32(get(place, 10)) }

    func outcome(_ place: Int) -> Outcome { Outcome(rawValue: bytes[place - base + 12]) ?? .published }

    /// Whether it has been sent in the present session.
    func wasSent(_ place: Int) -> Bool { bytes[place - base + 13] != 0 }

    #if os(Linux) || MQTT5
    /// When it is of no use any more, in milliseconds of the loop's time.
    func expiresAt(_ place: Int) -> Int64 {
        var value: Int64 = 0
        for part in 0..<4 { value = value << 16 | Int64(get(place, 14 + 2 * part)) }
        return value
    }
    #endif

    /// The first byte of the packet.
    func firstByte(_ place: Int) -> UInt8 { bytes[place - base + Self.headerBytes] }

    /// How many bytes the packet has.
    func packetBytes(_ place: Int) -> Int { length(place) - Self.headerBytes }

    /// Calls `body` with the packet.
    @inline(__always)
    func withPacket<Result>(_ place: Int, _ body: (Span<UInt8>) -> Result) -> Result {
        let start = place - base + Self.headerBytes
        return body(bytes.span.extracting(start..<(place - base + length(place))))
    }

    /// Where the variable header of a packet of our own starts.
    static func variableHeader(_ packet: Span<UInt8>) -> Int {
        var start = 2
        while packet[start - 1] >= 0x80 { start += 1 }
        return start
    }

    #if !hasFeature(Embedded)
    private func withHeader<Result>(_ place: Int, _ body: (Span<UInt8>) -> Result) -> Result {
        body(bytes.span.extracting((place - base)..<(place - base + Self.headerBytes)))
    }
    #endif

    // MARK: Changing

    mutating func set(_ place: Int, _ state: State) {
        let old = self.state(place)
        bytes[place - base + 4] = state.rawValue
        if old == .finished {
            finishedCount -= 1
        } else if state == .finished || state == .done {
            count -= 1
            byteCount -= length(place)
        }
        switch state {
        case .finished: finishedCount += 1
        case .done:
            while first < end, self.state(first) == .done { first = next(first) }
            if first == end { empty() }
        case .waiting, .sent, .released: break
        }
    }

    #if !hasFeature(Embedded)
    /// It is over in a way that the user is to be told.
    mutating func finish(_ place: Int, _ outcome: Outcome) {
        bytes[place - base + 12] = outcome.rawValue
        set(place, .finished)
    }
    #endif

    /// Gives a record its packet identifier, also in its packet; it is on its way.
    mutating func markSent(_ place: Int, packetID: UInt16) {
        set(place, 6, packetID)
        writePacketID(place, packetID)
        bytes[place - base + 13] = 1
        set(place, .sent)
    }

    private mutating func writePacketID(_ place: Int, _ packetID: UInt16) {
        let packet = Self.headerBytes
        let start = withPacket(place) { Self.variableHeader($0) }
        // A PUBLISH has its topic first.
        let offset = kind(place) == .publish ? start + 2 + Int(get(place, packet + start)) : start
        set(place, packet + offset, packetID)
    }

    /// The session is a new one: it has never been sent in it.
    mutating func forgetSent(_ place: Int) {
        bytes[place - base + 13] = 0
        set(place, .waiting)
    }

    /// Sets or clears the DUP flag (MQTT 5.0, 3.3.1.1).
    mutating func setDuplicate(_ place: Int, _ isDuplicate: Bool) {
        let index = place - base + Self.headerBytes
        bytes[index] = isDuplicate ? bytes[index] | 0x08 : bytes[index] & ~0x08
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
        set(place, Self.headerBytes + value, UInt16(truncatingIfNeeded: seconds >> 16))
        set(place, Self.headerBytes + value + 2, UInt16(truncatingIfNeeded: seconds))
    }
    #endif

    /// All is done: the memory is kept for the next burst.
    private mutating func empty() {
        base = end
        first = base
        // What a large message has taken is given back.
        if bytes.capacity > Self.keptBytes { bytes = [] } else { bytes.clear() }
    }

    /// Gives back the memory of a burst that is over.
    mutating func trim() { if bytes.isEmpty { bytes = [] } }

    private mutating func compact() {
        let free = first - base
        guard free > 0, free >= bytes.count / 2 else { return }
        bytes.removeFirst(bytes: free)
        base = first
    }
}

#if !hasFeature(Embedded)
extension Outbox {
    /// Whether so much of the memory is of records that are over, behind one that is not, that it is worth ``removeHoles(_:)``.
    var hasHoles: Bool { end - first > 2 * byteCount + 65_536 }

    /// Moves the records that are not over together: one that the server never answers must not hold the memory of all behind it. Returns the place that
    /// `cursor` has then.
    mutating func removeHoles(_ cursor: Int) -> Int {
        var kept: [UInt8] = []
        var newCursor: Int?
        var place = first
        while place < end {
            if place >= cursor, newCursor == nil { newCursor = end + kept.count }
            if state(place) != .done { kept.append(bytes.span.extracting((place - base)..<(next(place) - base))) }
            place = next(place)
        }
        // Places go on counting, so that an old one is never taken for a new one.
        base = end
        first = base
        bytes = kept
        return newCursor ?? end
    }

    /// Whether a packet identifier is one that waits for the server's answer.
    func isInUse(_ packetID: UInt16) -> Bool {
        var place = first
        while place < end {
            if self.packetID(place) == packetID {
                switch state(place) {
                case .sent, .released: return true
                case .waiting, .finished, .done: break
                }
            }
            place = next(place)
        }
        return false
    }

    /// The header of a record as it is kept: with the time of day when it is of no use any more.
    func header(_ place: Int, timeOfDay: Int64) -> [UInt8] {
        var header = withHeader(place) { [UInt8](copying: $0) }
        let expiresAt = expiresAt(place)
        if expiresAt != .max { Self.set(&header, expiresAt + timeOfDay) }
        return header
    }

    private static func set(_ header: inout [UInt8], _ expiresAt: Int64) {
        for index in 0..<8 { header[14 + index] = UInt8(truncatingIfNeeded: expiresAt >> (56 - 8 * Int64(index))) }
    }

    /// Adds a record that was kept. What cannot be one is left out.
    mutating func restore(_ header: Span<UInt8>, _ packet: Span<UInt8>, timeOfDay: Int64) {
        guard header.count == Self.headerBytes, !packet.isEmpty, let state = State(rawValue: header[4]),
            state != .done, state != .finished
        else { return }
        let hasPacketID = header[6] != 0 || header[7] != 0
        var header = [UInt8](copying: header)
        // What a damaged file cannot have right.
        header[5] = packet[0] & 6 == 0 ? Kind.unacknowledged.rawValue : Kind.publish.rawValue
        if !hasPacketID || packet[0] & 6 == 0 {
            (header[4], header[6], header[7], header[13]) = (State.waiting.rawValue, 0, 0, 0)
        } else {
            // Only QoS 2 has a second half.
            if state == .released, packet[0] & 4 == 0 { header[4] = State.sent.rawValue }
            header[13] = state == .waiting ? 0 : 1
            if state == .waiting { (header[6], header[7]) = (0, 0) }
        }
        var expiresAt: Int64 = 0
        for index in 0..<8 { expiresAt = expiresAt << 8 | Int64(header[14 + index]) }
        if expiresAt != .max { Self.set(&header, expiresAt - timeOfDay) }
        let place = end
        write { bytes in
            bytes.append(header.span)
            bytes.append(packet)
        }
        finishRecord(place)
        // The packet was kept before it had its identifier.
        if packetID(place) != 0 { writePacketID(place, packetID(place)) }
    }
}
#endif

extension [UInt8] {
    /// Removes the first `count` bytes, and keeps the memory.
    fileprivate mutating func removeFirst(bytes count: Int) {
        #if hasFeature(Embedded)
        let rest = self.count - count
        for index in 0..<rest { self[index] = self[index + count] }
        while self.count > rest { removeLast() }
        #else
        removeSubrange(..<count)
        #endif
    }
}
