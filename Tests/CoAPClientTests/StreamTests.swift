import Kernel
import SAL
import Testing

@testable import CoAPClient

/// A session over a stream, and what comes out of it, with the time as a value.
private struct StreamBench: ~Copyable {
    var session: CoAPSession
    var now: Duration = .seconds(1_000)

    /// Opened, and with the capabilities of the peer, unless `peer` is `nil`.
    init(peer: [UInt8]? = capabilities(), change: (inout CoAPConfiguration) -> Void = { _ in }) throws {
        var configuration = CoAPConfiguration()
        change(&configuration)
        session = CoAPSession(overStreams: configuration, seed: CoAPSeed(1, 7))
        session.transportOpened(at: now)
        let sent = try frames()
        #expect(sent.count == 1 && sent[0].code == .capabilities)
        #expect(sent[0].options.uint(CoAPOptionNumber(rawValue: 2)) == 66_688)
        #expect(sent[0].options.contains(CoAPOptionNumber(rawValue: 4)))
        if let peer { #expect(receive(peer) == []) }
    }

    mutating func outputs() -> [CoAPSession.Output] {
        var outputs: [CoAPSession.Output] = []
        while let output = session.nextOutput() { outputs.append(output) }
        return outputs
    }

    /// The messages that are sent now; anything else is an error.
    mutating func frames() throws -> [CoAPMessage] {
        try outputs().map {
            guard case .transmit(let bytes) = $0 else { throw Bench.UnexpectedOutput() }
            return try message(bytes)
        }
    }

    mutating func receive(_ bytes: [UInt8]) -> [CoAPSession.Output] {
        session.receive(stream: bytes.span, at: now)
        return outputs()
    }

    mutating func start(_ request: CoAPRequest) throws -> (id: CoAPExchangeID, message: CoAPMessage) {
        let id = try session.send(request, at: now)
        let sent = try frames()
        guard sent.count == 1 else { throw Bench.UnexpectedOutput() }
        return (id, sent[0])
    }
}

private func frame(_ bytes: [UInt8]) throws -> CoAPFrame {
    guard let frame = try CoAPFrame(bytes.span) else { throw Bench.UnexpectedOutput() }
    return frame
}

private func message(_ bytes: [UInt8]) throws -> CoAPMessage {
    let frame = try frame(bytes)
    #expect(frame.byteCount == bytes.count)
    return try CoAPMessage(frame, in: bytes.span)
}

private func capabilities(_ limit: UInt32? = nil, takesBlocks: Bool = true) -> [UInt8] {
    var options = CoAPOptions()
    if let limit { options.add(CoAPOptionNumber(rawValue: 2), uint: limit) }
    if takesBlocks { options.add(CoAPOptionNumber(rawValue: 4), []) }
    return CoAPFrame.encode(.capabilities, .empty, options)
}

private func response(
    to request: CoAPMessage,
    _ code: CoAPCode = .content,
    options: CoAPOptions = CoAPOptions(),
    payload: [UInt8] = ascii("22.3 C")
) -> [UInt8] {
    CoAPFrame.encode(code, request.token, options, payload)
}

/// CoAP over byte streams: RFC 8323.
@Suite struct StreamTests {
    // MARK: Messages (3.2)

    /// Figures 5 to 7 of the RFC: a message without options and payload, one with a token, and each form of the length.
    @Test(arguments: [0, 1, 12, 13, 14, 268, 269, 270, 65_804, 65_805, 65_806, 70_000])
    func eachLengthIsWrittenAndRead(count: Int) throws {
        let token = CoAPToken(bits: 0x7F << 56, count: 1)
        let payload = [UInt8](repeating: 0x61, count: max(count - 1, 0))
        let bytes = CoAPFrame.encode(.content, token, CoAPOptions(), payload)
        let length = payload.isEmpty ? 0 : count
        let head: [UInt8] =
            switch length {
            case ..<13: [UInt8(length) << 4 | 1]
            case ..<269: [0xD1, UInt8(length - 13)]
            case ..<65_805: [0xE1, UInt8((length - 269) >> 8), UInt8((length - 269) & 0xFF)]
            default: [0xF1] + (0..<4).map { UInt8(truncatingIfNeeded: (length - 65_805) >> (24 - 8 * $0)) }
            }
        #expect(Array(bytes.prefix(head.count + 2)) == head + [0x45, 0x7F])
        let read = try message(bytes)
        #expect(read.code == .content && read.token == token && read.payload == payload && read.options.isEmpty)
        // No shorter piece is taken for a message.
        for count in [0, 1, head.count, head.count + 1].filter({ $0 < head.count + 1 }) {
            let piece = Array(bytes.prefix(count))
            let frame = try CoAPFrame(piece.span)
            #expect(frame == nil)
        }
    }

