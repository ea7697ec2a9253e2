import HubSimulator
import Testing

/// The hub's endpoint, byte for byte.
@Suite(.timeLimit(.minutes(1))) struct CoAPEndpointBytesTests {
    /// The hub specification, 8.7, in bytes.
    private let authentication: [UInt8] =
        [0x44, 0x02, 0x12, 0x34, 0, 0, 0, 0, 0xBD, 0x16] + Array("A1B2C3D4E5/dev_0001/txauth9w0BAQsFA".utf8)
        + [0xD1, 0x26, 0x30, 0xFF] + Array("21010406;aB3dE".utf8) + [0, 0]

    private func post(_ messageID: UInt8, token: [UInt8], wantsAnswer: Bool) -> [UInt8] {
        [0x44, 0x02, 0x12, messageID, 1, 0, 0, 0, 0xBD, 0x0B] + Array("A1B2C3D4E5/dev_0001/data".utf8)
            + [0xDA, 0x25] + token + [0x11, wantsAnswer ? 0x31 : 0x30, 0xFF] + Array("{\"t\":21}".utf8)
    }

    private func endpoint(_ behavior: CoAPBehavior = CoAPBehavior()) throws -> CoAPEndpoint {
        try CoAPEndpoint(behavior: behavior, isKnown: { _, _ in true }, onMessage: { _, _, _, _, _ in [0x41] })
    }

    @Test func itAnswersTheVendorsBytes() async throws {
        let endpoint = try endpoint()
        let device = RawDatagrams(to: endpoint.port)
        device.send(authentication)
        let answer = await device.receive()
        #expect(Array(answer.prefix(9)) == [0x64, 0x45, 0x12, 0x34, 0, 0, 0, 0, 0xFF] && answer.count == 19)
        let token = Array(answer.dropFirst(9))
        device.send(post(0x35, token: token, wantsAnswer: false))
        #expect(await device.receive() == [0x64, 0x45, 0x12, 0x35, 1, 0, 0, 0])
        device.send(post(0x36, token: token, wantsAnswer: true))
        #expect(await device.receive() == [0x64, 0x45, 0x12, 0x36, 1, 0, 0, 0, 0xFF, 0x41])
        endpoint.stop()
    }

    @Test func aCopyOfARequestGetsACopyOfItsAnswer() async throws {
        let endpoint = try endpoint()
        let device = RawDatagrams(to: endpoint.port)
        device.send(authentication)
        let answer = await device.receive()
        // The very same token: authenticating once more would have given another.
        device.send(authentication)
        #expect(await device.receive() == answer)
        let request = post(0x35, token: Array(answer.dropFirst(9)), wantsAnswer: true)
        device.send(request)
        device.send(request)
        #expect(await device.receive() == device.receive())
        let statistics = endpoint.statistics
        #expect(statistics.requests == 2 && statistics.duplicates == 2 && statistics.messages == 1)
        endpoint.stop()
    }

    @Test(arguments: [CoAPBehavior.AnswerStyle.separateAfterEmpty, .separateAfterValid])
    func aSeparateAnswerComesOnceAndIsSentAgainUntilAcknowledged(style: CoAPBehavior.AnswerStyle) async throws {
        var behavior = CoAPBehavior()
        behavior.answerStyle = style
        behavior.responseDelay = .milliseconds(500)
        let endpoint = try endpoint(behavior)
        let device = RawDatagrams(to: endpoint.port)
        // Authentication is no answer in this sense: it comes with the acknowledgement.
        device.send(authentication)
        let token = Array((await device.receive()).dropFirst(9))
        #expect(token.count == 10)
        let request = post(0x35, token: token, wantsAnswer: true)
        let received: [UInt8] =
            style == .separateAfterEmpty ? [0x60, 0, 0x12, 0x35] : [0x64, 0x43, 0x12, 0x35, 1, 0, 0, 0]
        device.send(request)
        #expect(await device.receive() == received)
        device.send(request)
        #expect(await device.receive() == received)
        let answer = await device.receive()
        #expect(answer.count == 10)
        #expect(answer.prefix(2) == [0x44, 0x45] && answer.suffix(6) == [1, 0, 0, 0, 0xFF, 0x41])
        // Not acknowledged, it comes again, after two to three seconds.
        var again = await device.receive()
        if again.isEmpty { again = await device.receive() }
        #expect(again == answer)
        device.send([0x60, 0] + answer[2...3])
        endpoint.stop()
    }

    @Test func malformedDatagramsDoNotStopIt() async throws {
        let endpoint = try endpoint()
        let device = RawDatagrams(to: endpoint.port)
        var random = SystemRandomNumberGenerator()
        for count in 0..<200 {
            device.send((0..<count % 40).map { _ in UInt8.random(in: 0...255, using: &random) })
        }
        let other = RawDatagrams(to: endpoint.port)
        other.send(authentication)
        #expect(await other.receive().count == 19)
        endpoint.stop()
    }
}
