internal import CCoAP
internal import CLinux

/// What the hub needs of a libcoap message, as Swift values.
struct CoAPMessageParts {
    /// The hub's private options (specification, section 8).
    static let credentialOption: UInt16 = 61
    private static let answerOption: UInt16 = 62
    private static let uriPathOption: UInt16 = 11
    private static let block1Option: UInt16 = 27

    let isPost: Bool
    let isConfirmable: Bool
    let messageID: Int32
    let token: [UInt8]
    let request: CoAPHubRules.Request

    init(_ message: OpaquePointer) {
        isPost = coap_pdu_get_code(message) == COAP_REQUEST_CODE_POST
        isConfirmable = coap_pdu_get_type(message) == COAP_MESSAGE_CON
        messageID = coap_pdu_get_mid(message)
        let token = coap_pdu_get_token(message)
        self.token = Array(UnsafeBufferPointer(start: token.s, count: token.length))

        var size = 0
        var data: UnsafePointer<UInt8>?
        coap_get_data(message, &size, &data)
        // The topic comes as one option with slashes inside, or as several.
        var segments: [[UInt8]] = []
        var credential: [UInt8]?
        var answer: [UInt8]?
        var isPart = false
        var iterator = coap_opt_iterator_t()
        coap_option_iterator_init(message, &iterator, nil)
        while let option = coap_option_next(&iterator) {
            let value = Array(
                UnsafeBufferPointer(start: coap_opt_value(option), count: Int(coap_opt_length(option)))
            )
            switch iterator.number {
            case Self.uriPathOption: segments.append(value)
            case Self.credentialOption: credential = value
            case Self.answerOption: answer = value
            case Self.block1Option: isPart = true
            default: break
            }
        }
        request = CoAPHubRules.Request(
            path: Array(segments.joined(separator: [UInt8(ascii: "/")])),
            credential: credential,
            wantsAnswer: answer == [UInt8(ascii: "1")],
            isPart: isPart,
            payload: Array(UnsafeBufferPointer(start: data, count: size))
        )
    }
}

/// How requests were answered, so that a copy of one is answered alike and goes no further (RFC 7252, 4.5). libcoap's server side does not
/// keep this itself.
struct AnsweredRequests {
    struct Key: Hashable {
        let address: UInt32
        let port: UInt16
        let isSecure: Bool
        let messageID: Int32
        let token: [UInt8]

        init(_ session: OpaquePointer, _ parts: CoAPMessageParts) {
            let peer = coap_session_get_addr_remote(session).pointee.addr.sin
            address = peer.sin_addr.s_addr
            port = peer.sin_port
            isSecure = coap_session_get_proto(session) == COAP_PROTO_DTLS
            messageID = parts.messageID
            token = parts.token
        }
    }

    /// What was put into the direct answer, in the form of code and payload; code 0 is an empty acknowledgement.
    struct Entry {
        let code: UInt8
        let payload: [UInt8]
        /// When the answer is out: until then a copy gets none.
        let readyAt: Int64
        let madeAt: Int64

        func isReady(at now: Int64) -> Bool { readyAt <= now }
    }

    /// EXCHANGE_LIFETIME (RFC 7252, 4.8.2).
    private static let lifetime: Int64 = 247_000_000_000
    private static let limit = 4096
    private var entries: [Key: Entry] = [:]
    private var order: [Key] = []

    func find(_ key: Key, at now: Int64) -> Entry? {
        guard let entry = entries[key], now - entry.madeAt < Self.lifetime else { return nil }
        return entry
    }

    mutating func insert(_ entry: Entry, for key: Key) {
        if entries.updateValue(entry, forKey: key) == nil { order.append(key) }
        guard order.count >= 2 * Self.limit else { return }
        for old in order.prefix(Self.limit) { entries[old] = nil }
        order.removeFirst(Self.limit)
    }
}
