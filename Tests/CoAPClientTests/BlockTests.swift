import Testing

@testable import CoAPClient

/// A server that takes and gives bodies in blocks (RFC 7959), and can be made to misbehave.
struct BlockServer {
    /// What it serves.
    var content: [UInt8] = []
    var eTag: [UInt8] = [1]
    /// The largest blocks that it takes and gives.
    var exponent: UInt8 = 6
    /// What it has been given, whole.
    private(set) var bodies: [[UInt8]] = []
    private var partial: [UInt8] = []
    private(set) var requests: [CoAPMessage] = []
    var giveUpBlocks = 0

    mutating func answer(_ request: CoAPMessage) -> CoAPMessage {
        requests.append(request)
        var options = CoAPOptions()
        if let block = request.options.block1 {
            if block.number == 0 { partial = [] }
            if giveUpBlocks > 0, block.number > 0 {
                giveUpBlocks -= 1
                return request.response(.acknowledgement, .requestEntityIncomplete, payload: [])
            }
            guard block.offset == partial.count else {
                return request.response(.acknowledgement, .requestEntityIncomplete, payload: [])
            }
            if block.hasMore, block.sizeExponent > exponent, block.number == 0,
                request.payload.count > 16 << Int(exponent)
            {
                // It keeps what it was given, and asks for smaller ones from now on.
                partial = request.payload
                options.block1 = CoAPBlock(number: 0, hasMore: true, sizeExponent: exponent)
                return request.response(.acknowledgement, .continue, options: options, payload: [])
            }
            partial += request.payload
            options.block1 = CoAPBlock(number: block.number, hasMore: block.hasMore, sizeExponent: block.sizeExponent)
            if block.hasMore { return request.response(.acknowledgement, .continue, options: options, payload: []) }
            bodies.append(partial)
            partial = []
        } else if request.code != .get, request.options.block2?.number ?? 0 == 0 {
            bodies.append(request.payload)
        }
        let asked = request.options.block2 ?? CoAPBlock(number: 0, sizeExponent: exponent)
        let size = min(asked.sizeExponent, exponent)
        let start = asked.offset
        let end = min(content.count, start + 16 << Int(size))
        if content.count > 16 << Int(size) || request.options.block2 != nil {
            options.block2 = CoAPBlock(at: start, hasMore: end < content.count, sizeExponent: size)
            options.add(.eTag, eTag)
        }
        return request.response(
            .acknowledgement,
            request.code == .get ? .content : .changed,
            options: options,
            payload: Array(content[min(start, end)..<end])
        )
    }
}

