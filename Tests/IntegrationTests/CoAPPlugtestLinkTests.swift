import CoAPClient
import Testing

/// The test descriptions of the ETSI plugtests for RFC 6690, our client against our server: docs/coap-conformance.md.
@Suite(.timeLimit(.minutes(1))) struct CoAPPlugtestLinkTests {
    /// What the server lists, in its order.
    private static let all = [
        "/test", "/seg1/seg2/seg3", "/query", "/location-query", "/multi-format", "/separate", "/validate", "/create1",
        "/large", "/large-update", "/large-create", "/large-post", "/obs", "/obs-non", "/obs-large",
        "/link1", "/link2", "/link3", "/link4", "/path",
    ]

    struct Discovery: CustomTestStringConvertible, Sendable {
        let testDescription: String
        let query: [String]
        let targets: [String]
    }

    /// TD_COAP_LINK_01 to 08: all links, and those that fit a filter.
    @Test(arguments: [
        Discovery(testDescription: "01", query: [], targets: Self.all),
        Discovery(testDescription: "02", query: ["rt=Type1"], targets: ["/link1", "/link3"]),
        Discovery(testDescription: "03", query: ["rt=*"], targets: ["/link1", "/link2", "/link3", "/link4"]),
        Discovery(testDescription: "04", query: ["rt=Type2"], targets: ["/link1", "/link2"]),
        Discovery(testDescription: "05", query: ["if=If*"], targets: ["/link1", "/link2"]),
        Discovery(testDescription: "06", query: ["sz=*"], targets: ["/link1", "/link2"]),
        Discovery(testDescription: "07", query: ["href=/link1"], targets: ["/link1"]),
        Discovery(testDescription: "08", query: ["href=/link*"], targets: ["/link1", "/link2", "/link3", "/link4"]),
    ])
    func link01to08(_ discovery: Discovery) async throws {
        try await Plugtest.with { test in
            let displayed = try await test.client.get(".well-known/core", query: discovery.query)
            let (request, response) = try test.wire.takeExchange()
            #expect(
                request.code == .get && request.options.pathSegments == [".well-known", "core"].map { Array($0.utf8) }
            )
            #expect(request.options.queryArguments == discovery.query.map { Array($0.utf8) })
            #expect(response.code == .content && response.options.contentFormat == .linkFormat)
            let links = try CoAPLinkFormat.parse(displayed.payload.span)
            #expect(links.map(\.targetText) == discovery.targets)
            // The client makes the same choice of all of them.
            let everything = try await test.client.get(".well-known/core")
            let filters = discovery.query.compactMap { CoAPLinkFilter($0) }
            #expect(try CoAPLinkFormat.parse(everything.payload.span, matching: filters) == links)
        }
    }

    /// TD_COAP_LINK_09: a resource that lists those below it.
    @Test func link09() async throws {
        try await Plugtest.with { test in
            func links(at path: String) async throws -> [CoAPLink] {
                let displayed = try await test.client.get(path)
                let (_, response) = try test.wire.takeExchange()
                #expect(response.code == .content && response.options.contentFormat == .linkFormat)
                return try CoAPLinkFormat.parse(displayed.payload.span)
            }
            let entry = try #require(try await links(at: ".well-known/core").first { $0.text(of: "ct") == "40" })
            #expect(entry.targetText == "/path")
            let subs = try await links(at: entry.targetText)
            #expect(subs.map(\.targetText) == ["/path/sub1", "/path/sub2", "/path/sub3"])
            let displayed = try await test.client.get(subs[0].targetText)
            let (_, response) = try test.wire.takeExchange()
            #expect(response.code == .content && displayed.payload == Array("/path/sub1".utf8))
        }
    }
}
