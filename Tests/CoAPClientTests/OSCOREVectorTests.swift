import SecureTransport
import Testing

@testable import CoAPClient

/// The security contexts of RFC 8613, appendix C.
enum OSCOREVector: CaseIterable, Sendable {
    case c1, c2, c3

    static let masterSecret = "0102030405060708090a0b0c0d0e0f10"
    var salt: [UInt8] { self == .c2 ? [] : hex("9e7ca92223786340") }
    var idContext: [UInt8]? { self == .c3 ? hex("37cbf3210017a2d3") : nil }
    var clientID: [UInt8] { self == .c2 ? [0] : [] }
    var serverID: [UInt8] { [1] }

    func client(
        _ sequence: any OSCORESequenceStore = OSCOREVolatileSequence(),
        step: UInt64 = 64
    ) throws(OSCOREError) -> OSCOREContext {
        try OSCOREContext(
            masterSecret: SecretBytes(hex(Self.masterSecret)),
            masterSalt: salt,
            senderID: clientID,
            recipientID: serverID,
            idContext: idContext,
            sequence: sequence,
            sequenceStep: step
        )
    }

    func server(
        _ sequence: any OSCORESequenceStore = OSCOREVolatileSequence(),
        replay: OSCOREReplayProtection = .new
    ) throws(OSCOREError) -> OSCOREContext {
        try OSCOREContext(
            masterSecret: SecretBytes(hex(Self.masterSecret)),
            masterSalt: salt,
            senderID: serverID,
            recipientID: clientID,
            idContext: idContext,
            sequence: sequence,
            replayProtection: replay
        )
    }
}

/// A store in memory that a test can look into, and that fails when told to.
final class MemorySequence: OSCORESequenceStore, @unchecked Sendable {
    // @unchecked: a test uses it in one task.
    var end: UInt64
    var saves = 0
    var error: OSCOREStoreError?

    init(_ end: UInt64 = 0) { self.end = end }

    func load() throws(OSCOREStoreError) -> UInt64 {
        if let error { throw error }
        return end
    }

    func save(_ end: UInt64) throws(OSCOREStoreError) {
        if let error { throw error }
        precondition(end > self.end, "it only moves ahead")
        self.end = end
        saves += 1
    }
}

extension CoAPMessage {
    var request: CoAPRequest {
        CoAPRequest(code, options: options, payload: payload, isConfirmable: type == .confirmable)
    }

    var response: CoAPResponse { CoAPResponse(code, options: options, payload: payload) }

    /// The same message, with what a request or a response says.
    func with(_ code: CoAPCode, _ options: CoAPOptions, _ payload: [UInt8]) -> [UInt8] {
        var message = self
        message.code = code
        message.options = options
        message.payload = payload
        return message.encoded
    }
}

extension OSCOREIncomingRequest {
    var accepted: (request: CoAPRequest, exchange: OSCOREServerExchange)? {
        guard case .accepted(let request, let exchange) = self else { return nil }
        return (request, exchange)
    }

    var unproven: OSCOREServerExchange? {
        guard case .unproven(let exchange) = self else { return nil }
        return exchange
    }
}

/// RFC 8613, appendix C, byte for byte.
@Suite struct OSCOREVectorTests {
    struct Derivation: Sendable {
        let vector: OSCOREVector
        let isServer: Bool
        let senderInfo: String
        let recipientInfo: String
        let ivInfo: String
        let senderKey: String
        let recipientKey: String
        let commonIV: String
        let senderNonce: String
        let recipientNonce: String
    }