    /// RFC 8323, figure 6.
    @Test func theExamplesOfTheStandard() throws {
        #expect(CoAPFrame.encode(.capabilities, .empty, CoAPOptions()) == [0x00, 0xE1])
        let frame = try frame([0x01, 0x43, 0x7F])
        #expect(frame.code == CoAPCode(2, 03) && frame.tokenCount == 1 && frame.byteCount == 3)
    }

    /// What a stream brings may be cut anywhere.
    @Test(arguments: 1...9) func messagesComeInAnyPieces(size: Int) throws {
        var bench = try StreamBench()
        let (first, one) = try bench.start(CoAPRequest(.get, path: "a"))
        let (second, two) = try bench.start(CoAPRequest(.get, path: "b"))
        let long = [UInt8](repeating: 7, count: 300)
        let stream = response(to: two, payload: long) + [0x00, 0x00] + response(to: one)
        var outputs: [CoAPSession.Output] = []
        for start in stride(from: 0, to: stream.count, by: size) {
            outputs += bench.receive(Array(stream[start..<min(start + size, stream.count)]))
        }
        #expect(
            outputs == [
                .finished(second, .success(CoAPResponse(.content, payload: long))),
                .finished(first, .success(warm)),
            ]
        )
        #expect(bench.session.stream.partial.isEmpty)
    }

    // MARK: Capabilities (5.3)

    @Test func requestsWaitForTheCapabilities() throws {
        var bench = try StreamBench(peer: nil)
        _ = try bench.session.send(CoAPRequest(.get, path: "x"), at: bench.now)
        #expect(bench.outputs() == [])
        let outputs = bench.receive(capabilities())
        guard outputs.count == 1, case .transmit(let bytes) = outputs[0] else { throw Bench.UnexpectedOutput() }
        #expect(try message(bytes).code == .get)
    }

    @Test func aPeerThatNeverTellsThemIsLeft() throws {
        var bench = try StreamBench(peer: nil)
        let id = try bench.session.send(CoAPRequest(.get, path: "x"), at: bench.now)
        let deadline = try #require(bench.session.deadline as Duration?)
        #expect(deadline == bench.now + .seconds(10))
        bench.session.handleTimeout(at: deadline)
        #expect(bench.outputs() == [.finished(id, .failure(.transport(.timedOut))), .disconnect(holdOff: nil)])
    }

