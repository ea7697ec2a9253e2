import SAL
import Testing

@testable import CoAPClient

/// Bodies that one message does not hold (RFC 7959), at a server.
@Suite struct ServerBlockTests {
    private static let body = (0..<3_000).map { UInt8(truncatingIfNeeded: $0 &* 7 + $0 >> 8) }

    private func server(change: (inout CoAPServerConfiguration) -> Void = { _ in }) -> ServerUnderTest {
        var server = ServerUnderTest(change: change)
        server.add("body", [.get, .put, .post, .fetch]) { request in
            request.method == .put
                ? CoAPResponse(.changed, payload: request.payload.prefix(4) + []) : .content(Self.body)
        }
        return server
    }

    private func get(_ id: UInt16, _ block: CoAPBlock?, change: (inout CoAPOptions) -> Void = { _ in }) -> CoAPMessage {
        request(.get, "body", id: id) {
            $0.block2 = block
            change(&$0)
        }
    }

    private func put(
        _ number: Int,
        of count: Int = 3,
        id: UInt16? = nil,
        exponent: UInt8 = 6,
        payload: [UInt8]? = nil,
        change: (inout CoAPOptions) -> Void = { _ in }
    ) -> CoAPMessage {
        let size = 16 << Int(exponent)
        let block = Array(Self.body[number * size..<min(number * size + size, Self.body.count)])
        return request(.put, "body", id: id ?? UInt16(number + 1), payload: payload ?? block) {
            $0.block1 = CoAPBlock(number: number, hasMore: number < count - 1, sizeExponent: exponent)
            change(&$0)
        }
    }

    // MARK: Responses

