import SAL
import Testing

@testable import CoAPClient

/// Observed resources (RFC 7641), at a server.
@Suite struct ServerObserveTests {
    /// How the resource is, where the handler and the test can see it.
    private final class State {
        var payload = ascii("0")
        var code = CoAPCode.content
        /// Whether the handler answers later.
        var isSlow = false
    }

    private let state = State()

    private func server(change: (inout CoAPServerConfiguration) -> Void = { _ in }) -> ServerUnderTest {
        var server = ServerUnderTest(change: change)
        let state = state
        server.add("value") {
            $0.isObservable = true
        } handler: { _ in
            state.isSlow ? nil : CoAPResponse(state.code, payload: state.payload)
        }
        return server
    }

    private func observe(_ value: UInt32 = 0, id: UInt16 = 1, token: [UInt8] = [7], query: String? = nil) -> CoAPMessage
    {
        request(.get, "value", id: id, token: token) {
            $0.observe = value
            if let query { $0.addQuery(query.utf8.span) }
        }
    }

    private func change(_ payload: String, _ server: inout ServerUnderTest) -> [CoAPMessage] {
        state.payload = ascii(payload)
        return server.changed("value").map(\.message)
    }

    private func acknowledge(_ message: CoAPMessage, _ server: inout ServerUnderTest) -> [CoAPMessage] {
        server.receive(.empty(.acknowledgement, message.messageID))
    }

