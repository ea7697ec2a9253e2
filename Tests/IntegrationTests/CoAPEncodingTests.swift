import CCoAP
import Glibc
import Testing

@testable import CoAPClient

/// What libcoap makes of a message, and what we make of it, are the same bytes; and each reads what the other has made.
@Suite(.timeLimit(.minutes(1))) struct CoAPEncodingTests {
    private struct Different: Error, CustomStringConvertible {
        let description: String
    }

    /// Numbers that are the same for the same seed (SplitMix64).
    private struct SeededRandom: RandomNumberGenerator {
        var state: UInt64
        mutating func next() -> UInt64 {
            state &+= 0x9E37_79B9_7F4A_7C15
            var z = state
            z = (z ^ z >> 30) &* 0xBF58_476D_1CE4_E5B9
            z = (z ^ z >> 27) &* 0x94D0_49BB_1331_11EB
            return z ^ z >> 31
        }
        mutating func bytes(_ count: Int) -> [UInt8] {
            (0..<count).map { _ in UInt8.random(in: 0...255, using: &self) }
        }
    }

    // MARK: Messages

    /// Those that may come more than once, with the lengths that libcoap takes: no empty Uri-Query, which RFC 7252 allows.
    private static let repeatable: [(number: UInt16, lengths: ClosedRange<Int>)] = [
        (1, 0...8), (4, 1...8), (8, 0...255), (11, 0...255), (15, 1...255), (20, 0...255),
    ]

    /// Options whose deltas and lengths have all three forms: in the nibble, and in one and in two bytes more.
    private static func options(_ random: inout SeededRandom) -> [(number: UInt16, value: [UInt8])] {
        var options: [(number: UInt16, value: [UInt8])] = []
        for _ in 0..<Int.random(in: 0...4, using: &random) {
            guard let (number, lengths) = repeatable.randomElement(using: &random) else { continue }
            options.append((number, random.bytes(Int.random(in: lengths, using: &random))))
        }
        let lengths = [0...12, 13...14, 12...40, 250...280, 269...270, 400...700]
        // Numbers that nobody has registered, each once.
        for range in [61...70, 71...200, 300...2_000, 65_100...65_535] as [ClosedRange<UInt16>] {
            guard Int.random(in: 0..<3, using: &random) == 0, let length = lengths.randomElement(using: &random) else {
                continue
            }
            let number = UInt16.random(in: range, using: &random)
            options.append((number, random.bytes(Int.random(in: length, using: &random))))
        }
        // In no order: both sort them.
        return options.shuffled(using: &random)
    }

    private static func message(_ random: inout SeededRandom) -> (CoAPMessage, [(number: UInt16, value: [UInt8])]) {
        let types: [CoAPMessageType] = [.confirmable, .nonConfirmable, .acknowledgement, .reset]
        let codes: [CoAPCode] = [
            .get, .post, .put, .delete, .fetch, .patch, .iPatch, .created, .deleted, .valid, .changed, .content,
            .continue,
            .badRequest, .badOption, .notFound, .notAcceptable, .requestEntityTooLarge, .internalServerError,
            .serviceUnavailable,
        ]
        let list = options(&random)
        var options = CoAPOptions()
        for (number, value) in list { options.add(CoAPOptionNumber(rawValue: number), value) }
        let payloads = [0...0, 1...1, 2...20, 250...300, 1_000...2_000]
        let message = CoAPMessage(
            type: types.randomElement(using: &random) ?? .confirmable,
            code: codes.randomElement(using: &random) ?? .get,
            messageID: UInt16.random(in: 0...UInt16.max, using: &random),
            token: CoAPToken(random.bytes(Int.random(in: 0...8, using: &random)).span) ?? .empty,
            options: options,
            payload: random.bytes(Int.random(in: payloads.randomElement(using: &random) ?? 0...0, using: &random))
        )
        return (message, list)
    }

    // MARK: libcoap

    private static let largest = 65_000

    /// The same message as libcoap builds it, to be sent or deleted.
    private static func build(
        _ message: CoAPMessage,
        _ options: [(number: UInt16, value: [UInt8])]
    ) throws -> OpaquePointer {
        let type = coap_pdu_type_t(rawValue: UInt32(message.type.rawValue))
        let code = coap_pdu_code_t(rawValue: UInt32(message.code.rawValue))
        guard let pdu = coap_pdu_init(type, code, coap_mid_t(message.messageID), largest) else {
            throw Different(description: "no room")
        }
        let token = (0..<message.token.count).map { message.token[$0] }
        var chain: UnsafeMutablePointer<coap_optlist_t>?
        defer { coap_delete_optlist(chain) }
        for (number, value) in options { coap_insert_optlist(&chain, coap_new_optlist(number, value.count, value)) }
        guard token.isEmpty || coap_add_token(pdu, token.count, token) > 0,
            chain == nil || coap_add_optlist_pdu(pdu, &chain) > 0,
            message.payload.isEmpty || coap_add_data(pdu, message.payload.count, message.payload) > 0
        else {
            coap_delete_pdu(pdu)
            throw Different(description: "libcoap cannot build \(message)")
        }
        return pdu
    }

    /// The message that libcoap reads.
    private static func parse(_ bytes: [UInt8], _ transport: coap_proto_t) throws -> CoAPMessage {
        guard let pdu = coap_pdu_init(COAP_MESSAGE_CON, COAP_EMPTY_CODE, 0, largest) else {
            throw Different(description: "no room")
        }
        defer { coap_delete_pdu(pdu) }
        guard coap_pdu_parse(transport, bytes, bytes.count, pdu) > 0 else {
            throw Different(description: "libcoap cannot read \(bytes)")
        }
        let token = coap_pdu_get_token(pdu)
        var options = CoAPOptions()
        var iterator = coap_opt_iterator_t()
        coap_option_iterator_init(pdu, &iterator, nil)
        while let option = coap_option_next(&iterator) {
            let value = UnsafeBufferPointer(start: coap_opt_value(option), count: Int(coap_opt_length(option)))
            options.add(CoAPOptionNumber(rawValue: iterator.number), Array(value))
        }
        var size = 0
        var data: UnsafePointer<UInt8>?
        coap_get_data(pdu, &size, &data)
        return CoAPMessage(
            type: CoAPMessageType(rawValue: UInt8(coap_pdu_get_type(pdu).rawValue)) ?? .reset,
            code: CoAPCode(rawValue: UInt8(coap_pdu_get_code(pdu).rawValue)),
            messageID: UInt16(truncatingIfNeeded: coap_pdu_get_mid(pdu)),
            token: CoAPToken(Array(UnsafeBufferPointer(start: token.s, count: token.length)).span) ?? .empty,
            options: options,
            payload: Array(UnsafeBufferPointer(start: data, count: size))
        )
    }

    // MARK: Tests

    private func compareDatagrams(_ random: inout SeededRandom, count: Int) throws {
        let peer = try LibcoapPeer(COAP_PROTO_UDP)
        for number in 0..<count {
            let (message, options) = Self.message(&random)
            let theirs = try peer.send(Self.build(message, options)) { peer.receive() }
            let ours = message.encoded
            guard ours == theirs else {
                throw Different(description: "message \(number): \(message) is \(ours), to libcoap \(theirs)")
            }
            try #require(try CoAPMessage(decoding: theirs.span) == message)
            try #require(try Self.parse(ours, COAP_PROTO_UDP) == message)
        }
    }

    private func compareFrames(_ random: inout SeededRandom, count: Int) throws {
        let peer = try LibcoapPeer(COAP_PROTO_TCP)
        for number in 0..<count {
            var (message, options) = Self.message(&random)
            // There are neither in a stream.
            (message.type, message.messageID) = (.nonConfirmable, 0)
            let ours = CoAPFrame.encode(message.code, message.token, message.options, message.payload)
            let theirs = try peer.send(Self.build(message, options)) { peer.receive(ours.count) }
            guard ours == theirs else {
                throw Different(description: "message \(number): \(message) is \(ours), to libcoap \(theirs)")
            }
            let frame = try #require(try CoAPFrame(theirs.span))
            try #require(try frame.byteCount == theirs.count && CoAPMessage(frame, in: theirs.span) == message)
            let parsed = try Self.parse(ours, COAP_PROTO_TCP)
            try #require(parsed.code == message.code && parsed.token == message.token)
            try #require(parsed.options == message.options && parsed.payload == message.payload)
        }
    }

    /// Types, codes, tokens, options and payloads at random, over UDP and over TCP.
    @Test(arguments: [1, 2, 3] as [UInt64]) func messagesAreTheSameAsLibcoaps(seed: UInt64) async throws {
        let result = await offPool {
            Result {
                var random = SeededRandom(state: seed)
                try compareDatagrams(&random, count: 150)
                try compareFrames(&random, count: 150)
            }
        }
        try result.get()
    }

    /// Empty messages have no more than the header (RFC 7252, 4.1).
    @Test func emptyMessagesAreTheSameAsLibcoaps() async throws {
        let result = await offPool {
            Result {
                let peer = try LibcoapPeer(COAP_PROTO_UDP)
                for type in [CoAPMessageType.confirmable, .acknowledgement, .reset] {
                    let message = CoAPMessage(type: type, code: .empty, messageID: 0xABCD)
                    let theirs = try peer.send(Self.build(message, [])) { peer.receive() }
                    try #require(theirs == message.encoded && theirs.count == 4)
                    try #require(try Self.parse(message.encoded, COAP_PROTO_UDP) == message)
                }
            }
        }
        try result.get()
    }
}