@Suite struct BlockTests {
    private func bytes(_ count: Int) -> [UInt8] { (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 31 + $0 >> 8) } }

    /// Runs a request to its end; returns what came of it.
    private func run(
        _ bench: inout Bench,
        _ request: CoAPRequest,
        _ server: inout BlockServer,
        _ change: (Int, inout BlockServer) -> Void = { _, _ in }
    ) throws -> Result<CoAPResponse, CoAPError>? {
        let id = try bench.session.send(request, at: bench.now)
        var outputs = bench.outputs()
        var steps = 0
        while !outputs.isEmpty {
            steps += 1
            var next: [CoAPSession.Output] = []
            for output in outputs {
                switch output {
                case .finished(id, let result):
                    #expect(bench.session.requestCount == 0 && bench.session.nextOutput() == nil)
                    return result
                case .finished, .notification, .stale, .disconnect: Issue.record("not of this request")
                case .transmit(let datagram):
                    change(steps, &server)
                    #expect(datagram.count <= bench.session.configuration.maximumMessageBytes)
                    next += bench.receive(server.answer(try decode(datagram)))
                }
            }
            outputs = next
        }
        return nil
    }

    private static let sizes = [0, 1, 15, 16, 17, 31, 32, 33, 1_023, 1_024, 1_025, 2_048, 5_000, 70_000]

    @Test(arguments: sizes, [16, 64, 1_024]) func bodiesOfAllSizesGoUp(count: Int, blockBytes: Int) throws {
        for serverExponent in [0, 3, 6] as [UInt8] {
            var bench = Bench { $0.blockBytes = blockBytes }
            var server = BlockServer()
            server.exponent = serverExponent
            let body = bytes(count)
            let result = try run(&bench, CoAPRequest(.put, path: "x", payload: body), &server)
            #expect(try result?.get().code == .changed)
            #expect(server.bodies == [body])
            // All have tokens and message IDs of their own.
            #expect(Set(server.requests.map(\.token)).count == server.requests.count)
            #expect(Set(server.requests.map(\.messageID)).count == server.requests.count)
        }
    }

    @Test(arguments: sizes, [16, 64, 1_024]) func bodiesOfAllSizesComeDown(count: Int, blockBytes: Int) throws {
        for serverExponent in [0, 3, 6] as [UInt8] {
            var bench = Bench { $0.blockBytes = blockBytes }
            var server = BlockServer()
            server.exponent = serverExponent
            server.content = bytes(count)
            let response = try run(&bench, CoAPRequest(.get, path: "x"), &server)?.get()
            #expect(response?.code == .content && response?.payload == server.content)
            #expect(response?.options.block2 == nil || count <= 16 << Int(serverExponent) || count <= blockBytes)
        }
    }

    /// RFC 7959, 3.3.
    @Test func aLargeBodyIsAnsweredByALargeOne() throws {
        var bench = Bench { $0.blockBytes = 128 }
        var server = BlockServer()
        server.content = bytes(1_000)
        let response = try run(&bench, CoAPRequest(.post, path: "soap", payload: bytes(500)), &server)?.get()
        #expect(response?.payload == server.content && server.bodies == [bytes(500)])
        #expect(response?.options.block1 == nil && response?.options.block2 == nil)
    }

    @Test func theSizeIsToldFirst() throws {
        var bench = Bench()
        let (_, first) = try bench.start(CoAPRequest(.put, path: "x", payload: bytes(3_000)))
        #expect(first.options.uint(.size1) == 3_000)
        #expect(first.options.block1 == CoAPBlock(number: 0, hasMore: true, sizeExponent: 6))
        #expect(first.payload == Array(bytes(3_000)[..<1_024]))
    }

    /// A server that has lost the first blocks (4.08) gets them again, but not for ever.
    @Test(arguments: [1, 3, 4]) func anUploadIsBegunAnew(times: Int) throws {
        var bench = Bench { $0.blockBytes = 64 }
        var server = BlockServer()
        server.giveUpBlocks = times
        let result = try run(&bench, CoAPRequest(.put, path: "x", payload: bytes(300)), &server)
        #expect(try result?.get().code == (times > 3 ? .requestEntityIncomplete : .changed))
        #expect(server.bodies == (times > 3 ? [] : [bytes(300)]))
    }

    /// RFC 7959, 2.9.3: the block size of a 4.13 is a hint.
    @Test func blocksThatAreTooLargeAreMadeSmaller() throws {
        var bench = Bench()
        for payload in [bytes(2_000), bytes(500)] {
            let (id, first) = try bench.start(CoAPRequest(.put, path: "x", payload: payload))
            var options = CoAPOptions()
            options.block1 = CoAPBlock(number: 0, sizeExponent: 2)
            let outputs = bench.receive(
                first.response(.acknowledgement, .requestEntityTooLarge, options: options, payload: [])
            )
            guard case .transmit(let datagram)? = outputs.first else { throw Bench.UnexpectedOutput() }
            let second = try decode(datagram)
            #expect(second.options.block1 == CoAPBlock(number: 0, hasMore: true, sizeExponent: 2))
            #expect(second.payload == Array(payload[..<64]))
            // Without a smaller size it is the answer.
            #expect(
                bench.receive(second.response(.acknowledgement, .requestEntityTooLarge, payload: []))
                    == [.finished(id, .success(CoAPResponse(.requestEntityTooLarge)))]
            )
        }
    }

    /// RFC 7959, 2.4: blocks of two representations are not put together.
    @Test func aRepresentationThatChangesIsFetchedAnew() throws {
        var bench = Bench { $0.blockBytes = 64 }
        var server = BlockServer()
        server.content = bytes(300)
        let response = try run(&bench, CoAPRequest(.get, path: "x"), &server) { step, server in
            guard step == 3 else { return }
            (server.content, server.eTag) = (Array(bytes(400).reversed()), [2])
        }
        #expect(try response?.get().payload == server.content)
        // One that changes all the time cannot be had.
        let result = try run(&bench, CoAPRequest(.get, path: "x"), &server) { step, server in
            server.eTag = [UInt8(step)]
        }
        #expect(result == .failure(.representationChanged))
    }

    /// To ask for the first block again would be another request, without the payload of the first (RFC 7252, 5.1).
    @Test(arguments: [1, 200]) func whatIsNotSafeIsNotFetchedAnew(count: Int) throws {
        var bench = Bench { $0.blockBytes = 64 }
        var server = BlockServer()
        server.content = bytes(300)
        var steps = 0
        let result = try run(&bench, CoAPRequest(.post, path: "x", payload: bytes(count)), &server) { step, server in
            steps = step
            if step == count / 64 + 3 { server.eTag = [2] }
        }
        #expect(result == .failure(.representationChanged) && steps == count / 64 + 3)
        #expect(server.bodies == [bytes(count)])
    }

    @Test func anErrorInTheMiddleIsTheResponse() throws {
        for request in [CoAPRequest(.get, path: "x"), CoAPRequest(.put, path: "x", payload: bytes(3_000))] {
            var bench = Bench()
            var server = BlockServer()
            server.content = bytes(3_000)
            let id = try bench.session.send(request, at: bench.now)
            let first = try bench.sent()[0]
            guard case .transmit(let second)? = bench.receive(server.answer(first)).first else {
                throw Bench.UnexpectedOutput()
            }
            let error = try decode(second).response(.acknowledgement, .internalServerError, payload: ascii("oh"))
            let expected = CoAPResponse(.internalServerError, payload: ascii("oh"))
            #expect(bench.receive(error) == [.finished(id, .success(expected))])
        }
    }

    /// Blocks that do not fit together (RFC 7959, 2.3 to 2.5): another number, too short or too long, of the reserved size.
    @Test(
        arguments: [
            (CoAPBlock(number: 2, hasMore: true, sizeExponent: 2), 64),
            (CoAPBlock(number: 0, hasMore: true, sizeExponent: 2), 64),
            (CoAPBlock(number: 1, hasMore: true, sizeExponent: 2), 63),
            (CoAPBlock(number: 1, hasMore: true, sizeExponent: 2), 65),
            (CoAPBlock(number: 1, hasMore: false, sizeExponent: 2), 65),
            (CoAPBlock(number: 1, hasMore: true, sizeExponent: 7), 64),
            (CoAPBlock(number: 1, hasMore: true, sizeExponent: 3), 128),
        ]
    )
    func blocksThatDoNotFitAreRefused(block: CoAPBlock, count: Int) throws {
        var bench = Bench()
        let (id, first) = try bench.start()
        var options = CoAPOptions()
        options.block2 = CoAPBlock(number: 0, hasMore: true, sizeExponent: 2)
        let outputs = bench.receive(first.response(.acknowledgement, options: options, payload: bytes(64)))
        guard case .transmit(let datagram)? = outputs.first else { throw Bench.UnexpectedOutput() }
        let second = try decode(datagram)
        #expect(second.options.block2 == CoAPBlock(number: 1, sizeExponent: 2))
        options.block2 = block
        #expect(
            bench.receive(second.response(.acknowledgement, options: options, payload: bytes(count)))
                == [.finished(id, .failure(.unexpectedBlock))]
        )
    }

    /// A first block that is not the first, and an upload that is continued beyond its end, or at another place.
    @Test func aServerThatHasLostItsPlaceIsNotFollowed() throws {
        var bench = Bench { $0.blockBytes = 64 }
        var options = CoAPOptions()
        options.block2 = CoAPBlock(number: 1, hasMore: true, sizeExponent: 2)
        let (id, get) = try bench.start()
        #expect(
            bench.receive(get.response(.acknowledgement, options: options, payload: bytes(64)))
                == [.finished(id, .failure(.unexpectedBlock))]
        )
        options = CoAPOptions()
        options.block1 = CoAPBlock(number: 5, hasMore: true, sizeExponent: 2)
        let (other, put) = try bench.start(CoAPRequest(.put, path: "x", payload: bytes(200)))
        #expect(
            bench.receive(put.response(.acknowledgement, .continue, options: options, payload: []))
                == [.finished(other, .failure(.unexpectedBlock))]
        )
        let (last, only) = try bench.start(CoAPRequest(.put, path: "x", payload: bytes(65)))
        options.block1 = CoAPBlock(number: 0, hasMore: true, sizeExponent: 2)
        let outputs = bench.receive(only.response(.acknowledgement, .continue, options: options, payload: []))
        guard case .transmit(let datagram)? = outputs.first else { throw Bench.UnexpectedOutput() }
        let second = try decode(datagram)
        #expect(
            bench.receive(second.response(.acknowledgement, .continue, payload: []))
                == [.finished(last, .failure(.unexpectedBlock))]
        )
    }

    /// A success without Block1, before the last block, is of a server that does not know what it has got.
    @Test func aPartIsNotTakenForTheWhole() throws {
        var bench = Bench()
        let (id, put) = try bench.start(CoAPRequest(.put, path: "x", payload: bytes(2_000)))
        #expect(
            bench.receive(put.response(.acknowledgement, .changed, payload: []))
                == [.finished(id, .failure(.unexpectedBlock))]
        )
        let (other, next) = try bench.start(CoAPRequest(.put, path: "x", payload: bytes(2_000)))
        #expect(
            bench.receive(next.response(.acknowledgement, .badOption, payload: []))
                == [.finished(other, .success(CoAPResponse(.badOption)))]
        )
    }

    /// What is larger than it may be is refused as soon as that is known: with the first block, if it says so.
    @Test func bodiesAreBounded() throws {
        for hint in [true, false] {
            var bench = Bench { $0.maximumBodyBytes = 1_000 }
            let (id, get) = try bench.start()
            var options = CoAPOptions()
            options.block2 = CoAPBlock(number: 0, hasMore: true, sizeExponent: 5)
            if hint { options.add(.size2, uint: 5_000) }
            let outputs = bench.receive(get.response(.acknowledgement, options: options, payload: bytes(512)))
            if hint {
                #expect(outputs == [.finished(id, .failure(.bodyTooLarge(bytes: 5_000, limit: 1_000)))])
                continue
            }
            guard case .transmit(let datagram)? = outputs.first else { throw Bench.UnexpectedOutput() }
            options.block2 = CoAPBlock(number: 1, hasMore: true, sizeExponent: 5)
            #expect(
                bench.receive(try decode(datagram).response(.acknowledgement, options: options, payload: bytes(512)))
                    == [.finished(id, .failure(.bodyTooLarge(bytes: 1_024, limit: 1_000)))]
            )
        }
    }

    /// Who asks for one block gets that block (RFC 7959, 2.4: random access).
    @Test func oneBlockMayBeAskedFor() throws {
        var bench = Bench()
        var server = BlockServer()
        server.content = bytes(1_000)
        var request = CoAPRequest(.get, path: "x")
        request.options.block2 = CoAPBlock(number: 3, sizeExponent: 2)
        let response = try run(&bench, request, &server)?.get()
        #expect(response?.payload == Array(server.content[192..<256]))
        #expect(response?.options.block2 == CoAPBlock(number: 3, hasMore: true, sizeExponent: 2))
    }

    /// Each block is confirmable in its own right: what is lost is sent again, and copies do no harm.
    @Test func blocksSurviveLossAndCopies() throws {
        var random = SeededRandom(state: 5)
        for round in 0..<40 {
            var bench = Bench(seed: UInt64(round)) { $0.blockBytes = 64 }
            var server = BlockServer()
            server.content = bytes(700)
            let isUpload = round % 2 == 0
            let request = isUpload ? CoAPRequest(.put, path: "x", payload: bytes(700)) : CoAPRequest(.get, path: "x")
            let id = try bench.session.send(request, at: bench.now)
            var outputs = bench.outputs()
            var result: Result<CoAPResponse, CoAPError>?
            // A server keeps its answers for copies of the requests.
            var answers: [UInt16: CoAPMessage] = [:]
            while result == nil {
                var next: [CoAPSession.Output] = []
                for output in outputs {
                    switch output {
                    case .notification, .stale, .disconnect: Issue.record("nothing is observed")
                    case .finished(let finished, let value):
                        #expect(finished == id)
                        result = value
                    case .transmit(let datagram):
                        if Int.random(in: 0..<5, using: &random) == 0 { continue }
                        let request = try decode(datagram)
                        let answer = answers[request.messageID] ?? server.answer(request)
                        answers[request.messageID] = answer
                        for _ in 0..<Int.random(in: 0...2, using: &random) { next += bench.receive(answer) }
                    }
                }
                outputs = next
                if outputs.isEmpty, result == nil { outputs = bench.runToNextOutput() }
                if outputs.isEmpty { break }
            }
            if case .failure(.notAcknowledged) = result { continue }
            let response = try #require(try result?.get())
            if isUpload { #expect(server.bodies == [bytes(700)]) } else { #expect(response.payload == server.content) }
        }
    }

    @Test func aTransferThatIsCancelledOrTooSlowEnds() throws {
        var bench = Bench()
        var server = BlockServer()
        server.content = bytes(3_000)
        let id = try bench.session.send(CoAPRequest(.get, path: "x"), timeout: .seconds(10), at: bench.now)
        guard case .transmit? = bench.receive(server.answer(try bench.sent()[0])).first else {
            throw Bench.UnexpectedOutput()
        }
        bench.session.cancel(id, at: bench.now)
        #expect(bench.outputs() == [.finished(id, .failure(.cancelled))])
        let slow = try bench.session.send(CoAPRequest(.get, path: "x"), timeout: .seconds(3), at: bench.now)
        bench.now += .seconds(1)
        guard case .transmit? = bench.receive(server.answer(try bench.sent()[0])).first else {
            throw Bench.UnexpectedOutput()
        }
        var outputs: [CoAPSession.Output] = []
        while outputs.last != .finished(slow, .failure(.notAcknowledged(transmissions: 1))),
            bench.session.deadline != nil
        {
            outputs = bench.runToNextOutput()
        }
        #expect(bench.now == .seconds(1_003) && bench.session.requestCount == 0)
    }
}
