import Glibc
import SecureTransport
import Testing

@testable import CoAPClient

/// Which numbers are used, and which are taken (RFC 8613, 7.2 to 7.5 and B.1).
@Suite struct OSCORESequenceTests {
    private let get = CoAPRequest(.get, path: "tv1")
    private let challenge: [UInt8] = [8, 6, 1, 3, 0, 0, 0, 1]

    /// Requests with the numbers of `range`, in order.
    private func requests(_ range: Range<UInt64>) throws -> [CoAPRequest] {
        var client = try OSCOREVector.c1.client(MemorySequence(range.lowerBound))
        var requests: [CoAPRequest] = []
        for _ in range { requests.append(try client.protect(get).request) }
        return requests
    }

    // MARK: The replay window

    @Test func takesEachRequestOnceInAnyOrderWithinTheWindow() throws {
        let requests = try requests(0..<100)
        var server = try OSCOREVector.c1.server()
        func outcome(_ index: Int) -> OSCOREError? {
            do throws(OSCOREError) {
                _ = try server.unprotect(requests[index])
                return nil
            } catch { return error }
        }
        #expect([3, 0, 2, 1].map(outcome) == [nil, nil, nil, nil])
        #expect([0, 1, 2, 3].map(outcome) == [0, 1, 2, 3].map { .replayed($0) })
        #expect(outcome(40) == nil)
        // 9 to 40 are in the window.
        #expect(
            [8, 3, 9, 9, 39, 40].map(outcome) == [
                .outOfWindow(8), .outOfWindow(3), nil, .replayed(9), nil, .replayed(40),
            ]
        )
        #expect(outcome(72) == nil && outcome(40) == .outOfWindow(40) && outcome(41) == nil)
        #expect(server.replayWindow == OSCOREReplayWindow(end: 73, received: 1 | 1 << 31))
    }

    @Test func agreesWithAListOfAllThatWasReceived() throws {
        for seed: UInt64 in 1...20 {
            var random = SeededRandom(state: seed)
            var window = OSCOREReplayWindow()
            var received: Set<UInt64> = []
            var base: UInt64 = 0
            for _ in 0..<2_000 {
                base += UInt64.random(in: 0...3, using: &random) == 0 ? UInt64.random(in: 0...40, using: &random) : 0
                let number = base + UInt64.random(in: 0...50, using: &random)
                var error: OSCOREError?
                do throws(OSCOREError) { try window.check(number) } catch let caught { error = caught }
                let highest = received.max()
                let expected: OSCOREError? =
                    if let highest, number + 32 <= highest { .outOfWindow(number) } else if received.contains(number) {
                        .replayed(number)
                    } else { nil }
                #expect(error == expected, "seed \(seed)")
                guard error == nil else { continue }
                window.insert(number)
                received.insert(number)
            }
        }
    }

    @Test func goesOnFromAWindowThatWasKept() throws {
        let requests = try requests(0..<6)
        var before = try OSCOREVector.c1.server()
        for index in [0, 3, 4] { _ = try before.unprotect(requests[index]) }
        let window = before.replayWindow
        let kept = try #require(window)
        var after = try OSCOREVector.c1.server(
            replay: .restored(OSCOREReplayWindow(end: kept.end, received: kept.received))
        )
        for index in [0, 3, 4] {
            #expect(throws: OSCOREError.replayed(UInt64(index))) { try after.unprotect(requests[index]) }
        }
        for index in [1, 2, 5] {
            let exchange = try #require(try after.unprotect(requests[index]).accepted?.exchange)
            // What was received may have been answered before the window was kept.
            let response = try after.protect(CoAPResponse(.content), for: exchange)
            #expect(response.options.first(.oscore)?.isEmpty == false)
        }
    }

    // MARK: Restart (RFC 8613, B.1.2; RFC 9175, 2.3)

    @Test func challengesRequestsUntilOneHasTheEcho() throws {
        var client = try OSCOREVector.c1.client()
        let old = try client.protect(get).request
        var server = try OSCOREVector.c1.server(replay: .lost(challenge: challenge))
        #expect(server.replayWindow == nil)
        let (first, firstExchange) = try client.protect(get)
        let unproven = try #require(try server.unprotect(first).unproven)
        // The challenge has a number of its own: the nonce of the request may have been used before the restart.
        let answer = try server.protectChallenge(for: unproven)
        #expect(answer.options.first(.oscore) == [1, 0] && !answer.options.contains(.echo))
        var exchange = firstExchange
        let asked = try client.unprotect(answer, for: &exchange)
        #expect(asked == CoAPResponse(.unauthorized, options: CoAPOptions([(252, challenge)])))
        let repeated = try #require(get.answering(challenge: asked))
        let (second, secondExchange) = try client.protect(repeated)
        let accepted = try #require(try server.unprotect(second).accepted)
        #expect(accepted.request == repeated)
        // From then on all is as ever: what is older than the proof, and the proof itself, are not taken.
        for request in [old, first] { #expect(throws: OSCOREError.self) { try server.unprotect(request) } }
        #expect(throws: OSCOREError.replayed(2)) { try server.unprotect(second) }
        #expect(server.replayWindow == OSCOREReplayWindow(end: 3, received: .max))
        let response = try server.protect(CoAPResponse(.content), for: accepted.exchange)
        #expect(response.options.first(.oscore) == [])
        exchange = secondExchange
        let received = try client.unprotect(response, for: &exchange)
        #expect(received.code == .content)
        let (third, _) = try client.protect(get)
        #expect(try server.unprotect(third).accepted != nil)
        // Who was challenged before that is just to repeat.
        exchange = firstExchange
        let late = try client.unprotect(try server.protectChallenge(for: unproven), for: &exchange)
        #expect(late == CoAPResponse(.unauthorized))
    }

    @Test(arguments: [nil, [], [8, 6, 1, 3, 0, 0, 0, 2], [8, 6, 1, 3]] as [[UInt8]?])
    func takesNoOtherEcho(echo: [UInt8]?) throws {
        var client = try OSCOREVector.c1.client()
        var server = try OSCOREVector.c1.server(replay: .lost(challenge: challenge))
        var request = get
        if let echo { request.options.add(.echo, echo) }
        let (protected, _) = try client.protect(request)
        // As often as it comes, and never with the nonce of the request.
        for count: UInt8 in 0..<2 {
            let unproven = try #require(try server.unprotect(protected).unproven)
            let response = try server.protect(CoAPResponse(.content), for: unproven)
            #expect(response.options.first(.oscore) == [1, count])
        }
    }

    @Test func answersNoOtherThanAChallenge() {
        let echo = CoAPOptions([(252, [1])])
        #expect(get.answering(challenge: CoAPResponse(.content, options: echo)) == nil)
        #expect(get.answering(challenge: CoAPResponse(.unauthorized)) == nil)
        #expect(get.answering(challenge: CoAPResponse(.unauthorized, options: CoAPOptions([(252, [])]))) == nil)
        let once = get.answering(challenge: CoAPResponse(.unauthorized, options: echo))
        let twice = once?.answering(challenge: CoAPResponse(.unauthorized, options: CoAPOptions([(252, [2])])))
        #expect(twice?.options.all(.echo) == [[2]])
    }

    // MARK: Sequence numbers

    @Test func usesNoNumberTwiceWheneverThePowerFails() throws {
        let store = MemorySequence()
        var used: Set<UInt64> = []
        var random = SeededRandom(state: 1)
        for _ in 0..<200 {
            var client = try OSCOREVector.c1.client(store, step: 8)
            for _ in 0..<Int.random(in: 0...20, using: &random) {
                let number = try client.protect(get).exchange.sequenceNumber
                #expect(used.insert(number).inserted && number < store.end)
            }
        }
        // A restart costs a step at most, and the store is asked once in a step.
        #expect(store.end <= UInt64(used.count + 200 * 8))
        #expect(store.saves == Int(store.end) / 8)
    }

    @Test func usesNoNumberThatTheStoreHasNotKept() throws {
        let store = MemorySequence()
        var client = try OSCOREVector.c1.client(store, step: 2)
        store.error = OSCOREStoreError(code: 28)
        #expect(throws: OSCOREError.sequenceStore(OSCOREStoreError(code: 28))) { try client.protect(get) }
        store.error = nil
        for number: UInt64 in 0..<2 { #expect(try client.protect(get).exchange.sequenceNumber == number) }
        store.error = OSCOREStoreError(code: 5)
        for _ in 0..<2 {
            #expect(throws: OSCOREError.sequenceStore(OSCOREStoreError(code: 5))) { try client.protect(get) }
        }
        store.error = nil
        #expect(try client.protect(get).exchange.sequenceNumber == 2)
    }

    @Test func endsWithTheLastNumber() throws {
        let last: UInt64 = 0xFF_FFFF_FFFF
        #expect(OSCOREContext.lastSequenceNumber == last)
        let store = MemorySequence(last - 1)
        var client = try OSCOREVector.c1.client(store)
        var server = try OSCOREVector.c1.server()
        for number in [last - 1, last] {
            let (protected, exchange) = try client.protect(get)
            #expect(exchange.sequenceNumber == number)
            #expect(try server.unprotect(protected).accepted?.exchange.sequenceNumber == number)
        }
        for _ in 0..<2 {
            #expect(throws: OSCOREError.sequenceNumbersExhausted) { try client.protect(get) }
        }
        // And for ever.
        #expect(store.end == last + 1)
        var restarted = try OSCOREVector.c1.client(store)
        #expect(throws: OSCOREError.sequenceNumbersExhausted) { try restarted.protect(get) }
        var spoilt = try OSCOREVector.c1.client(MemorySequence(.max))
        #expect(throws: OSCOREError.sequenceNumbersExhausted) { try spoilt.protect(get) }
        // The server still answers with the nonce of the request.
        var exhausted = try OSCOREVector.c1.server(MemorySequence(last + 1))
        var fresh = try OSCOREVector.c1.client()
        let exchange = try #require(try exhausted.unprotect(try fresh.protect(get).request).accepted?.exchange)
        #expect(throws: Never.self) { try exhausted.protect(CoAPResponse(.content), for: exchange) }
        #expect(throws: OSCOREError.sequenceNumbersExhausted) {
            try exhausted.protect(CoAPResponse(.content), for: exchange)
        }
    }

    // MARK: A file

    /// Runs `body` with a path in a folder of its own.
    private func withPath(_ body: (String) throws -> Void) throws {
        var template = Array("/tmp/oscore-XXXXXX".utf8CString)
        let folder = try #require(mkdtemp(&template)).withMemoryRebound(to: CChar.self, capacity: 1) {
            String(cString: $0)
        }
        defer {
            for name in ["", ".new", ".lock"] { unlink("\(folder)/sequence\(name)") }
            rmdir(folder)
        }
        try body("\(folder)/sequence")
    }

    private func write(_ text: String, to path: String) {
        guard let file = fopen(path, "w") else { return }
        fputs(text, file)
        fclose(file)
    }

    @Test func aFileKeepsTheNumbersOfAContext() throws {
        try withPath { path in
            for start: UInt64 in [0, 8, 16] {
                // What a power cut has left behind does not matter.
                write("99999", to: path + ".new")
                let store = try OSCOREFileSequence(path: path)
                #expect(try store.load() == start)
                var client = try OSCOREVector.c1.client(store, step: 8)
                for number in start..<start + 3 {
                    #expect(try client.protect(get).exchange.sequenceNumber == number)
                }
            }
        }
    }

    @Test(arguments: ["", "\n", "12", "12 \n", "-1\n", "+1\n", "99999999999999999999\n", "1\n2\n"])
    func aFileWithoutANumberIsAnError(text: String) throws {
        try withPath { path in
            write(text, to: path)
            let store = try OSCOREFileSequence(path: path)
            #expect(throws: OSCOREStoreError(code: EINVAL)) { try store.load() }
        }
    }

    @Test func aFileIsOpenOnce() throws {
        try withPath { path in
            let store = try OSCOREFileSequence(path: path)
            #expect(throws: OSCOREStoreError(code: EWOULDBLOCK)) { try OSCOREFileSequence(path: path) }
            try store.save(5)
            withExtendedLifetime(store) {}
        }
        #expect(throws: OSCOREStoreError(code: ENOENT)) { try OSCOREFileSequence(path: "/nowhere/sequence") }
    }

    @Test func hasNoSecretInItsErrors() {
        #expect("\(OSCOREError.notAuthentic)" == "notAuthentic")
        #expect("\(SecretBytes([1, 2, 3]))" == "SecureTransport.SecretBytes")
    }
}
