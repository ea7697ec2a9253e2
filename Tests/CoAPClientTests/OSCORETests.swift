import SecureTransport
import Testing

@testable import CoAPClient

@Suite struct OSCORETests {
    private let get = CoAPRequest(.get, path: "tv1")
    private let content = CoAPResponse(.content, payload: ascii("Hello World!"))

    /// A request that `server` has accepted.
    private func exchanged(
        _ request: CoAPRequest,
        _ client: inout OSCOREContext,
        _ server: inout OSCOREContext
    ) throws -> (client: OSCOREClientExchange, request: CoAPRequest, server: OSCOREServerExchange) {
        let (protected, exchange) = try client.protect(request)
        let received = try #require(try server.unprotect(protected).accepted)
        return (exchange, received.request, received.exchange)
    }

    // MARK: The context

    @Test func refusesAContextThatCannotBe() {
        func make(
            _ sender: [UInt8],
            _ recipient: [UInt8],
            idContext: [UInt8]? = nil,
            algorithm: OSCOREAlgorithm = .aesCCM16_64_128,
            store: MemorySequence = MemorySequence()
        ) throws(OSCOREError) {
            _ = try OSCOREContext(
                masterSecret: SecretBytes([1]),
                senderID: sender,
                recipientID: recipient,
                idContext: idContext,
                algorithm: algorithm,
                sequence: store
            )
        }
        #expect(throws: Never.self) { try make([], [UInt8](repeating: 7, count: 7)) }
        #expect(throws: Never.self) { try make([], [1], idContext: [UInt8](repeating: 0, count: 255)) }
        #expect(throws: OSCOREError.identifierTooLong(bytes: 8)) { try make([UInt8](repeating: 0, count: 8), []) }
        #expect(throws: OSCOREError.identifierTooLong(bytes: 9)) { try make([], [UInt8](repeating: 0, count: 9)) }
        #expect(throws: OSCOREError.identifiersAreEqual) { try make([], []) }
        #expect(throws: OSCOREError.identifiersAreEqual) { try make([1, 2], [1, 2]) }
        #expect(throws: OSCOREError.identifierContextTooLong(bytes: 256)) {
            try make([], [1], idContext: [UInt8](repeating: 0, count: 256))
        }
        // AES-CCM-16-64-256, A128GCM, ChaCha20/Poly1305.
        for number in [11, 1, 24] {
            let algorithm = OSCOREAlgorithm(rawValue: number)
            #expect(throws: OSCOREError.unsupportedAlgorithm(algorithm)) { try make([], [1], algorithm: algorithm) }
        }
        let broken = MemorySequence()
        broken.error = OSCOREStoreError(code: 5)
        #expect(throws: OSCOREError.sequenceStore(OSCOREStoreError(code: 5))) { try make([], [1], store: broken) }
    }

    // MARK: The options (RFC 8613, 4.1)

    @Test func encryptsAllOptionsButThoseOfProxies() throws {
        var client = try OSCOREVector.c1.client()
        var server = try OSCOREVector.c1.server()
        let outside: [UInt16] = [3, 7, 16, 39]
        // Those of RFC 7252, Block1 and Block2, Size2, Request-Tag, No-Response, and one that nobody knows.
        let inside: [UInt16] = [1, 4, 5, 8, 11, 12, 14, 15, 17, 20, 23, 27, 28, 60, 252, 258, 292, 65_000]
        let options = CoAPOptions((outside + inside).map { ($0, [UInt8(truncatingIfNeeded: $0)]) })
        let request = CoAPRequest(.put, options: options, payload: [1, 2, 3], isConfirmable: false)
        let (protected, _) = try client.protect(request)
        #expect(protected.method == .post && !protected.isConfirmable)
        #expect(protected.options.list.map(\.number.rawValue) == [3, 7, 9, 16, 39])
        // What is outside may be changed on the way, and nothing else may.
        #expect(try server.unprotect(protected).accepted?.request == request)
    }

    @Test(arguments: [UInt16(9), 35])
    func refusesToProtectWhatCannotBeInside(option: UInt16) throws {
        var client = try OSCOREVector.c1.client()
        var request = get
        request.options.add(number(option), [1])
        let refused = request
        #expect(throws: OSCOREError.invalidOption(number(option))) { try client.protect(refused) }
        #expect(client.nextSequenceNumber == 0)
    }

    @Test func refusesToProtectOtherThanRequestsAndResponses() throws {
        var client = try OSCOREVector.c1.client()
        var server = try OSCOREVector.c1.server()
        #expect(throws: OSCOREError.invalidCode(.content)) { try client.protect(CoAPRequest(.content)) }
        #expect(throws: OSCOREError.invalidCode(.empty)) { try client.protect(CoAPRequest(.empty)) }
        let exchange = try exchanged(get, &client, &server).server
        #expect(throws: OSCOREError.invalidCode(.get)) { try server.protect(CoAPResponse(.get), for: exchange) }
    }

    @Test func refusesWhatTheCipherDoesNotTake() throws {
        var client = try OSCOREVector.c1.client()
        let payload = [UInt8](repeating: 0, count: 65_535)
        #expect(throws: OSCOREError.messageTooLarge(bytes: 65_537, limit: 65_535)) {
            try client.protect(CoAPRequest(.post, payload: payload))
        }
        #expect(client.nextSequenceNumber == 0)
        let (largest, _) = try client.protect(CoAPRequest(.post, payload: Array(payload.dropFirst(2))))
        #expect(largest.payload.count == 65_543)
    }

    @Test func ignoresWhatWasAddedOutside() throws {
        var client = try OSCOREVector.c1.client()
        var server = try OSCOREVector.c1.server()
        var (protected, exchange) = try client.protect(get)
        for option: UInt16 in [1, 4, 5, 6, 8, 11, 12, 14, 15, 17, 20, 60, 65_000] {
            protected.options.add(number(option), [1])
        }
        protected.method = .delete
        let received = try #require(try server.unprotect(protected).accepted)
        #expect(received.request == get)
        var response = try server.protect(content, for: received.exchange)
        response.options.add(.maxAge, uint: 0)
        response.options.add(.observe, uint: 1)
        response.code = .notFound
        let unprotected = try client.unprotect(response, for: &exchange)
        #expect(unprotected == content)
    }

    @Test func passesBlocksThroughAsTheyAre() throws {
        var client = try OSCOREVector.c1.client()
        var server = try OSCOREVector.c1.server()
        for block: UInt8 in 0..<3 {
            var request = CoAPRequest(.put, path: "firmware", payload: [UInt8](repeating: block, count: 64))
            request.options.add(number(27), [block << 4 | (block < 2 ? 0x0A : 0x02)])
            request.options.add(.size1, uint: 192)
            var exchange = try exchanged(request, &client, &server)
            #expect(exchange.request == request)
            let response = CoAPResponse(.changed, options: CoAPOptions([(27, [block << 4 | 0x02])]))
            let protected = try server.protect(response, for: exchange.server)
            #expect(protected.options.list.map(\.number) == [.oscore])
            let received = try client.unprotect(protected, for: &exchange.client)
            #expect(received == response)
        }
    }

    // MARK: Observe (RFC 8613, 4.1.3.5 and 7.4.1)

    private func registered() throws -> CoAPRequest {
        var request = get
        request.options.observe = 0
        return request
    }

    @Test func notificationsHavePartialIVsOfTheirOwn() throws {
        var client = try OSCOREVector.c1.client()
        var server = try OSCOREVector.c1.server(MemorySequence(0xFFFFFF))
        let request = try registered()
        let (protected, first) = try client.protect(request)
        #expect(protected.method == .fetch && protected.options.observe == 0)
        var exchange = first
        let received = try #require(try server.unprotect(protected).accepted)
        #expect(received.request == request)
        var notifications: [CoAPResponse] = []
        for value: UInt8 in 1...3 {
            var notification = CoAPResponse(.content, payload: [value])
            notification.options.observe = UInt32(value)
            notifications.append(try server.protect(notification, for: received.exchange))
        }
        #expect(notifications.allSatisfy { $0.code == .content })
        #expect(notifications.map(\.options.observe) == [1, 2, 3])
        #expect(notifications.map { $0.options.first(.oscore) } == ["03ffffff", "0401000000", "0401000001"].map(hex))
        // The second is late, the others come twice.
        var delivered: [UInt8] = []
        for index in [0, 0, 2, 1, 2] {
            do throws(OSCOREError) {
                let notification = try client.unprotect(notifications[index], for: &exchange)
                delivered += notification.payload
                let number = exchange.notificationNumber ?? 0
                #expect(notification.options.observe == UInt32(number & 0xFF_FFFF))
            } catch {
                #expect(error == .replayed(0xFFFFFF + UInt64(index)))
            }
        }
        #expect(delivered == [1, 3] && exchange.notificationNumber == 0x0100_0001)
        // The end of it: a response without Observe.
        let end = try server.protect(CoAPResponse(.notFound), for: received.exchange)
        #expect(end.code == .changed && end.options.first(.oscore) == hex("0401000002"))
        let last = try client.unprotect(end, for: &exchange)
        #expect(last == CoAPResponse(.notFound))
    }

    @Test func aCancellationIsAFetchToo() throws {
        var client = try OSCOREVector.c1.client()
        var request = get
        request.options.observe = 1
        let (protected, _) = try client.protect(request)
        #expect(protected.method == .fetch && protected.options.observe == 1)
    }

    @Test(arguments: [nil, 1] as [UInt32?])
    func isNoRegistrationWhereSomebodyHasChangedIt(outer: UInt32?) throws {
        var client = try OSCOREVector.c1.client()
        var server = try OSCOREVector.c1.server()
        var (protected, _) = try client.protect(try registered())
        protected.options.observe = outer
        #expect(try server.unprotect(protected).accepted?.request == get)
    }

    @Test func isNoNotificationWhereAProxyHasRemovedIt() throws {
        var client = try OSCOREVector.c1.client()
        var server = try OSCOREVector.c1.server()
        var exchange = try exchanged(try registered(), &client, &server)
        var notification = content
        notification.options.observe = 5
        var protected = try server.protect(notification, for: exchange.server)
        protected.options.observe = nil
        let received = try client.unprotect(protected, for: &exchange.client)
        #expect(received == content && exchange.client.notificationNumber == nil)
    }

    /// A server may send one notification with the nonce of the request, and that is the oldest.
    @Test func takesOneNotificationWithoutPartialIV() throws {
        var client = try OSCOREVector.c1.client()
        var server = try OSCOREVector.c1.server()
        let exchange = try exchanged(try registered(), &client, &server)
        var plain = try OSCOREPlaintext(code: .content, options: CoAPOptions([(6, [])]), payload: [1]).bytes
        func notification(_ plaintext: [UInt8]) throws -> CoAPResponse {
            let binding = OSCOREContext.Binding(id: [], partialIV: 0, requestKID: [], requestPartialIV: 0)
            return CoAPResponse(
                .content,
                options: CoAPOptions([(6, [9]), (9, [])]),
                payload: try server.encrypt(plaintext, binding)
            )
        }
        var first = exchange.client
        let received = try client.unprotect(try notification(plain), for: &first)
        #expect(received.options.observe == 0 && received.payload == [1])
        let again = try notification(plain)
        #expect(throws: OSCOREError.replayed(0)) { try client.unprotect(again, for: &first) }
        // After one with a Partial IV it is too late for it.
        var second = exchange.client
        second.notificationNumber = 0
        plain[plain.count - 1] = 2
        let late = try notification(plain)
        #expect(throws: OSCOREError.replayed(0)) { try client.unprotect(late, for: &second) }
    }

    // MARK: The nonces of responses

    @Test func onlyTheFirstResponseHasTheNonceOfItsRequest() throws {
        var client = try OSCOREVector.c1.client()
        var server = try OSCOREVector.c1.server()
        let (a, b) = (try exchanged(get, &client, &server), try exchanged(get, &client, &server))
        var lengths: [Int] = []
        for exchange in [b.server, a.server, a.server, b.server] {
            let protected = try server.protect(content, for: exchange)
            lengths.append(protected.options.first(.oscore)?.count ?? -1)
        }
        #expect(lengths == [0, 0, 2, 2])
        // A notification takes it too.
        var registration = try exchanged(try registered(), &client, &server)
        var notification = content
        notification.options.observe = 1
        _ = try server.protect(notification, for: registration.server)
        let end = try server.protect(content, for: registration.server)
        #expect(end.options.first(.oscore) == [1, 3])
        let received = try client.unprotect(end, for: &registration.client)
        #expect(received == content)
    }

    @Test func aResponseThatIsLateHasASequenceNumber() throws {
        var client = try OSCOREVector.c1.client()
        var server = try OSCOREVector.c1.server()
        var first = try exchanged(get, &client, &server)
        for _ in 0..<OSCOREReplayWindow.size {
            let exchange = try exchanged(get, &client, &server).server
            _ = try server.protect(content, for: exchange)
        }
        let late = try server.protect(content, for: first.server)
        #expect(late.options.first(.oscore) == [1, 0])
        let received = try client.unprotect(late, for: &first.client)
        #expect(received == content)
    }

    @Test func takesNoResponseForAnotherRequest() throws {
        var client = try OSCOREVector.c1.client()
        var server = try OSCOREVector.c1.server()
        let first = try exchanged(get, &client, &server)
        var second = try exchanged(get, &client, &server).client
        for _ in 0..<2 {
            let response = try server.protect(content, for: first.server)
            #expect(throws: OSCOREError.notAuthentic) { try client.unprotect(response, for: &second) }
        }
    }

    // MARK: What others send

    @Test func refusesARequestThatWasChangedInAnyByte() throws {
        var client = try OSCOREVector.c3.client()
        var server = try OSCOREVector.c3.server()
        let (protected, _) = try client.protect(CoAPRequest(.post, path: "tv1", payload: [1, 2, 3]))
        for index in protected.payload.indices {
            for bit: UInt8 in 0..<8 {
                var changed = protected
                changed.payload[index] ^= 1 << bit
                let request = changed
                #expect(throws: OSCOREError.notAuthentic) { try server.unprotect(request) }
            }
        }
        let value = try #require(protected.options.first(.oscore))
        for index in value.indices {
            for bit: UInt8 in 0..<8 {
                var changed = value
                changed[index] ^= 1 << bit
                var request = protected
                request.options.remove(.oscore)
                request.options.add(.oscore, changed)
                let tampered = request
                let error = #expect(throws: OSCOREError.self) { try server.unprotect(tampered) }
                #expect(error == .malformed || error == .contextNotFound || error == .notAuthentic)
            }
        }
        // None of them has used the number.
        #expect(try server.unprotect(protected).accepted != nil)
    }

    @Test(arguments: [false, true])
    func refusesAResponseThatWasChangedInAnyByte(hasPartialIV: Bool) throws {
        var client = try OSCOREVector.c1.client()
        var server = try OSCOREVector.c1.server(replay: hasPartialIV ? .restored(OSCOREReplayWindow()) : .new)
        var exchange = try exchanged(get, &client, &server)
        let protected = try server.protect(content, for: exchange.server)
        for index in protected.payload.indices {
            var changed = protected
            changed.payload[index] ^= 0x01
            let response = changed
            #expect(throws: OSCOREError.notAuthentic) { try client.unprotect(response, for: &exchange.client) }
        }
        for count in 1..<protected.payload.count {
            let response = CoAPResponse(
                .changed,
                options: protected.options,
                payload: Array(protected.payload.prefix(count))
            )
            #expect(throws: OSCOREError.notAuthentic) { try client.unprotect(response, for: &exchange.client) }
        }
        let received = try client.unprotect(protected, for: &exchange.client)
        #expect(received == content)
        if hasPartialIV { return }
        #expect(throws: OSCOREError.replayed(0)) { try client.unprotect(protected, for: &exchange.client) }
    }

    @Test func refusesWhatIsForAnotherContext() throws {
        var client = try OSCOREVector.c1.client()
        let (protected, first) = try client.protect(get)
        // Other keys with the same IDs; another ID; the ID context of another.
        var other = try OSCOREContext(
            masterSecret: SecretBytes([1]),
            senderID: [1],
            recipientID: [],
            sequence: OSCOREVolatileSequence(),
            replayProtection: .new
        )
        #expect(throws: OSCOREError.notAuthentic) { try other.unprotect(protected) }
        var second = try OSCOREVector.c2.server()
        #expect(throws: OSCOREError.contextNotFound) { try second.unprotect(protected) }
        var third = try OSCOREVector.c3.client()
        let (withContext, _) = try third.protect(get)
        var server = try OSCOREVector.c1.server()
        #expect(throws: OSCOREError.contextNotFound) { try server.unprotect(withContext) }
        // A client is none that takes requests, and takes its own ones least of all.
        #expect(throws: OSCOREError.contextNotFound) { try client.unprotect(protected) }
        var back = try OSCOREContext(
            masterSecret: SecretBytes(hex(OSCOREVector.masterSecret)),
            masterSalt: OSCOREVector.c1.salt,
            senderID: [2],
            recipientID: [],
            sequence: OSCOREVolatileSequence(),
            replayProtection: .new
        )
        // The server's ID is no part of a request, but of what it answers.
        let accepted = try #require(try back.unprotect(protected).accepted)
        let response = try back.protect(content, for: accepted.exchange)
        var exchange = first
        #expect(throws: OSCOREError.notAuthentic) { try client.unprotect(response, for: &exchange) }
    }

    @Test func refusesWhatIsNotProtected() throws {
        var client = try OSCOREVector.c1.client()
        var server = try OSCOREVector.c1.server()
        #expect(throws: OSCOREError.notProtected(.get)) { try server.unprotect(get) }
        var exchange = try client.protect(get).exchange
        let refusal = try #require(OSCOREError.contextNotFound.response)
        #expect(throws: OSCOREError.notProtected(.unauthorized)) { try client.unprotect(refusal, for: &exchange) }
    }

    @Test(arguments: ["00", "06", "07", "20", "40", "80", "01", "0514", "09", "10", "1008aa", "010100", "020014"])
    func refusesAnOptionThatIsNone(value: String) {
        let bytes = hex(value)
        #expect(throws: OSCOREError.malformed) { try OSCOREOption(decoding: bytes.span) }
    }

    @Test func refusesARequestWhoseOptionLacksSomething() throws {
        var client = try OSCOREVector.c3.client()
        var server = try OSCOREVector.c3.server()
        let (protected, _) = try client.protect(get)
        let value = try #require(protected.options.first(.oscore))
        func with(_ values: [[UInt8]], payload: [UInt8]? = nil) -> CoAPRequest {
            CoAPRequest(
                .post,
                options: CoAPOptions(values.map { (9, $0) }),
                payload: payload ?? protected.payload
            )
        }
        // The kid has no bytes here, so all of it is needed.
        for count in value.indices {
            #expect(throws: OSCOREError.malformed) { try server.unprotect(with([Array(value.prefix(count))])) }
        }
        for other in [OSCOREOption(partialIV: 0), OSCOREOption(kid: [])] {
            #expect(throws: OSCOREError.malformed) { try server.unprotect(with([other.encoded])) }
        }
        #expect(throws: OSCOREError.malformed) { try server.unprotect(with([value, value])) }
        #expect(throws: OSCOREError.malformed) { try server.unprotect(with([value], payload: [])) }
        #expect(try server.unprotect(protected).accepted != nil)
    }

    /// RFC 8613, 6.1: the examples are those of 6.2 and 6.3.
    @Test(arguments: [
        (OSCOREOption(partialIV: 5, kid: hex("25")), "090525"),
        (OSCOREOption(partialIV: 0, kid: []), "0900"),
        (OSCOREOption(partialIV: 5, kid: [], kidContext: hex("44616c656b")), "19050544616c656b"),
        (OSCOREOption(), ""), (OSCOREOption(partialIV: 7), "0107"),
        (OSCOREOption(partialIV: OSCOREContext.lastSequenceNumber, kid: [1, 2]), "0dffffffffff0102"),
        (OSCOREOption(kidContext: []), "1000"),
    ])
    func writesAndReadsAnOption(option: OSCOREOption, value: String) throws {
        #expect(hex(option.encoded) == value)
        let bytes = hex(value)
        #expect(try OSCOREOption(decoding: bytes.span) == option)
    }

    @Test func randomOptionsNeverTrap() {
        var random = SeededRandom(state: 8_613)
        for _ in 0..<20_000 {
            let bytes = (0..<Int.random(in: 0...12, using: &random)).map { _ in
                UInt8.random(in: 0...255, using: &random)
            }
            guard let option = try? OSCOREOption(decoding: bytes.span) else { continue }
            #expect(option.encoded == bytes)
        }
    }

    @Test(arguments: ["", "45", "00", "01ff", "01bc", "01bf", "01b4ffff"])
    func refusesARequestThatIsNoneInside(plaintext: String) throws {
        let client = try OSCOREVector.c1.client()
        var server = try OSCOREVector.c1.server()
        let binding = OSCOREContext.Binding(id: [], partialIV: 0, requestKID: [], requestPartialIV: 0)
        let request = CoAPRequest(
            .post,
            options: CoAPOptions([(9, hex("0900"))]),
            payload: try client.encrypt(hex(plaintext), binding)
        )
        #expect(throws: OSCOREError.malformedPlaintext) { try server.unprotect(request) }
        #expect(throws: OSCOREError.replayed(0)) { try server.unprotect(request) }
    }

    @Test(arguments: [
        (OSCOREError.malformed, CoAPCode.badOption, "Failed to decode COSE"),
        (.contextNotFound, .unauthorized, "Security context not found"),
        (.replayed(1), .unauthorized, "Replay detected"), (.outOfWindow(1), .unauthorized, "Replay detected"),
        (.notAuthentic, .badRequest, "Decryption failed"), (.malformedPlaintext, .badRequest, "Decryption failed"),
    ])
    func saysWhatAClientIsTold(error: OSCOREError, code: CoAPCode, diagnostic: String) {
        let response = CoAPResponse(code, options: CoAPOptions([(14, [])]), payload: ascii(diagnostic))
        #expect(error.response == response && response.options.maxAge == 0)
    }

    @Test(arguments: [OSCOREError.sequenceNumbersExhausted, .notProtected(.get), .invalidCode(.empty)])
    func whatIsNoFaultOfTheRequestHasNoResponse(error: OSCOREError) { #expect(error.response == nil) }
}
