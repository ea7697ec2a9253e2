import SAL
import Testing

@testable import CoAPClient

/// The test description of the ETSI plugtests that takes longer than a test may: in virtual time, our client session against our server session.
@Suite struct PlugtestTimeTests {
    /// A server with an observable resource, all of whose notifications are confirmable.
    private func server(seed: UInt64) -> ServerUnderTest {
        var server = ServerUnderTest(seed: seed) { $0.confirmableNotificationInterval = 1 }
        server.add("obs") {
            $0.isObservable = true
        } handler: { _ in
            .content(ascii("state"), format: .textPlain, maxAge: 5)
        }
        return server
    }

    /// Takes a registration, with this token if there was one before: how the server answers it, and how it notifies.
    private func register(
        _ bench: inout Bench,
        _ sent: CoAPMessage,
        at server: inout ServerUnderTest,
        token: CoAPToken?
    ) throws -> CoAPToken {
        #expect(sent.type == .confirmable && sent.code == .get && sent.options.all(.observe) == [[]])
        if let token { #expect(sent.token == token) }
        server.now = bench.now
        let response = try #require(server.receive(sent).first)
        #expect(response.type == .acknowledgement && response.code == .content && response.token == sent.token)
        #expect(response.options.contentFormat == .textPlain)
        var number = try #require(response.options.observe)
        #expect(bench.receive(response).count == 1)
        for _ in 0..<3 {
            let notification = try #require(server.changed("obs").first?.message)
            #expect(notification.type == .confirmable && notification.code == .content)
            #expect(notification.token == sent.token && notification.options.contentFormat == .textPlain)
            let newer = try #require(notification.options.observe)
            #expect(newer > number)
            number = newer
            let outputs = bench.receive(notification)
            let acknowledgement = notification.empty(.acknowledgement).encoded
            #expect(outputs.count == 2 && outputs.contains(.transmit(acknowledgement)))
            #expect(server.receive(acknowledgement) == [])
        }
        return sent.token
    }

    /// TD_COAP_OBS_04: the server forgets its observers. The client hears nothing for longer than Max-Age says, and registers anew with the same token.
    @Test func obs04() throws {
        var bench = Bench()
        var request = CoAPRequest(.get, path: "obs")
        request.options.observe = 0
        let (id, first) = try bench.start(request)
        var before = server(seed: 1)
        let token = try register(&bench, first, at: &before, token: nil)
        // Started anew, it knows nobody.
        var after = server(seed: 2)
        #expect(after.changed("obs") == [])
        let silence = bench.now
        let outputs = bench.runToNextOutput()
        try #require(outputs.count == 2 && outputs[0] == .stale(id))
        guard case .transmit(let datagram) = outputs[1] else { throw Bench.UnexpectedOutput() }
        // Max-Age is 5 s; then it waits for 5 to 15 s more, so that not all clients come at once (RFC 7641, 3.3.1).
        #expect(bench.now - silence >= .seconds(10) && bench.now - silence <= .seconds(21))
        _ = try register(&bench, decode(datagram), at: &after, token: token)
        #expect(after.session.observerCount == 1)
    }
}