    /// What is no first message, no message at all, too long, or not understood, ends the connection, and the peer is told (5.6).
    @Test(
        arguments: [
            ("a response first", [0x00, 0x45], false, nil),
            ("a ping first", [0x00, 0xE2], false, nil),
            ("a token of 9 bytes", [0x09, 0x45], true, nil),
            ("an option that goes on beyond the message", [0x10, 0x45, 0xB2], true, nil),
            ("a payload marker without payload", [0x10, 0x45, 0xFF], true, nil),
            ("four thousand million bytes", [0xF0, 0xFF, 0xFF, 0xFF, 0xFF, 0x45], true, nil),
            ("a capability that must be understood", [0x10, 0xE1, 0x10], true, 1),
            ("a ping with an option that must be understood", [0x10, 0xE2, 0x10], true, nil),
        ] as [(String, [UInt8], Bool, UInt32?)]
    )
    func whatBreaksTheProtocolEndsTheConnection(name: String, bytes: [UInt8], isReady: Bool, option: UInt32?) throws {
        var bench = try StreamBench(peer: isReady ? capabilities() : nil)
        let id = try bench.session.send(CoAPRequest(.get, path: "x"), at: bench.now)
        _ = bench.outputs()
        let outputs = bench.receive(bytes + response(to: try message([0x00, 0x01])))
        guard outputs.count == 3, case .transmit(let abort) = outputs[0] else { throw Bench.UnexpectedOutput() }
        #expect(try message(abort).code == .abort)
        #expect(try message(abort).options.uint(CoAPOptionNumber(rawValue: 2)) == option)
        #expect(outputs[1] == .finished(id, .failure(.protocolViolation)))
        #expect(outputs[2] == .disconnect(holdOff: nil))
        #expect(bench.session.counters.malformed == 1)
        // Nothing is taken any more.
        #expect(bench.receive(capabilities()) == [])
    }

    // MARK: Other signals (5.4 to 5.6)

    @Test func pingsAreAnswered() throws {
        var bench = try StreamBench()
        #expect(bench.receive([0x01, 0xE2, 0x42]) == [.transmit([0x01, 0xE3, 0x42])])
        // With Custody.
        #expect(bench.receive([0x11, 0xE2, 0x42, 0x20]) == [.transmit([0x11, 0xE3, 0x42, 0x20])])
    }