    private static let derivations = [
        Derivation(
            vector: .c1,
            isServer: false,
            senderInfo: "8540f60a634b657910",
            recipientInfo: "854101f60a634b657910",
            ivInfo: "8540f60a6249560d",
            senderKey: "f0910ed7295e6ad4b54fc793154302ff",
            recipientKey: "ffb14e093c94c9cac9471648b4f98710",
            commonIV: "4622d4dd6d944168eefb54987c",
            senderNonce: "4622d4dd6d944168eefb54987c",
            recipientNonce: "4722d4dd6d944169eefb54987c"
        ),
        Derivation(
            vector: .c1,
            isServer: true,
            senderInfo: "854101f60a634b657910",
            recipientInfo: "8540f60a634b657910",
            ivInfo: "8540f60a6249560d",
            senderKey: "ffb14e093c94c9cac9471648b4f98710",
            recipientKey: "f0910ed7295e6ad4b54fc793154302ff",
            commonIV: "4622d4dd6d944168eefb54987c",
            senderNonce: "4722d4dd6d944169eefb54987c",
            recipientNonce: "4622d4dd6d944168eefb54987c"
        ),
        Derivation(
            vector: .c2,
            isServer: false,
            senderInfo: "854100f60a634b657910",
            recipientInfo: "854101f60a634b657910",
            ivInfo: "8540f60a6249560d",
            senderKey: "321b26943253c7ffb6003b0b64d74041",
            recipientKey: "e57b5635815177cd679ab4bcec9d7dda",
            commonIV: "be35ae297d2dace910c52e99f9",
            senderNonce: "bf35ae297d2dace910c52e99f9",
            recipientNonce: "bf35ae297d2dace810c52e99f9"
        ),
        Derivation(
            vector: .c2,
            isServer: true,
            senderInfo: "854101f60a634b657910",
            recipientInfo: "854100f60a634b657910",
            ivInfo: "8540f60a6249560d",
            senderKey: "e57b5635815177cd679ab4bcec9d7dda",
            recipientKey: "321b26943253c7ffb6003b0b64d74041",
            commonIV: "be35ae297d2dace910c52e99f9",
            senderNonce: "bf35ae297d2dace810c52e99f9",
            recipientNonce: "bf35ae297d2dace910c52e99f9"
        ),
        Derivation(
            vector: .c3,
            isServer: false,
            senderInfo: "85404837cbf3210017a2d30a634b657910",
            recipientInfo: "8541014837cbf3210017a2d30a634b657910",
            ivInfo: "85404837cbf3210017a2d30a6249560d",
            senderKey: "af2a1300a5e95788b356336eeecd2b92",
            recipientKey: "e39a0c7c77b43f03b4b39ab9a268699f",
            commonIV: "2ca58fb85ff1b81c0b7181b85e",
            senderNonce: "2ca58fb85ff1b81c0b7181b85e",
            recipientNonce: "2da58fb85ff1b81d0b7181b85e"
        ),
        Derivation(
            vector: .c3,
            isServer: true,
            senderInfo: "8541014837cbf3210017a2d30a634b657910",
            recipientInfo: "85404837cbf3210017a2d30a634b657910",
            ivInfo: "85404837cbf3210017a2d30a6249560d",
            senderKey: "e39a0c7c77b43f03b4b39ab9a268699f",
            recipientKey: "af2a1300a5e95788b356336eeecd2b92",
            commonIV: "2ca58fb85ff1b81c0b7181b85e",
            senderNonce: "2da58fb85ff1b81d0b7181b85e",
            recipientNonce: "2ca58fb85ff1b81c0b7181b85e"
        ),
    ]

    /// C.1 to C.3.
    @Test(arguments: derivations)
    func derivesTheKeysOfAContext(_ expected: Derivation) throws {
        let context = expected.isServer ? try expected.vector.server() : try expected.vector.client()
        func info(_ id: [UInt8], _ type: StaticString, _ count: Int) -> String {
            hex(
                OSCOREContext.info(
                    id: id,
                    idContext: expected.vector.idContext,
                    algorithm: .aesCCM16_64_128,
                    type: type,
                    count: count
                )
            )
        }
        let infos = [info(context.senderID, "Key", 16), info(context.recipientID, "Key", 16), info([], "IV", 13)]
        #expect(infos == [expected.senderInfo, expected.recipientInfo, expected.ivInfo])
        let secrets = [context.senderKey, context.recipientKey, context.commonIV].map {
            $0.withBytes { span in hex(span.indices.map { span[$0] }) }
        }
        #expect(secrets == [expected.senderKey, expected.recipientKey, expected.commonIV])
        let commonIV = hex(expected.commonIV)
        let nonces = [context.senderID, context.recipientID].map {
            hex(OSCOREContext.nonce(commonIV: commonIV.span, id: $0, partialIV: 0))
        }
        #expect(nonces == [expected.senderNonce, expected.recipientNonce])
    }

