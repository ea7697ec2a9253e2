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
        #expect(url.scheme == (port == 5684 ? .coaps : .coap))
    }

    /// RFC 7252, 6.1 and 6.2; RFC 8323, 8.1 and 8.2.
    @Test(
        arguments: [
            ("coap://h", .coap, "coap", 5683, false, false), ("coaps://h", .coaps, "coaps", 5684, true, false),
            ("coap+tcp://h", .coapTCP, "coap+tcp", 5683, false, true),
            ("coaps+tcp://h", .coapsTCP, "coaps+tcp", 5684, true, true),
            ("CoAPs+TCP://h", .coapsTCP, "coaps+tcp", 5684, true, true),
        ] as [(String, CoAPURL.Scheme, String, UInt16, Bool, Bool)]
    )
    func theSchemeSaysHowToReachTheServer(
        text: String,
        scheme: CoAPURL.Scheme,
        name: String,
        port: UInt16,
        isSecure: Bool,
        isStream: Bool
    ) throws {
        let url = try parse(text)
        #expect(url.scheme == scheme && url.endpoint.port == port)
        #expect(url.isSecure == isSecure && url.scheme.isSecure == isSecure && url.scheme.isStream == isStream)
        #expect(scheme.description == name && url.description == "\(name)://h/")
        // The port of another scheme is not left out.
        let other = "\(name)://h:\(port == 5683 ? 5684 : 5683)/"
        #expect(try parse(other).description == other)
    }

    @Test(arguments: [
        ("", 0), ("http://h/", 0), ("coap:h", 0), ("coap:/h", 0), ("coap+ws://h", 0), ("coap+tcp:/h", 0),
        ("coap+tcps://h", 0), ("coaps+tcp://", 12), ("coap+tcp://h:0/", 13), ("coap://", 7), ("coap:///x", 7),
        ("coap://:5683/", 7), ("coap://user@h/", 11), ("coap://h:0/", 9), ("coap://h:65536/", 9), ("coap://h:5a/", 10),
        ("coap://h/a#f", 12 - 2), ("coap://h/a?b#f", 12), ("coap://h/%", 9), ("coap://h/%2", 9), ("coap://h/%2G", 9),
        ("coap://h/a b", 10), ("coap://h/é", 9), ("coap://h/a?b c", 12), ("coap://h/\"", 9), ("coap://h/[", 9),
        ("coap://h/%2E%2E/x", 9), ("coap://h/a/%2e", 11), ("coap://[::1", 11), ("coap://[]/", 8), ("coap://[1]/", 9),
        ("coap://[::1%eth0]/", 11), ("coap://[::1%25]/", 14), ("coap://[::g]/", 10), ("coap://[::1]x/", 12),
        ("coap://h\u{7f}/", 8), ("coap://h%2Fx/", 7), ("coap://%2Frun%2Fsocket/", 7), ("coap://%3A%3A1/", 7),
        ("coap://a%00/", 7), ("coap://a%20b/", 7), ("coap://%5B::1%5D/", 7),
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

    // MARK: Composing

    /// The URLs of RFC 7252, appendix B, from the requests there: where they go, and their options.
    @Test(
        arguments: [
            ("2001:db8::2:1", 5683, [], "coap://[2001:db8::2:1]/"),
            ("2001:db8::2:1", 5683, [(3, "example.net")], "coap://example.net/"),
            (
                "2001:db8::2:1", 5683, [(3, "example.net"), (11, ".well-known"), (11, "core")],
                "coap://example.net/.well-known/core"
            ),
            (
                "2001:db8::2:1", 5683, [(3, "xn--18j4d.example"), (11, "こんにちは")],
                "coap://xn--18j4d.example/%E3%81%93%E3%82%93%E3%81%AB%E3%81%A1%E3%81%AF"
            ),
            // The appendix escapes the slashes of the query too, which says the same; this is what 6.5 makes of them.
            (
                "198.51.100.1", 61616, [(11, ""), (11, "/"), (11, ""), (11, ""), (15, "//"), (15, "?&")],
                "coap://198.51.100.1:61616//%2F//?//&?%26"
            ),
            // RFC 7252, 6.3.
            (
                "192.0.2.1", 5683, [(3, "EXAMPLE.com"), (11, "~sensors"), (11, "temp.xml")],
                "coap://example.com/~sensors/temp.xml"
            ),
            ("h", 5683, [(7, "\u{16}\u{34}")], "coap://h:5684/"), ("h", 1, [(7, "\u{16}\u{33}")], "coap://h/"),
            ("h", 5683, [(11, "")], "coap://h/"), ("h", 5683, [(11, ""), (11, "")], "coap://h//"),
            ("h", 5683, [(11, "a"), (11, "")], "coap://h/a/"), ("h", 5683, [(15, "")], "coap://h/?"),
            ("h", 5683, [(15, "a"), (15, "")], "coap://h/?a&"),
            ("h", 5683, [(11, "a+b;v=1,2:@!$'()*"), (15, "x=1/2?:@%")], "coap://h/a+b;v=1,2:@!$'()*?x=1/2?:@%25"),
            (
                "h", 5683, [(11, "a&b"), (11, " \"<>#?[]%\u{0}\u{7f}")],
                "coap://h/a&b/%20%22%3C%3E%23%3F%5B%5D%25%00%7F"
            ),
            ("fe80::1%Eth:0", 7, [], "coap://[fe80::1%25Eth%3A0]:7/"), ("FE80::1", 7, [], "coap://[fe80::1]:7/"),
            ("h", 5683, [(3, "[2001:DB8::1]")], "coap://[2001:db8::1]/"),
            ("h", 5683, [(3, "192.0.2.1")], "coap://192.0.2.1/"),
            ("ü", 5683, [], "coap://%C3%BC/"),
            // Not of the URL.
            ("h", 5683, [(6, ""), (17, "2"), (35, "coap://other")], "coap://h/"),
        ] as [(String, UInt16, [(UInt16, String)], String)]
    )
    func composesAURL(host: String, port: UInt16, options: [(UInt16, String)], text: String) throws {
        let options = CoAPOptions(options.map { ($0.0, ascii($0.1)) })
        let url = try CoAPURL(.coap, to: Endpoint(host: host, port: port), options: options)
        #expect(url.description == text)
        #expect(try parse(text) == url && CoAPURL(text) == url)
    }

    @Test(
        arguments: [
            ([(3, "")], 3), ([(3, "a b")], 3), ([(3, "a/b")], 3), ([(3, "a:b")], 3), ([(3, "::1")], 3),
            ([(3, "[::1")], 3),
            ([(3, "[::1]x")], 3), ([(3, "a"), (3, "a")], 3), ([(7, "")], 7), ([(7, "\u{0}\u{0}\u{1}")], 7),
            ([(11, "..")], 11), ([(11, "a"), (11, ".")], 11), ([(3, String(repeating: "a", count: 256))], 3),
            ([(11, String(repeating: "a", count: 256))], 11), ([(15, String(repeating: "a", count: 256))], 15),
        ] as [([(UInt16, String)], UInt16)]
    )
    func composesNoURLOfWhatNoneCanSay(options: [(UInt16, String)], offender: UInt16) {
        let options = CoAPOptions(options.map { ($0.0, ascii($0.1)) })
        #expect(throws: CoAPError.invalidOption(number(offender))) {
            try CoAPURL(.coap, to: Endpoint(host: "h", port: 5683), options: options)
        }
    }

    @Test(
        arguments: [
            ("", 1, 7), ("/run/socket", 1, 7), ("a b", 1, 7), ("1:2", 1, 11), ("::g", 1, 10), ("::1]", 1, 12),
            ("::1%", 1, 14), ("h", 0, 9), ("::1", 0, 13),
        ] as [(String, UInt16, Int)]
    )
    func composesNoURLOfAnEndpointThatIsNone(host: String, port: UInt16, offset: Int) {
        #expect(throws: CoAPError.invalidURL(offset: offset)) {
            try CoAPURL(.coap, to: Endpoint(host: host, port: port), options: CoAPOptions())
        }
    }

    @Test func whatIsComposedIsReadAsTheSame() throws {
        var random = SeededRandom(state: 65)
        let hosts = [
            "h", "example.net", "192.0.2.1", "2001:db8::1", "fe80::1%eth0", "b\u{fc}cher.example", "a_b!$&'()*+,;=~",
        ]
        for _ in 0..<5_000 {
            var options = CoAPOptions()
            for _ in 0..<Int.random(in: 0...4, using: &random) {
                options.add(.uriPath, random.bytes(Int.random(in: 0...5, using: &random)))
            }
            for _ in 0..<Int.random(in: 0...3, using: &random) {
                options.add(.uriQuery, random.bytes(Int.random(in: 0...5, using: &random)))
            }
            let endpoint = Endpoint(
                host: hosts.randomElement(using: &random) ?? "h",
                port: UInt16.random(in: 1...65_535, using: &random)
            )
            let scheme = CoAPURL.Scheme.allCases.randomElement(using: &random) ?? .coap
            // A segment of dots is refused.
            guard let url = try? CoAPURL(scheme, to: endpoint, options: options) else {
                #expect(options.pathSegments.contains { $0 == ascii(".") || $0 == ascii("..") })
                continue
            }
            #expect(try CoAPURL(parsing: url.text.span) == url)
            #expect(url.endpoint == endpoint && url.scheme == scheme)
            #expect(url.options.pathSegments == (options.pathSegments == [[]] ? [] : options.pathSegments))
            #expect(url.options.queryArguments == options.queryArguments)
        }
    }

    // MARK: References

    /// RFC 3986, 5.4, without fragments, and with the slash that CoAP has behind a host.
    @Test(arguments: [
        ("coap:g", nil), ("g", "coap://a/b/c/g"), ("./g", "coap://a/b/c/g"), ("g/", "coap://a/b/c/g/"),
        ("/g", "coap://a/g"),
        ("//g", "coap://g/"), ("?y", "coap://a/b/c/d;p?y"), ("g?y", "coap://a/b/c/g?y"), (";x", "coap://a/b/c/;x"),
        ("g;x", "coap://a/b/c/g;x"), ("g;x?y", "coap://a/b/c/g;x?y"), ("", "coap://a/b/c/d;p?q"),
        (".", "coap://a/b/c/"),
        ("./", "coap://a/b/c/"), ("..", "coap://a/b/"), ("../", "coap://a/b/"), ("../g", "coap://a/b/g"),
        ("../..", "coap://a/"),
        ("../../", "coap://a/"), ("../../g", "coap://a/g"), ("../../../g", "coap://a/g"),
        ("../../../../g", "coap://a/g"),
        ("/./g", "coap://a/g"), ("/../g", "coap://a/g"), ("g.", "coap://a/b/c/g."), (".g", "coap://a/b/c/.g"),
        ("g..", "coap://a/b/c/g.."), ("..g", "coap://a/b/c/..g"), ("./../g", "coap://a/b/g"),
        ("./g/.", "coap://a/b/c/g/"),
        ("g/./h", "coap://a/b/c/g/h"), ("g/../h", "coap://a/b/c/h"), ("g;x=1/./y", "coap://a/b/c/g;x=1/y"),
        ("g;x=1/../y", "coap://a/b/c/y"), ("g?y/./x", "coap://a/b/c/g?y/./x"), ("g?y/../x", "coap://a/b/c/g?y/../x"),
        // Whole URLs.
        ("coaps+tcp://h:1/x", "coaps+tcp://h:1/x"), ("COAP://h/..", "coap://h/"), ("http://h/", nil), ("urn:x", nil),
        ("./urn:x", "coap://a/b/c/urn:x"), ("1:x", "coap://a/b/c/1:x"), ("/:", "coap://a/:"),
        ("g%2Fh?%26", "coap://a/b/c/g%2Fh?%26"),
    ])
    func aReferenceIsResolved(reference: String, expected: String?) throws {
        let base = try parse("coap://a/b/c/d;p?q")
        #expect(CoAPURL(reference, relativeTo: base)?.description == expected)
        // Of the base, the scheme and the port stay.
        if let expected, expected.hasPrefix("coap://a/") {
            let other = try #require(CoAPURL("coaps+tcp://[::1]:7/b/c/d;p?q"))
            let resolved = CoAPURL(reference, relativeTo: other)?.description
            #expect(resolved == "coaps+tcp://[::1]:7/" + expected.dropFirst(9))
        }
    }

    @Test(arguments: [
        ("a b", 1), ("/é", 1), ("x#f", 1), ("?%", 1), ("//", 2), ("//u@h", 3), ("http://h", 0), ("%2e", 0),
        ("coap://h/ ", 9),
    ])
    func saysWhereAReferenceGoesWrong(reference: String, offset: Int) throws {
        let base = try parse("coap://[::1]:7/b/c")
        #expect(throws: CoAPError.invalidURL(offset: offset)) {
            try CoAPURL(reference.utf8.span, relativeTo: base)
        }
    }

    @Test func randomTextNeverTrapsAndAURLIsComposedAsItWasRead() throws {
        var random = SeededRandom(state: 64)
        let alphabet = ascii("coap:/[]%25?&#.@:a0\u{e9}")
        for _ in 0..<20_000 {
            let tail = (0..<Int.random(in: 0...24, using: &random)).map { _ in
                alphabet.randomElement(using: &random) ?? 0
            }
            guard let url = try? CoAPURL(parsing: (ascii("coap://") + tail).span) else { continue }
            #expect(try CoAPURL(parsing: url.text.span) == url)
            #expect(try CoAPURL(url.scheme, to: url.endpoint, options: url.options) == url)
            #expect(try CoAPURL(url.text.span, relativeTo: url) == url)
            #expect(CoAPURL("", relativeTo: url) == url)
            _ = try? CoAPURL(tail.span, relativeTo: url)
        }
    }
}
