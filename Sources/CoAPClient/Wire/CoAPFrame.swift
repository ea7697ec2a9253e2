#if !hasFeature(Embedded)
internal import Kernel

/// Where the parts of a message are in a byte stream (RFC 8323, 3.2): a length in place of type and message ID, and then what a datagram has too.
struct CoAPFrame {
    /// The code.
    let code: CoAPCode
    /// How many bytes the token has, and where it begins.
    let tokenCount: Int
    let tokenOffset: Int
    /// How many bytes the whole message has.
    let byteCount: Int

    /// Reads what stands before the token; `nil` if more bytes are needed for that.
    init?(_ bytes: Span<UInt8>, from start: Int = 0) throws(CoAPFormatError) {
        guard bytes.count > start else { return nil }
        let nibble = Int(bytes[start] >> 4)
        tokenCount = Int(bytes[start] & 0x0F)
        guard tokenCount <= 8 else { throw .reservedTokenLength(UInt8(tokenCount)) }
        let extra = Self.lengthBytes(nibble)
        guard bytes.count - start >= 2 + extra else { return nil }
        var length = 0
        for index in 0..<extra { length = length << 8 | Int(bytes[start + 1 + index]) }
        switch nibble {
        case 15: length += 65_805
        case 14: length += 269
        case 13: length += 13
        default: length = nibble
        }
        code = CoAPCode(rawValue: bytes[start + 1 + extra])
        tokenOffset = 2 + extra
        byteCount = tokenOffset + tokenCount + length
    }

    /// How many bytes of length follow a nibble.
    private static func lengthBytes(_ nibble: Int) -> Int {
        switch nibble {
        case 15: 4
        case 14: 2
        case 13: 1
        default: 0
        }
    }

    /// The message as it goes into a stream.
    static func encode(_ code: CoAPCode, _ token: CoAPToken, _ options: CoAPOptions, _ payload: [UInt8] = []) -> [UInt8]
    {
        let length = options.bytes.count + (payload.isEmpty ? 0 : 1 + payload.count)
        var bytes: [UInt8] = []
        bytes.reserveCapacity(6 + token.count + length)
        let nibble = length < 13 ? length : length < 269 ? 13 : length < 65_805 ? 14 : 15
        bytes.append(UInt8(nibble << 4 | token.count))
        let rest = nibble == 15 ? length - 65_805 : nibble == 14 ? length - 269 : length - 13
        let extra = lengthBytes(nibble)
        for place in 0..<extra { bytes.append(UInt8(truncatingIfNeeded: rest >> (8 * (extra - 1 - place)))) }
        bytes.append(code.rawValue)
        for place in 0..<token.count { bytes.append(token[place]) }
        bytes.append(options.bytes.span)
        if !payload.isEmpty {
            bytes.append(0xFF)
            bytes.append(payload.span)
        }
        return bytes
    }

    /// Gives an encoded message another token of the same length.
    static func stamp(_ bytes: inout [UInt8], _ token: CoAPToken) {
        let offset = 2 + lengthBytes(Int(bytes[0] >> 4))
        var span = bytes.mutableSpan
        for place in 0..<token.count { span[offset + place] = token[place] }
    }
}

extension CoAPMessage {
    /// Reads a whole message of a byte stream, strictly. Such messages have neither a type nor an ID: they are as good as non-confirmable ones.
    init(_ frame: CoAPFrame, in bytes: Span<UInt8>) throws(CoAPFormatError) {
        var end = frame.tokenOffset + frame.tokenCount
        let token = CoAPToken(bytes.extracting(frame.tokenOffset..<end)) ?? .empty
        let options = try CoAPOptions(decoding: bytes, at: &end)
        self.init(type: .nonConfirmable, code: frame.code, messageID: 0, token: token, options: options)
        guard end < bytes.count else { return }
        guard end + 1 < bytes.count else { throw .emptyPayload }
        payload = [UInt8](copying: bytes.extracting(droppingFirst: end + 1))
    }
}
#endif
