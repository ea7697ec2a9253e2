internal import Kernel

/// How a message is treated on its way (RFC 7252, 4).
public enum CoAPMessageType: UInt8, Sendable {
    /// Sent again until it is acknowledged.
    case confirmable = 0
    /// Sent once.
    case nonConfirmable = 1
    /// Acknowledges a confirmable message, and may carry the response to it.
    case acknowledgement = 2
    /// Says that a message could not be processed.
    case reset = 3
}

/// A message as it travels in one datagram (RFC 7252, 3).
public struct CoAPMessage: Equatable, Sendable {
    /// How it is treated on its way.
    public var type: CoAPMessageType
    /// What it is: empty, a request with this method, a response.
    public var code: CoAPCode
    /// What an acknowledgement, a reset or a duplicate is matched by.
    public var messageID: UInt16
    /// What a response is matched by.
    public var token: CoAPToken
    /// The options; an empty message has none.
    public var options: CoAPOptions
    /// The payload; an empty message has none.
    public var payload: [UInt8]

    /// A message from its parts.
    public init(
        type: CoAPMessageType,
        code: CoAPCode,
        messageID: UInt16,
        token: CoAPToken = .empty,
        options: CoAPOptions = CoAPOptions(),
        payload: [UInt8] = []
    ) {
        self.type = type
        self.code = code
        self.messageID = messageID
        self.token = token
        self.options = options
        self.payload = payload
    }

    /// An acknowledgement or a reset of the message with this ID.
    static func empty(_ type: CoAPMessageType, _ messageID: UInt16) -> CoAPMessage {
        CoAPMessage(type: type, code: .empty, messageID: messageID)
    }

    // MARK: Encoding

    /// How many bytes ``encoded`` has.
    public var encodedByteCount: Int {
        4 + token.count + options.bytes.count + (payload.isEmpty ? 0 : 1 + payload.count)
    }

    /// The datagram. Of an empty message only the header is sent.
    public var encoded: [UInt8] {
        let isEmpty = code == .empty
        var bytes: [UInt8] = []
        bytes.reserveCapacity(isEmpty ? 4 : encodedByteCount)
        bytes.append(1 << 6 | type.rawValue << 4 | UInt8(isEmpty ? 0 : token.count))
        bytes.append(code.rawValue)
        bytes.append(UInt8(messageID >> 8))
        bytes.append(UInt8(messageID & 0xFF))
        if isEmpty { return bytes }
        for index in 0..<token.count { bytes.append(token[index]) }
        bytes.append(options.bytes.span)
        if !payload.isEmpty {
            bytes.append(0xFF)
            bytes.append(payload.span)
        }
        return bytes
    }

    /// Gives an encoded message another ID, and another token of the same length.
    static func stamp(_ datagram: inout [UInt8], _ messageID: UInt16, _ token: CoAPToken) {
        var bytes = datagram.mutableSpan
        bytes[2] = UInt8(messageID >> 8)
        bytes[3] = UInt8(messageID & 0xFF)
        for place in 0..<token.count { bytes[4 + place] = token[place] }
    }

    // MARK: Decoding

    /// Reads a datagram, strictly.
    public init(decoding datagram: Span<UInt8>) throws(CoAPFormatError) {
        let header = try CoAPHeader(decoding: datagram)
        self.init(type: header.type, code: header.code, messageID: header.messageID, token: try header.token(datagram))
        if code == .empty {
            guard datagram.count == 4 else { throw .emptyMessageWithContent }
            return
        }
        switch code.codeClass {
        case 1, 6, 7: throw .reservedCodeClass(code)
        default: break
        }
        var end = 4 + token.count
        options = try CoAPOptions(decoding: datagram, at: &end)
        // What is not an option is the payload marker.
        guard end < datagram.count else { return }
        guard end + 1 < datagram.count else { throw .emptyPayload }
        payload = [UInt8](copying: datagram.extracting(droppingFirst: end + 1))
    }
}

/// The first four bytes of a message: all that is needed to reject what follows.
struct CoAPHeader {
    let type: CoAPMessageType
    let code: CoAPCode
    let messageID: UInt16
    private let tokenLength: UInt8

    init(decoding datagram: Span<UInt8>) throws(CoAPFormatError) {
        guard datagram.count >= 4 else { throw .truncatedHeader }
        guard datagram[0] >> 6 == 1, let type = CoAPMessageType(rawValue: datagram[0] >> 4 & 0x03) else {
            throw .unknownVersion(datagram[0] >> 6)
        }
        self.type = type
        tokenLength = datagram[0] & 0x0F
        code = CoAPCode(rawValue: datagram[1])
        messageID = UInt16(datagram[2]) << 8 | UInt16(datagram[3])
    }

    func token(_ datagram: Span<UInt8>) throws(CoAPFormatError) -> CoAPToken {
        guard tokenLength <= 8 else { throw .reservedTokenLength(tokenLength) }
        if code == .empty && tokenLength > 0 { throw .emptyMessageWithContent }
        guard datagram.count >= 4 + Int(tokenLength) else { throw .truncatedHeader }
        return CoAPToken(datagram.extracting(4..<4 + Int(tokenLength))) ?? .empty
    }
}