    @Test func anObserverIsToldEachChange() throws {
        var server = server()
        let first = try #require(server.receive(observe()).first)
        var last = try #require(first.options.observe)
        #expect(first.type == .acknowledgement && server.session.observerCount([ascii("value")]) == 1)
        for text in ["1", "2", "3", "4"] {
            let sent = change(text, &server)
            let message = try #require(sent.first)
            #expect(
                sent.count == 1 && message.payload == ascii(text) && message.token == token([7])
                    && message.code == .content
            )
            let number = try #require(message.options.observe)
            #expect(number > last)
            last = number
        }
        #expect(server.handled.map(\.isNotification) == [false, true, true, true, true])
        #expect(change("5", &server).map(\.type) == [.confirmable], "one in five")
    }

    @Test func whoDoesNotAskIsNotTold() {
        var server = server()
        server.add("fixed") { _ in .content([]) }
        _ = server.receive(request(.get, "value", id: 1))
        let fixed = server.receive(request(.get, "fixed", id: 2) { $0.observe = 0 })
        #expect(fixed.first?.options.observe == nil)
        let strange = server.receive(observe(5, id: 3))
        #expect(strange.first?.options.observe == nil)
        state.code = .serviceUnavailable
        #expect(server.receive(observe(id: 4)).first?.options.observe == nil)
        state.code = .content
        #expect(change("1", &server) == [] && server.session.observerCount == 0)
    }

    // MARK: The end

    @Test func anObservationIsCancelled() {
        var server = server()
        _ = server.receive(observe())
        _ = server.receive(observe(1, id: 2, token: [8]))
        #expect(server.session.observerCount == 1, "another token")
        let last = server.receive(observe(1, id: 3))
        #expect(last.map(\.code) == [.content] && last.first?.options.observe == nil)
        #expect(change("1", &server) == [])
    }

    @Test(arguments: [1, 5]) func aResetEndsAnObservation(interval: Int) throws {
        var server = server { $0.confirmableNotificationInterval = interval }
        _ = server.receive(observe())
        let told = try #require(change("1", &server).first)
        #expect(told.type == (interval == 1 ? .confirmable : .nonConfirmable))
        #expect(server.receive(.empty(.reset, told.messageID), from: peer(2)) == [])
        #expect(server.session.observerCount == 1, "not of somebody else")
        #expect(server.receive(.empty(.reset, told.messageID)) == [])
        #expect(change("2", &server) == [] && server.remembered == [0, 0, 0, 0, 0])
    }

    @Test func whoIsGoneIsForgotten() {
        var server = server { $0.confirmableNotificationInterval = 1 }
        _ = server.receive(observe())
        #expect(change("1", &server).count == 1)
        let again = server.pass(to: .seconds(100))
        #expect(again.count == 4 && server.session.counters.unacknowledged == 1)
        #expect(change("2", &server) == [] && server.remembered == [0, 0, 0, 0, 0])
    }

    @Test func anErrorIsTheLastWord() throws {
        var server = server()
        _ = server.receive(observe())
        state.code = .notFound
        let last = try #require(change("x", &server).first)
        #expect(last.code == .notFound && last.options.observe == nil && last.type == .confirmable)
        #expect(change("y", &server) == [] && acknowledge(last, &server) == [])
        #expect(server.remembered == [0, 0, 0, 0, 0])
    }

    @Test func aHandlerThatIsSilentEndsIt() {
        var server = server()
        _ = server.receive(observe())
        state.isSlow = true
        #expect(change("1", &server) == [])
        let sent = server.pass(to: .seconds(61)).map(\.message.code)
        #expect(sent == [.serviceUnavailable] && server.session.observerCount == 0)
    }

    // MARK: One at a time

    /// RFC 7641, 4.5.2: a newer state waits for the acknowledgement.
    @Test func aNewStateTakesThePlaceOfOneThatWaits() throws {
        var server = server { $0.confirmableNotificationInterval = 1 }
        _ = server.receive(observe())
        let first = try #require(change("1", &server).first)
        #expect(change("2", &server) == [] && change("3", &server) == [])
        let next = acknowledge(first, &server)
        #expect(next.map(\.payload) == [ascii("3")] && next.map(\.type) == [.confirmable])
        #expect(acknowledge(try #require(next.first), &server) == [] && server.pass(to: .seconds(500)).isEmpty)
        #expect(server.session.observerCount == 1)
    }

    /// The same where the old one is sent again: the new one goes instead, with a number and an ID of its own, and the tries go on being counted.
    @Test func aNewStateIsSentAgainInsteadOfTheOld() throws {
        var server = server { $0.confirmableNotificationInterval = 1 }
        _ = server.receive(observe())
        let first = try #require(change("1", &server).first)
        #expect(change("2", &server) == [])
        let sent = server.pass(to: .seconds(20)).map(\.message)
        #expect(sent.map(\.payload) == [ascii("2"), ascii("2"), ascii("2")])
        let newer = try #require(sent.first)
        #expect(newer.messageID != first.messageID && sent == [newer, newer, newer])
        #expect(try #require(newer.options.observe) > (try #require(first.options.observe)))
        #expect(
            acknowledge(first, &server) == [] && !server.session.transmissions.isEmpty,
            "the old one's acknowledgement is late"
        )
        #expect(server.pass(to: .seconds(200)).count == 1, "four times in all")
        #expect(server.session.observerCount == 0)
    }

    /// RFC 7252, 4.7: one message at a time waits for its acknowledgement, whatever it is about.
    @Test func aPeerConfirmsOneAfterTheOther() throws {
        var server = server { $0.confirmableNotificationInterval = 1 }
        for query in 1...3 as ClosedRange<UInt16> {
            _ = server.receive(observe(id: query, token: [UInt8(query)], query: "\(query)"))
        }
        _ = server.receive(observe(), from: peer(2))
        state.payload = ascii("1")
        let sent = server.changed("value")
        #expect(sent.map(\.peer) == [peer(1), peer(2)], "one for each peer")
        var last = try #require(sent.first?.message)
        var tokens = [last.token]
        for _ in 2...3 {
            last = try #require(acknowledge(last, &server).first)
            tokens.append(last.token)
        }
        #expect(acknowledge(last, &server) == [] && tokens == [token([1]), token([2]), token([3])])
        // One that is rejected, given up or cancelled lets the next go, too.
        last = try #require(server.changed("value").first?.message)
        last = try #require(server.receive(.empty(.reset, last.messageID)).first)
        #expect(last.token == token([2]))
        let next = server.receive(observe(1, id: 9, token: [2], query: "2"))
        #expect(next.map(\.token) == [token([3]), token([2])])
        _ = server.changed("value")
        let later = server.pass(to: .seconds(100)).filter { $0.peer == peer(1) }
        #expect(later.count == 4 && server.session.observerCount == 0)
    }

    @Test func theHandlerIsAskedOnceAtATime() throws {
        var server = server()
        _ = server.receive(observe())
        state.isSlow = true
        for _ in 0..<10 { #expect(change("x", &server) == []) }
        #expect(server.handled.count == 2)
        #expect(server.respond(to: 1, .content(ascii("old"))).map(\.payload) == [ascii("old")])
        #expect(server.handled.count == 3, "it has changed since")
        #expect(server.respond(to: 2, .content(ascii("new"))).map(\.payload) == [ascii("new")])
        #expect(server.handled.count == 3)
    }

    @Test func notificationsKeepTheirDistance() {
        var server = server { $0.leastNotificationInterval = .seconds(10) }
        _ = server.receive(observe())
        #expect(change("1", &server) == [] && change("2", &server) == [])
        #expect(server.pass(to: .milliseconds(9_999)).isEmpty)
        #expect(server.pass(to: .seconds(10)).map(\.message.payload) == [ascii("2")])
        _ = server.pass(to: .seconds(30))
        #expect(change("3", &server).map(\.payload) == [ascii("3")])
    }

    @Test func aDayBringsAConfirmation() throws {
        var server = server { $0.confirmableNotificationInterval = 1_000 }
        _ = server.receive(observe())
        #expect(change("1", &server).map(\.type) == [.nonConfirmable])
        server.now = .seconds(86_400)
        let told = change("2", &server)
        #expect(told.map(\.type) == [.confirmable])
        _ = acknowledge(try #require(told.first), &server)
        #expect(change("3", &server).map(\.type) == [.nonConfirmable])
    }

    // MARK: Many

    @Test func oneRegistrationForOneRequest() {
        var server = server()
        _ = server.receive(observe())
        _ = server.receive(observe(id: 2))
        #expect(server.session.observerCount == 1, "the same again")
        _ = server.receive(observe(id: 3, token: [8]))
        #expect(server.session.observerCount == 1, "a client that has forgotten the first")
        #expect(change("1", &server).map(\.token) == [token([8])])
        _ = server.receive(observe(id: 4, token: [9], query: "x"))
        _ = server.receive(observe(), from: peer(2))
        #expect(server.session.observerCount == 3)
        #expect(Set(server.changed("value").map(\.peer)) == [peer(1), peer(2)])
    }

    @Test func observersAreBounded() {
        var server = server { $0.observerLimit = 2 }
        for number in 1...4 {
            let response = server.receive(observe(), from: peer(number)).first
            #expect(response?.code == .content && (response?.options.observe == nil) == (number > 2))
        }
        #expect(server.changed("value").map(\.peer) == [peer(1), peer(2)])
    }

    @Test func aLateAnswerRegistersToo() throws {
        var server = server()
        state.isSlow = true
        _ = server.receive(observe())
        _ = server.pass(to: .seconds(1))
        let first = try #require(server.respond(to: 0, .content(ascii("0"))).first)
        #expect(first.type == .confirmable && first.options.observe != nil && server.session.observerCount == 1)
        // The first state is a message that waits, too.
        state.isSlow = false
        #expect(change("1", &server) == [])
        #expect(acknowledge(first, &server).map(\.payload) == [ascii("1")])
    }

    @Test func aLargeStateIsToldInBlocks() throws {
        var server = server()
        _ = server.receive(observe())
        let body = String(repeating: "x", count: 1_024) + String(repeating: "y", count: 500)
        let told = try #require(change(body, &server).first)
        #expect(
            told.options.block2 == CoAPBlock(number: 0, hasMore: true, sizeExponent: 6) && told.options.observe != nil
        )
        // The rest is that of the state that was told, whatever it is now.
        state.payload = ascii("other")
        let rest = request(.get, "value", id: 2, token: [9]) { $0.block2 = CoAPBlock(number: 1, sizeExponent: 6) }
        let second = try #require(server.receive(rest).first)
        #expect(second.payload == ascii(String(repeating: "y", count: 500)) && second.options.eTag == told.options.eTag)
        #expect(second.options.observe == nil && server.session.observerCount == 1)
    }

    @Test func aKnownStateIsOnlyNamed() throws {
        var server = ServerUnderTest()
        let state = state
        server.add("value") {
            $0.isObservable = true
        } handler: { _ in
            .content(state.payload, eTag: state.payload)
        }
        _ = server.receive(
            request(.get, "value") {
                $0.observe = 0; $0.add(.eTag, ascii("5"))
            }
        )
        #expect(change("4", &server).map(\.code) == [.content])
        let known = change("5", &server)
        #expect(known.map(\.code) == [.valid] && known.map(\.payload) == [[]] && known.first?.options.observe != nil)
    }

    @Test func aPeerIsForgotten() throws {
        var server = server { $0.confirmableNotificationInterval = 1 }
        server.add("never") { _ in nil }
        for number in 1...2 {
            _ = server.receive(observe(), from: peer(number))
            _ = server.receive(request(.get, "never", id: 2), from: peer(number))
        }
        state.payload = ascii(String(repeating: "x", count: 3_000))
        _ = server.changed("value")
        #expect(server.remembered == [2, 2, 0, 2, 2])
        server.session.forget(peer(1))
        server.drain()
        #expect(server.remembered == [1, 1, 0, 1, 1] && server.abandoned.count == 1)
        #expect(server.changed("value").isEmpty, "the other has not confirmed yet")
        // The same message is none that was answered before.
        let count = server.handled.count
        #expect(server.receive(observe()).first?.payload.count == 1_024 && server.handled.count == count + 1)
    }

    @Test func aResourceThatGoesSaysSo() {
        var server = server()
        _ = server.receive(observe())
        server.session.remove([ascii("value")], at: server.now)
        server.drain()
        let sent = server.pass(to: .zero).map(\.message)
        #expect(sent.map(\.code) == [.notFound] && sent.map(\.type) == [.confirmable])
        #expect(server.session.observerCount == 0)
    }
}
