import Testing

@testable import CoAPClient

/// Options whose length is outside the range of RFC 7252, table 4, and its successors, or that come more often than they may: they are as good as unknown ones
/// (RFC 7252, 5.4.3 and 5.4.5).
@Suite struct MalformedOptionTests {
    struct Malformed: CustomTestStringConvertible, Sendable {
        let option: UInt16
        /// The lengths of the options of this number.
        let lengths: [Int]
        var testDescription: String { "\(option) of \(lengths)" }
        var options: CoAPOptions { CoAPOptions(lengths.map { (option, [UInt8](repeating: 0x61, count: $0)) }) }
    }

    private static func table(_ rows: [(UInt16, [[Int]])]) -> [Malformed] {
        rows.flatMap { option, lengths in lengths.map { Malformed(option: option, lengths: $0) } }
    }

    private static let critical = table([
        (1, [[9], [0, 9]]), (3, [[0], [256], [1, 1]]), (5, [[1], [0, 0]]), (7, [[3], [1, 1]]), (11, [[256]]),
        (15, [[256]]), (17, [[3], [1, 1]]), (23, [[4], [1, 1]]), (27, [[4], [1, 1]]), (35, [[0], [1_035]]),
        (39, [[0], [256]]),
    ])
    private static let elective = table([
        (4, [[0], [9]]), (6, [[4]]), (8, [[256]]), (12, [[3]]), (14, [[5]]), (20, [[256]]), (28, [[5]]), (60, [[5]]),
        (252, [[0], [41]]), (258, [[2]]), (292, [[9]]),
    ])

    private func server() -> ServerUnderTest {
        var server = ServerUnderTest { $0.messages.maximumMessageBytes = 4_096 }
        server.add("hello") {
            $0.isObservable = true
            $0.formats = [.textPlain]
            $0.acceptedFormats = [.textPlain]
        } handler: { _ in
            .content(ascii("world"), format: .textPlain, eTag: [1])
        }
        return server
    }

    /// A GET of what is there, with options.
    private func request(_ type: CoAPMessageType, _ malformed: Malformed) -> CoAPMessage {
        CoAPClientTests.request(.get, "hello", type: type) { options in
            malformed.options.forEach { number, value in options.add(number, value) }
        }
    }

    // MARK: Requests

    /// 4.02, or silence where nothing is to be confirmed (RFC 7252, 5.4.1).
    @Test(arguments: critical) func aRequestWithACriticalOneIsRefused(_ malformed: Malformed) {
        var server = server()
        #expect(server.receive(request(.confirmable, malformed)).map(\.code) == [.badOption])
        #expect(server.receive(request(.nonConfirmable, malformed)) == [])
        #expect(server.handled.isEmpty && server.remembered == [0, 0, 0, 0, 0])
    }

    @Test(arguments: elective) func aRequestWithAnElectiveOneIsServedWithoutIt(_ malformed: Malformed) throws {
        var server = server()
        let response = try #require(server.receive(request(.confirmable, malformed)).first)
        #expect(response.code == .content && response.payload == ascii("world"))
        #expect(!response.options.contains(.observe) && server.session.observerCount == 0)
        #expect(server.handled.count == 1)
    }

    // MARK: Responses

    /// The response is rejected, by a Reset if it is no acknowledgement, and the request fails.
    @Test(arguments: critical, [CoAPMessageType.acknowledgement, .confirmable, .nonConfirmable])
    func aResponseWithACriticalOneIsRejected(_ malformed: Malformed, type: CoAPMessageType) throws {
        var bench = Bench()
        let (id, request) = try bench.start()
        let messageID = type == .acknowledgement ? request.messageID : 0x7777
        let outputs = bench.receive(request.response(type, messageID: messageID, options: malformed.options))
        let failure = CoAPSession.Output.finished(id, .failure(.unacceptableOption(number(malformed.option))))
        #expect(outputs == (type == .acknowledgement ? [failure] : [.transmit(hex("70007777")), failure]))
    }

    @Test(arguments: elective) func aResponseWithAnElectiveOneIsTakenWithoutIt(_ malformed: Malformed) throws {
        var bench = Bench()
        var observing = CoAPRequest(.get, path: "x")
        observing.options.observe = 0
        let (id, request) = try bench.start(observing)
        let outputs = bench.receive(request.response(.acknowledgement, options: malformed.options))
        guard outputs.count == 1, case .finished(id, .success(let response)) = outputs[0] else {
            Issue.record("\(outputs)")
            return
        }
        #expect(response.code == .content && response.payload == warm.payload)
        let options = response.options
        #expect(options.contentFormat == nil && options.maxAge == nil && options.observe == nil)
        #expect(options.uint(.size1) == nil && options.uint(.size2) == nil && options.noResponse == nil)
    }
}