    /// C.4 to C.6: request, security context, external_aad, nonce, protected request.
    @Test(arguments: [
        (
            "44015d1f00003974396c6f63616c686f737483747631", OSCOREVector.c1,
            "8368456e63727970743040488501810a40411440", "4622d4dd6d944168eefb549868",
            "44025d1f00003974396c6f63616c686f7374620914ff612f1092f1776f1c1668b3825e"
        ),
        (
            "440171c30000b932396c6f63616c686f737483747631", .c2,
            "8368456e63727970743040498501810a4100411440", "bf35ae297d2dace910c52e99ed",
            "440271c30000b932396c6f63616c686f737463091400ff4ed339a5a379b0b8bc731fffb0"
        ),
        (
            "44012f8eef9bbf7a396c6f63616c686f737483747631", .c3,
            "8368456e63727970743040488501810a40411440", "2ca58fb85ff1b81c0b7181b84a",
            "44022f8eef9bbf7a396c6f63616c686f73746b19140837cbf3210017a2d3ff72cd7273fd331ac45cffbe55c3"
        ),
    ])
    func protectsARequest(plain: String, vector: OSCOREVector, data: String, nonce: String, protected: String) throws {
        var client = try vector.client(MemorySequence(20))
        #expect(
            hex(OSCOREContext.additionalData(algorithm: .aesCCM16_64_128, kid: client.senderID, partialIV: 20)) == data
        )
        let commonIV = client.commonIV.withBytes { span in span.indices.map { span[$0] } }
        #expect(
            hex(OSCOREContext.nonce(commonIV: commonIV.span, id: client.senderID, partialIV: 20)) == nonce
        )
        let message = try decode(hex(plain))
        let (request, exchange) = try client.protect(message.request)
        #expect(hex(message.with(request.method, request.options, request.payload)) == protected)
        #expect(exchange.sequenceNumber == 20 && client.nextSequenceNumber == 21)
        // And the server has the request that it was.
        var server = try vector.server()
        let received = try server.unprotect(try decode(hex(protected)).request).accepted
        #expect(received?.request == message.request && received?.exchange.sequenceNumber == 20)
    }

    private static let request = "44025d1f00003974396c6f63616c686f7374620914ff612f1092f1776f1c1668b3825e"
    private static let response = "64455d1f00003974ff48656c6c6f20576f726c6421"

    /// C.7: with the nonce of the request; C.8: with a Partial IV.
    @Test(arguments: [
        ("64445d1f0000397490ffdbaad1e9a7e7b2a813d3c31524378303cdafae119106", false),
        ("64445d1f00003974920100ff4d4c13669384b67354b2b6175ff4b8658c666a6cf88e", true),
    ])
    func protectsAResponse(protected: String, hasPartialIV: Bool) throws {
        // What was restored is not known to be all, and so no nonce is used again.
        var server = try OSCOREVector.c1.server(
            replay: hasPartialIV ? .restored(OSCOREReplayWindow()) : .new
        )
        let exchange = try #require(try server.unprotect(try decode(hex(Self.request)).request).accepted?.exchange)
        let message = try decode(hex(Self.response))
        let response = try server.protect(message.response, for: exchange)
        #expect(hex(message.with(response.code, response.options, response.payload)) == protected)
        #expect(server.nextSequenceNumber == (hasPartialIV ? 1 : 0))
        // And the client has the response that it was.
        var client = try OSCOREVector.c1.client(MemorySequence(20))
        var (_, clientExchange) = try client.protect(CoAPRequest(.get, path: "tv1"))
        let received = try client.unprotect(try decode(hex(protected)).response, for: &clientExchange)
        #expect(received == message.response)
    }
}