    @Test func aPingIsAnsweredByAPong() throws {
        var bench = try StreamBench()
        let id = try bench.session.ping(at: bench.now)
        let sent = try bench.frames()
        #expect(sent.count == 1 && sent[0].code == .ping && sent[0].token.count == 4)
        #expect(bench.receive(CoAPFrame.encode(.pong, CoAPToken(bits: 1, count: 8), CoAPOptions())) == [])
        #expect(bench.session.counters.unexpected == 1)
        #expect(
            bench.receive(CoAPFrame.encode(.pong, sent[0].token, CoAPOptions()))
                == [.finished(id, .success(CoAPResponse(.empty)))]
        )
        // libcoap's has no token.
        let other = try bench.session.ping(at: bench.now)
        _ = bench.outputs()
        #expect(bench.receive([0x00, 0xE3]) == [.finished(other, .success(CoAPResponse(.empty)))])
    }

    /// What was asked before is answered, nothing more is asked, and the peer is left alone as long as it wants.
    @Test func aReleaseEndsTheConnectionInOrder() throws {
        var bench = try StreamBench()
        let (id, request) = try bench.start(CoAPRequest(.get, path: "a"))
        #expect(bench.receive([0x20, 0xE4, 0x41, 0x05]) == [])
        let next = try bench.session.send(CoAPRequest(.post, path: "b"), at: bench.now)
        #expect(bench.outputs() == [])
        #expect(
            bench.receive(response(to: request))
                == [.finished(id, .success(warm)), .disconnect(holdOff: .seconds(5))]
        )
        bench.session.transportClosed()
        bench.session.transportOpened(at: bench.now)
        #expect(try bench.frames().map(\.code) == [.capabilities])
        let outputs = bench.receive(capabilities())
        guard outputs.count == 1, case .transmit(let bytes) = outputs[0] else { throw Bench.UnexpectedOutput() }
        #expect(
            bench.receive(response(to: try message(bytes), .changed)) == [
                .finished(next, .success(CoAPResponse(.changed, payload: ascii("22.3 C"))))
            ]
        )
    }

    @Test func anAbortFailsAllRequests() throws {
        var bench = try StreamBench()
        let (id, _) = try bench.start(CoAPRequest(.get, path: "a"))
        let abort = CoAPFrame.encode(.abort, .empty, CoAPOptions(), ascii("no"))
        #expect(
            bench.receive(abort)
                == [.finished(id, .failure(.aborted(diagnostic: ascii("no")))), .disconnect(holdOff: nil)]
        )
    }

    /// We serve nothing.
    @Test func requestsAreRefused() throws {
        var bench = try StreamBench()
        #expect(bench.receive([0x01, 0x01, 0x42]) == [.transmit([0x01, 0x85, 0x42])])
        #expect(bench.session.counters.unexpected == 1)
    }

    // MARK: Requests

    /// Many are under way at once, are sent once, and wait as long as a confirmable one.
    @Test func streamsNeedNeitherAcknowledgementsNorCopies() throws {
        var bench = try StreamBench()
        var ids: [CoAPExchangeID] = []
        for index in 0..<10 { ids.append(try bench.start(CoAPRequest(.get, path: "\(index)")).id) }
        let start = bench.now
        var outputs: [CoAPSession.Output] = []
        while outputs.isEmpty, let deadline = bench.session.deadline {
            bench.now = deadline
            bench.session.handleTimeout(at: deadline)
            outputs = bench.outputs()
        }
        #expect(outputs == ids.map { .finished($0, .failure(.noResponse)) })
        #expect(bench.now - start == .seconds(247))
    }

    /// Of what was asked over a connection that ended, what is safe is asked once more (RFC 7252, 5.1); of the rest nobody knows whether it was done.
    @Test func whatWasAskedOverALostConnection() throws {
        var bench = try StreamBench()
        let (get, _) = try bench.start(CoAPRequest(.get, path: "a"))
        let (post, _) = try bench.start(CoAPRequest(.post, path: "b"))
        bench.session.transportClosed()
        #expect(bench.outputs() == [.finished(post, .failure(.connectionLost))])
        let waiting = try bench.session.send(CoAPRequest(.post, path: "c"), at: bench.now)
        bench.session.transportOpened(at: bench.now)
        _ = bench.outputs()
        let sent = try bench.receive(capabilities()).map {
            guard case .transmit(let bytes) = $0 else { throw Bench.UnexpectedOutput() }
            return try message(bytes)
        }
        #expect(sent.map(\.code) == [.get, .post])
        bench.session.transportClosed()
        #expect(
            bench.outputs() == [
                .finished(get, .failure(.connectionLost)), .finished(waiting, .failure(.connectionLost)),
            ]
        )
        #expect(bench.session.requestCount == 0)
    }

    /// While the stream is full, nothing more is put into it.
    @Test func aFullStreamHoldsRequests() throws {
        var bench = try StreamBench()
        bench.session.streamFilled(true, at: bench.now)
        _ = try bench.session.send(CoAPRequest(.get, path: "a"), at: bench.now)
        #expect(bench.outputs() == [])
        bench.session.streamFilled(false, at: bench.now)
        #expect(try bench.frames().map(\.code) == [.get])
    }

    // MARK: Bodies (6)

    /// As large as the peer takes it, in one message; otherwise in blocks, as many in a message as fit, if the peer takes that.
    @Test func bodiesAreSentAsThePeerTakesThem() throws {
        let body = [UInt8](repeating: 9, count: 10_000)
        var whole = try StreamBench(peer: capabilities(20_000))
        let (_, one) = try whole.start(CoAPRequest(.put, path: "x", payload: body))
        #expect(one.payload == body && one.options.block1 == nil)

        var bulk = try StreamBench(peer: capabilities(4_200))
        var (id, message) = try bulk.start(CoAPRequest(.put, path: "x", payload: body))
        var received: [UInt8] = []
        var blocks: [CoAPBlock] = []
        while let block = message.options.block1 {
            received += message.payload
            blocks.append(block)
            var options = CoAPOptions()
            options.block1 = block
            let answer = response(to: message, block.hasMore ? .continue : .changed, options: options, payload: [])
            let outputs = bulk.receive(answer)
            guard block.hasMore, case .transmit(let bytes)? = outputs.first else {
                #expect(outputs == [.finished(id, .success(CoAPResponse(.changed)))])
                break
            }
            message = try CoAPClientTests.message(bytes)
        }
        #expect(received == body)
        #expect(blocks == [0, 4, 8].map { CoAPBlock(number: $0, hasMore: $0 < 8, sizeExponent: 7) })

        var single = try StreamBench(peer: capabilities())
        (id, message) = try single.start(CoAPRequest(.put, path: "x", payload: body))
        #expect(message.payload.count == 1_024 && message.options.block1?.sizeExponent == 6)

        var none = try StreamBench(peer: capabilities(takesBlocks: false))
        #expect(throws: CoAPError.messageTooLarge(bytes: 10_011, limit: 1_152)) {
            try none.session.send(CoAPRequest(.put, path: "x", payload: body), at: none.now)
        }
    }

    /// What is too large is known only when the peer has told its capabilities.
    @Test func aBodyThatWaitedMayBeTooLarge() throws {
        var bench = try StreamBench(peer: nil)
        let body = [UInt8](repeating: 9, count: 10_000)
        let id = try bench.session.send(CoAPRequest(.put, path: "x", payload: body), at: bench.now)
        #expect(
            bench.receive(capabilities(takesBlocks: false))
                == [.finished(id, .failure(.messageTooLarge(bytes: 10_011, limit: 1_152)))]
        )
    }

    /// Several blocks in a message, the last of any length.
    @Test func bodiesAreFetchedByManyBlocks() throws {
        var bench = try StreamBench(peer: capabilities(20_000))
        let body = (0..<5_000).map { UInt8(truncatingIfNeeded: $0) }
        let (id, request) = try bench.start(CoAPRequest(.get, path: "x"))
        #expect(request.options.block2 == nil)
        var options = CoAPOptions()
        options.block2 = CoAPBlock(number: 0, hasMore: true, sizeExponent: 7)
        let outputs = bench.receive(response(to: request, options: options, payload: Array(body[..<3_072])))
        guard case .transmit(let bytes)? = outputs.first else { throw Bench.UnexpectedOutput() }
        let next = try message(bytes)
        #expect(next.options.block2 == CoAPBlock(number: 3, hasMore: false, sizeExponent: 7))
        options.block2 = CoAPBlock(number: 3, hasMore: false, sizeExponent: 7)
        #expect(
            bench.receive(response(to: next, options: options, payload: Array(body[3_072...])))
                == [.finished(id, .success(CoAPResponse(.content, payload: body)))]
        )
        // A message with a part of a block and more to come is none.
        let (other, again) = try bench.start(CoAPRequest(.get, path: "x"))
        options.block2 = CoAPBlock(number: 0, hasMore: true, sizeExponent: 7)
        #expect(
            bench.receive(response(to: again, options: options, payload: Array(body[..<3_000])))
                == [.finished(other, .failure(.unexpectedBlock))]
        )
    }

    // MARK: Observing (7)

    /// Notifications come in order, whatever their numbers; over another connection the resource is observed anew.
    @Test func observingNeedsNoNumbers() throws {
        var bench = try StreamBench()
        let (id, request) = try bench.start(
            CoAPRequest(
                .get,
                options: {
                    var o = CoAPOptions(); o.observe = 0; return o
                }()
            )
        )
        var options = CoAPOptions()
        options.observe = 7
        for value in ["1", "2"] {
            let expected = CoAPResponse(.content, options: options, payload: ascii(value))
            #expect(
                bench.receive(response(to: request, options: options, payload: ascii(value)))
                    == [.notification(id, expected)]
            )
        }
        bench.session.transportClosed()
        bench.session.transportOpened(at: bench.now)
        _ = bench.outputs()
        let outputs = bench.receive(capabilities())
        guard case .transmit(let bytes)? = outputs.first else { throw Bench.UnexpectedOutput() }
        #expect(try message(bytes).options.observe == 0)
        _ = bench.receive(response(to: try message(bytes), options: options, payload: ascii("3")))
        bench.session.cancel(id, at: bench.now)
        let end = bench.outputs()
        guard end.count == 2, case .transmit(let last) = end[1] else { throw Bench.UnexpectedOutput() }
        #expect(end[0] == .finished(id, .failure(.cancelled)))
        #expect(try message(last).options.observe == 1)
    }
}
