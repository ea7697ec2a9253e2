import SAL
import Testing

@testable import CoAPClient

@Suite struct URLTests {
    private func parse(_ text: String) throws(CoAPError) -> CoAPURL { try CoAPURL(parsing: text.utf8.span) }

    /// RFC 7252, appendix B, except for the one name that differs from its address.
    @Test(
        arguments: [
            ("coap://[2001:db8::2:1]/", "2001:db8::2:1", 5683, []),
            ("coap://example.net/", "example.net", 5683, [(3, "example.net")]),
            (
                "coap://example.net/.well-known/core", "example.net", 5683,
                [(3, "example.net"), (11, ".well-known"), (11, "core")]
            ),
            (
                "coap://xn--18j4d.example/%E3%81%93%E3%82%93%E3%81%AB%E3%81%A1%E3%81%AF", "xn--18j4d.example", 5683,
                [(3, "xn--18j4d.example"), (11, "こんにちは")]
            ),
            (
                "coap://198.51.100.1:61616//%2F//?%2F%2F&?%26", "198.51.100.1", 61616,
                [(11, ""), (11, "/"), (11, ""), (11, ""), (15, "//"), (15, "?&")]
            ),
            // RFC 7252, 6.3: three ways to write the same.
            (
                "coap://example.com:5683/~sensors/temp.xml", "example.com", 5683,
                [(3, "example.com"), (11, "~sensors"), (11, "temp.xml")]
            ),
            (
                "coap://EXAMPLE.com/%7Esensors/temp.xml", "example.com", 5683,
                [(3, "example.com"), (11, "~sensors"), (11, "temp.xml")]
            ),
            (
                "coap://EXAMPLE.com:/%7esensors/temp.xml", "example.com", 5683,
                [(3, "example.com"), (11, "~sensors"), (11, "temp.xml")]
            ),
            ("COAPS://h", "h", 5684, [(3, "h")]),
            ("coap://127.0.0.1?a=1&b", "127.0.0.1", 5683, [(15, "a=1"), (15, "b")]),
            ("coap://127.0.0.1/a/./b/../c/", "127.0.0.1", 5683, [(11, "a"), (11, "c"), (11, "")]),
            ("coap://127.0.0.1/a/..", "127.0.0.1", 5683, []),
            ("coap://127.0.0.1/../../x", "127.0.0.1", 5683, [(11, "x")]),
            ("coap://127.0.0.1/a+b;v=1,2:@!$'()*", "127.0.0.1", 5683, [(11, "a+b;v=1,2:@!$'()*")]),
            ("coap://[FE80::1%25eth0]:1/x", "fe80::1%eth0", 1, [(11, "x")]),
            ("coap://a%2Db/", "a-b", 5683, [(3, "a-b")]),
        ] as [(String, String, UInt16, [(UInt16, String)])]
    )
    func takesAURLApart(text: String, host: String, port: UInt16, options: [(UInt16, String)]) throws {
        let url = try parse(text)
        #expect(url.endpoint.host == ascii(host) && url.endpoint.port == port)
        #expect(url.options == CoAPOptions(options.map { ($0.0, ascii($0.1)) }))
        #expect(url.isSecure == (port == 5684))
    }

    @Test(arguments: [
        ("", 0), ("http://h/", 0), ("coap:h", 0), ("coap:/h", 0), ("coap+tcp://h", 0), ("coap://", 7), ("coap:///x", 7),
        ("coap://:5683/", 7), ("coap://user@h/", 11), ("coap://h:0/", 9), ("coap://h:65536/", 9), ("coap://h:5a/", 10),
        ("coap://h/a#f", 12 - 2), ("coap://h/a?b#f", 12), ("coap://h/%", 9), ("coap://h/%2", 9), ("coap://h/%2G", 9),
        ("coap://h/a b", 10), ("coap://h/é", 9), ("coap://h/a?b c", 12), ("coap://h/\"", 9), ("coap://h/[", 9),
        ("coap://h/%2E%2E/x", 9), ("coap://h/a/%2e", 11), ("coap://[::1", 11), ("coap://[]/", 8), ("coap://[1]/", 9),
        ("coap://[::1%eth0]/", 11), ("coap://[::1%25]/", 14), ("coap://[::g]/", 10), ("coap://[::1]x/", 12),
        ("coap://h\u{7f}/", 8),
    ])
    func refusesWhatIsNoURLOfCoAP(text: String, offset: Int) {
        #expect(throws: CoAPError.invalidURL(offset: offset)) { try parse(text) }
    }

    @Test func refusesWhatAnOptionCannotCarry() throws {
        let long = String(repeating: "a", count: 255)
        #expect(try parse("coap://h/\(long)?\(long)").options.list.count == 3)
        #expect(throws: CoAPError.invalidURL(offset: 9)) { try parse("coap://h/a\(long)") }
        #expect(throws: CoAPError.invalidURL(offset: 9)) { try parse("coap://h?a\(long)") }
        #expect(throws: CoAPError.invalidURL(offset: 7)) { try parse("coap://a\(long)/") }
    }

    @Test func randomTextNeverTraps() {
        var random = SeededRandom(state: 64)
        let alphabet = ascii("coap:/[]%25?&#.@:a0\u{e9}")
        for _ in 0..<20_000 {
            let tail = (0..<Int.random(in: 0...24, using: &random)).map { _ in
                alphabet.randomElement(using: &random) ?? 0
            }
            _ = try? CoAPURL(parsing: (ascii("coap://") + tail).span)
        }
    }
}
