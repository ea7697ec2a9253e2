/// The rules for topic names and topic filters (MQTT 3.1.1, 4.7).
public enum TopicFilter {
    private static let separator = UInt8(ascii: "/")
    private static let singleLevel = UInt8(ascii: "+")
    private static let multiLevel = UInt8(ascii: "#")
    private static let reserved = UInt8(ascii: "$")

    /// Whether the topic name `topic` matches the filter `filter`; both are taken to be valid. Of a shared subscription, the part behind the
    /// group's name counts.
    public static func matches(_ filter: Span<UInt8>, topic: Span<UInt8>) -> Bool {
        let filter = isShared(filter) ? filter.extracting(droppingFirst: sharedStart(filter)) : filter
        // A filter that starts with a wildcard does not match topics that start with $ (4.7.2).
        if !topic.isEmpty, topic[0] == reserved, !filter.isEmpty, filter[0] == singleLevel || filter[0] == multiLevel {
            return false
        }
        var f = 0
        var t = 0
        while f < filter.count {
            switch filter[f] {
            case multiLevel: return true
            case singleLevel:
                while t < topic.count, topic[t] != separator { t += 1 }
                f += 1
            default:
                // "sport/#" also matches "sport" (4.7.1.2).
                if t == topic.count {
                    return filter[f] == separator && f + 2 == filter.count && filter[f + 1] == multiLevel
                }
                guard filter[f] == topic[t] else { return false }
                f += 1
                t += 1
            }
        }
        return t == topic.count
    }

    /// Whether it is the filter of a shared subscription (MQTT 5.0, 4.8.2): `$share/GROUP/FILTER`.
    static func isShared(_ filter: Span<UInt8>) -> Bool {
        let prefix: InlineArray<7, UInt8> = [0x24, 0x73, 0x68, 0x61, 0x72, 0x65, 0x2F]
        guard filter.count >= 7 else { return false }
        for index in 0..<7 where filter[index] != prefix[index] { return false }
        return true
    }

    /// Where the filter starts behind the group's name; the end if there is none.
    private static func sharedStart(_ filter: Span<UInt8>) -> Int {
        var index = 7
        while index < filter.count, filter[index] != separator { index += 1 }
        return min(index + 1, filter.count)
    }

    static func hasWildcard(_ filter: Span<UInt8>) -> Bool {
        for index in filter.indices where filter[index] == multiLevel || filter[index] == singleLevel { return true }
        return false
    }

    /// Whether `filter` is a filter that the standard allows.
    public static func isValid(_ filter: Span<UInt8>) -> Bool {
        guard isValidString(filter), !filter.isEmpty else { return false }
        if isShared(filter) {
            let start = sharedStart(filter)
            // Neither the group's name nor the filter is empty, and the name has no wildcard.
            guard start > 8, start < filter.count else { return false }
            for index in 7..<start where filter[index] == multiLevel || filter[index] == singleLevel { return false }
        }
        for index in filter.indices {
            let startsLevel = index == 0 || filter[index - 1] == separator
            let isLast = index == filter.count - 1
            switch filter[index] {
            case multiLevel: guard startsLevel, isLast else { return false }
            case singleLevel: guard startsLevel, isLast || filter[index + 1] == separator else { return false }
            default: break
            }
        }
        return true
    }

    /// Whether `topic` is a name that the standard allows to publish on.
    public static func isValidName(_ topic: Span<UInt8>) -> Bool {
        guard !topic.isEmpty, topic.count <= 65_535 else { return false }
        var index = 0
        #if !hasFeature(Embedded)
        if isPlain(topic) { return true }
        #endif
        while index < topic.count {
            let byte = topic[index]
            guard byte != multiLevel, byte != singleLevel, byte != 0 else { return false }
            // What is not plain ASCII is looked at more closely.
            if byte >= 0x80 { return !hasWildcard(topic) && isValidString(topic) }
            index += 1
        }
        return true
    }

    #if !hasFeature(Embedded)
    /// Whether it has eight bytes at least, all ASCII without wildcards and null characters: eight are looked at together, the last of them perhaps twice.
    @inline(__always)
    private static func isPlain(_ topic: Span<UInt8>) -> Bool {
        let last = topic.count - 8
        guard last >= 0 else { return false }
        let raw = unsafe topic.bytes
        let ones = 0x0101_0101_0101_0101 as UInt64
        var found: UInt64 = 0
        var index = 0
        while true {
            let word = unsafe raw.unsafeLoadUnaligned(fromByteOffset: index, as: UInt64.self)
            // A byte that is zero, in one of the three, borrows from its highest bit.
            let (plus, hash) = (word ^ (ones &* UInt64(singleLevel)), word ^ (ones &* UInt64(multiLevel)))
            found |= word | (word &- ones) | (plus &- ones) | (hash &- ones)
            if index == last { return found & (ones << 7) == 0 }
            index = min(index + 8, last)
        }
    }
    #endif

    /// Whether `bytes` are well-formed UTF-8 without a null character, short enough for a packet (MQTT 3.1.1, 1.5.3).
    static func isValidString(_ bytes: Span<UInt8>) -> Bool {
        guard bytes.count <= 65_535 else { return false }
        var index = 0
        while index < bytes.count {
            let first = bytes[index]
            if first < 0x80 {
                guard first != 0 else { return false }
                index += 1
                continue
            }
            // The ranges of the Unicode standard's table 3-7: no overlong forms, no surrogates, nothing over U+10FFFF.
            let count: Int
            var lowest: UInt8 = 0x80
            var highest: UInt8 = 0xBF
            switch first {
            case 0xC2...0xDF: count = 1
            case 0xE0: (count, lowest) = (2, 0xA0)
            case 0xED: (count, highest) = (2, 0x9F)
            case 0xE1...0xEF: count = 2
            case 0xF0: (count, lowest) = (3, 0x90)
            case 0xF4: (count, highest) = (3, 0x8F)
            case 0xF1...0xF3: count = 3
            default: return false
            }
            guard index + count < bytes.count else { return false }
            for offset in 1...count {
                let byte = bytes[index + offset]
                guard byte >= lowest, byte <= highest else { return false }
                (lowest, highest) = (0x80, 0xBF)
            }
            index += count + 1
        }
        return true
    }
}