    @Test func aLargeResponseComesInBlocks() throws {
        var server = server()
        let first = try #require(server.receive(get(1, nil)).first)
        #expect(first.options.block2 == CoAPBlock(number: 0, hasMore: true, sizeExponent: 6))
        #expect(first.options.uint(.size2) == 3_000 && first.payload == Array(Self.body[..<1_024]))
        let eTag = try #require(first.options.eTag)
        // In any order, and of the same representation.
        for (number, range, hasMore) in [(2, 2_048..<3_000, false), (1, 1_024..<2_048, true)] {
            let block = CoAPBlock(number: number, sizeExponent: 6)
            let next = try #require(server.receive(get(UInt16(number + 1), block)).first)
            #expect(next.options.block2 == CoAPBlock(number: number, hasMore: hasMore, sizeExponent: 6))
            #expect(next.payload == Array(Self.body[range]) && next.options.eTag == eTag && next.code == .content)
        }
        #expect(server.handled.count == 1)
        let beyond = server.receive(get(9, CoAPBlock(number: 3, sizeExponent: 6)))
        #expect(beyond.map(\.code) == [.badRequest])
        #expect(
            server.receive(get(10, CoAPBlock(number: 9, sizeExponent: 6)), from: peer(2)).map(\.code) == [.badRequest]
        )
    }

    @Test(arguments: [0, 2, 5] as [UInt8]) func theClientMayWantSmallerBlocks(exponent: UInt8) throws {
        var server = server()
        var received: [UInt8] = []
        var id: UInt16 = 0
        repeat {
            id += 1
            let block = CoAPBlock(at: received.count, sizeExponent: exponent)
            let next = try #require(server.receive(get(id, block)).first)
            #expect(next.options.block2?.offset == received.count && next.options.block2?.sizeExponent == exponent)
            received += next.payload
            if next.options.block2?.hasMore != true { break }
        } while received.count < 3_000
        #expect(received == Self.body && server.handled.count == 1)
    }

    @Test func theServerMayWantSmallerBlocks() throws {
        var server = server { $0.messages.blockBytes = 64 }
        let first = try #require(server.receive(get(1, CoAPBlock(number: 0, sizeExponent: 6))).first)
        #expect(
            first.options.block2 == CoAPBlock(number: 0, hasMore: true, sizeExponent: 2) && first.payload.count == 64
        )
        // The number counts blocks of the size that is asked for.
        let later = try #require(server.receive(get(2, CoAPBlock(number: 1, sizeExponent: 4))).first)
        #expect(later.options.block2 == CoAPBlock(number: 4, hasMore: true, sizeExponent: 2))
        #expect(later.payload == Array(Self.body[256..<320]))
    }

    @Test func longOptionsLeaveLessRoom() throws {
        var server = ServerUnderTest()
        server.add("body") { _ in
            var response = CoAPResponse.content(Self.body)
            response.options.add(.locationQuery, [UInt8](repeating: 65, count: 200))
            return response
        }
        let first = try #require(server.receive(get(1, nil)).first)
        #expect(first.payload.count == 512 && first.encodedByteCount <= 1_152)
    }

    /// What is forgotten is asked for once more where that does no harm; the ETag tells what belongs together.
    @Test func aForgottenResponseIsMadeAnew() throws {
        var server = server()
        let first = try #require(server.receive(get(1, nil)).first)
        _ = server.pass(to: .seconds(121))
        #expect(server.session.bodies.count == 0)
        let second = try #require(server.receive(get(2, CoAPBlock(number: 1, sizeExponent: 6))).first)
        #expect(second.options.eTag == first.options.eTag && server.handled.count == 2)
        #expect(second.payload == Array(Self.body[1_024..<2_048]))
        let post = request(.post, "body", id: 3) { $0.block2 = CoAPBlock(number: 1, sizeExponent: 6) }
        #expect(server.receive(post).map(\.code) == [.requestEntityIncomplete])
        #expect(server.handled.count == 2)
    }

    @Test func aHandlerMayCutBlocksItself() throws {
        var server = ServerUnderTest()
        server.add("body") { request in
            var response = CoAPResponse(.content, payload: [1])
            response.options.block2 = CoAPBlock(number: request.options.block2?.number ?? 0, sizeExponent: 0)
            return response
        }
        for number in 0..<3 {
            let block = CoAPBlock(number: number, sizeExponent: 0)
            #expect(server.receive(get(UInt16(number), block)).first?.options.block2 == block)
        }
        #expect(server.handled.count == 3 && server.session.bodies.count == 0)
    }

    @Test func peersAndQueriesHaveBodiesOfTheirOwn() throws {
        var server = ServerUnderTest()
        server.add("body") { .content([UInt8](repeating: $0.options.queryArguments.isEmpty ? 1 : 2, count: 2_000)) }
        _ = server.receive(get(1, nil))
        _ = server.receive(get(2, nil) { $0.addQuery("x".utf8.span) })
        for (id, query, byte) in [(3, nil, 1), (4, "x", 2)] as [(UInt16, String?, UInt8)] {
            let next = server.receive(
                get(id, CoAPBlock(number: 1, sizeExponent: 6)) { if let query { $0.addQuery(query.utf8.span) } }
            )
            #expect(next.first?.payload.first == byte)
        }
        #expect(server.handled.count == 2)
        _ = server.receive(get(5, CoAPBlock(number: 1, sizeExponent: 6)), from: peer(2))
        #expect(server.handled.count == 3, "another peer asks for the first time")
    }

    // MARK: Requests

    @Test func aLargeRequestIsPutTogether() throws {
        var server = server()
        for number in 0..<2 {
            let next = try #require(server.receive(put(number)).first)
            #expect(
                next.code == .continue
                    && next.options.block1 == CoAPBlock(number: number, hasMore: true, sizeExponent: 6)
            )
            // A copy changes nothing.
            #expect(server.receive(put(number)) == [next])
        }
        let last = try #require(server.receive(put(2)).first)
        #expect(last.code == .changed && last.options.block1 == CoAPBlock(number: 2, sizeExponent: 6))
        #expect(last.payload == Array(Self.body[..<4]))
        #expect(server.receive(put(2)) == [last])
        #expect(server.handled.map(\.payload) == [Self.body] && server.session.bodies.count == 0)
    }

    @Test func theServerMayWantSmallerBlocksOfARequest() throws {
        var server = server { $0.messages.blockBytes = 256 }
        let first = try #require(server.receive(put(0)).first)
        #expect(first.options.block1 == CoAPBlock(number: 0, hasMore: true, sizeExponent: 4))
        for number in 4..<12 {
            let sent = server.receive(put(number, of: 12, exponent: 4))
            #expect(sent.map(\.code) == [number == 11 ? .changed : .continue])
        }
        #expect(server.handled.map(\.payload) == [Self.body])
    }

    @Test func aRequestWithAGapIsIncomplete() {
        var server = server()
        #expect(server.receive(put(1)).map(\.code) == [.requestEntityIncomplete], "no beginning")
        #expect(server.receive(put(0, id: 10)).map(\.code) == [.continue])
        #expect(server.receive(put(0, id: 11)).map(\.code) == [.continue], "begun anew")
        #expect(server.receive(put(1, id: 12)).map(\.code) == [.continue])
        #expect(server.receive(put(1, id: 13)).map(\.code) == [.continue], "the last once more")
        #expect(server.receive(put(2, id: 14), from: peer(2)).map(\.code) == [.requestEntityIncomplete], "another's")
        #expect(
            server.receive(put(2, id: 15) { $0.add(.requestTag, [1]) }).map(\.code) == [.requestEntityIncomplete],
            "another body"
        )
        #expect(server.receive(put(2, id: 16)).map(\.code) == [.changed])
        #expect(server.handled.map(\.payload) == [Self.body])
        #expect(server.receive(put(0, id: 20)).map(\.code) == [.continue])
        #expect(server.receive(put(2, id: 21)).map(\.code) == [.requestEntityIncomplete], "one is missing")
        #expect(server.receive(put(1, id: 22)).map(\.code) == [.requestEntityIncomplete], "and the rest is gone")
        #expect(server.receive(put(0, id: 23)).map(\.code) == [.continue])
        _ = server.pass(to: .seconds(121))
        #expect(server.receive(put(1, id: 24)).map(\.code) == [.requestEntityIncomplete], "too late")
    }

    @Test func blocksHaveTheirSize() {
        var server = server()
        #expect(server.receive(put(0, payload: [1])).map(\.code) == [.badRequest])
        #expect(server.receive(put(0, id: 2, payload: Self.body.prefix(1_025) + [])).map(\.code) == [.badRequest])
        #expect(
            server.receive(put(2, id: 3, exponent: 0, payload: Self.body.prefix(17) + [])).map(\.code) == [.badRequest]
        )
        #expect(server.session.bodies.count == 0)
    }

    @Test func aRequestThatIsTooLargeIsRefused() throws {
        var server = server { $0.messages.maximumBodyBytes = 2_500 }
        // At once, if it says how large it is.
        let refused = try #require(server.receive(put(0) { $0.add(.size1, uint: 3_000) }).first)
        #expect(refused.code == .requestEntityTooLarge && refused.options.uint(.size1) == 2_500)
        // Or else when it is.
        #expect(server.receive(put(0, id: 2)).map(\.code) == [.continue])
        #expect(server.receive(put(1, id: 3)).map(\.code) == [.continue])
        #expect(server.receive(put(2, id: 4)).map(\.code) == [.requestEntityTooLarge])
        #expect(server.session.bodies.count == 0 && server.handled.isEmpty)
        let huge = server.receive(put(0, id: 6) { $0.add(.size1, uint: .max) })
        #expect(huge.map(\.code) == [.requestEntityTooLarge])
        // A number that lies beyond reserves nothing.
        let far = request(.put, "body", id: 5, payload: [1]) {
            $0.block1 = CoAPBlock(number: 0xF_FFFF, sizeExponent: 6)
        }
        #expect(server.receive(far).map(\.code) == [.requestEntityTooLarge])
    }

    @Test func aLargeRequestMayHaveALargeResponse() throws {
        var server = ServerUnderTest()
        server.add("body", .put) { CoAPResponse(.changed, payload: $0.payload.reversed()) }
        for number in 0..<2 { _ = server.receive(put(number)) }
        let first = try #require(server.receive(put(2)).first)
        #expect(first.options.block1 == CoAPBlock(number: 2, sizeExponent: 6))
        var received = first.payload
        for number in 1..<3 {
            let next = request(.put, "body", id: UInt16(10 + number)) {
                $0.block2 = CoAPBlock(number: number, sizeExponent: 6)
            }
            received += try #require(server.receive(next).first).payload
        }
        #expect(received == Self.body.reversed() && server.handled.count == 1)
    }

    // MARK: Limits

    @Test func whatWasUsedLeastRecentlyMakesRoom() {
        var server = server { $0.bodyLimit = 3 }
        for number in 1...3 { _ = server.receive(put(0), from: peer(number)) }
        _ = server.receive(put(1), from: peer(1))
        _ = server.receive(put(0), from: peer(4))
        #expect(server.session.bodies.count == 3)
        #expect(server.receive(put(1), from: peer(2)).map(\.code) == [.requestEntityIncomplete])
        #expect(server.receive(put(2), from: peer(1)).map(\.code) == [.changed])
    }

    @Test func bytesAreBoundedToo() {
        var server = server { $0.bodyBytesLimit = 3_500 }
        for number in 1...4 { _ = server.receive(put(0), from: peer(number)) }
        #expect(server.session.bodies.count == 3 && server.session.bodies.byteCount == 3_072)
        #expect(server.receive(put(1), from: peer(4)).map(\.code) == [.continue])
        #expect(server.session.bodies.byteCount <= 3_500)
        #expect(server.receive(put(2), from: peer(4)).map(\.code) == [.changed])
        // A response that does not fit is made anew for each block.
        var small = self.server { $0.bodyBytesLimit = 100 }
        for number in 0..<3 {
            let next = small.receive(get(UInt16(number), CoAPBlock(number: number, sizeExponent: 6)))
            #expect(next.first?.payload.first == Self.body[number * 1_024])
        }
        #expect(small.handled.count == 3 && small.session.bodies.count == 0)
    }
}