/// A session of libcoap to a socket of ours, which sees what it sends.
private final class LibcoapPeer {
    private let context: OpaquePointer
    private let session: OpaquePointer
    private var socket: Int32

    struct Failed: Error { let what: String }

    init(_ transport: coap_proto_t) throws {
        coap_startup()
        coap_set_log_level(0)
        let isStream = transport == COAP_PROTO_TCP
        let type = isStream ? SOCK_STREAM : SOCK_DGRAM
        let listener = Glibc.socket(AF_INET, Int32(type.rawValue | SOCK_CLOEXEC.rawValue), 0)
        socket = listener
        var address = coap_address_t()
        coap_address_init(&address)
        address.size = socklen_t(MemoryLayout<sockaddr_in>.size)
        address.addr.sin.sin_family = sa_family_t(AF_INET)
        address.addr.sin.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        guard withUnsafeMutablePointer(to: &address, { Self.bind(listener, $0) }),
            !isStream || listen(listener, 1) == 0,
            let context = coap_new_context(nil),
            let session = coap_new_client_session(context, nil, &address, transport)
        else { throw Failed(what: "cannot set up") }
        (self.context, self.session) = (context, session)
        if isStream {
            socket = accept(listener, nil, nil)
            close(listener)
        }
        var timeout = timeval(tv_sec: 5, tv_usec: 0)
        setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &timeout, socklen_t(MemoryLayout<timeval>.size))
        // So that none waits for the acknowledgement of the one before.
        coap_session_set_nstart(session, .max)
        coap_session_set_mtu(session, 60_000)
        if isStream { try exchangeCapabilities() }
    }

    deinit {
        coap_session_release(session)
        coap_free_context(context)
        close(socket)
    }

    private static func bind(_ socket: Int32, _ address: UnsafeMutablePointer<coap_address_t>) -> Bool {
        var size = address.pointee.size
        return withUnsafeMutablePointer(to: &address.pointee.addr.sa) {
            Glibc.bind(socket, $0, size) == 0 && getsockname(socket, $0, &size) == 0
        }
    }

    /// Both sides of a stream begin with what they take (RFC 8323, 5.3).
    private func exchangeCapabilities() throws {
        var capabilities = CoAPOptions()
        capabilities.add(CoAPOptionNumber(rawValue: 2), uint: 100_000)
        let ours = CoAPFrame.encode(.capabilities, .empty, capabilities)
        guard Glibc.send(socket, ours, ours.count, 0) == ours.count else { throw Failed(what: "cannot send") }
        for _ in 0..<10 { coap_io_process(context, 20) }
        // Theirs is of no interest here; it is one frame.
        var buffer = [UInt8](repeating: 0, count: 256)
        guard recv(socket, &buffer, buffer.count, 0) > 0 else { throw Failed(what: "no capabilities") }
    }

    /// Has libcoap send a message, and returns what arrives.
    func send(_ pdu: OpaquePointer, _ receive: () -> [UInt8]) throws -> [UInt8] {
        guard coap_send(session, pdu) != COAP_INVALID_MID else { throw Failed(what: "libcoap does not send") }
        return receive()
    }

    /// The next datagram.
    func receive() -> [UInt8] { receive(65_536, flags: 0) }

    /// The next `count` bytes of a stream.
    func receive(_ count: Int) -> [UInt8] { receive(count, flags: Int32(MSG_WAITALL)) }

    private func receive(_ count: Int, flags: Int32) -> [UInt8] {
        var buffer = [UInt8](repeating: 0, count: count)
        let received = recv(socket, &buffer, count, flags)
        return Array(buffer.prefix(max(received, 0)))
    }
}
