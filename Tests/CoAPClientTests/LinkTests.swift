import Testing

@testable import CoAPClient

/// The documents of RFC 6690, section 5, with the line ends that it puts in for readability.
private let examples = [
    "</sensors/temp>;if=\"sensor\",\n</sensors/light>;if=\"sensor\"",
    "</sensors/temp>;if=\"sensor\",</sensors/light>;if=\"sensor\"",
    "</sensors>;ct=40",
    "</sensors/temp>;rt=\"temperature-c\";if=\"sensor\",\n</sensors/light>;rt=\"light-lux\";if=\"sensor\"",
    """
    </sensors>;ct=40;title="Sensor Index",
    </sensors/temp>;rt="temperature-c";if="sensor",
    </sensors/light>;rt="light-lux";if="sensor",
    <http://www.example.com/sensors/t123>;anchor="/sensors/temp"
    ;rel="describedby",
    </t>;anchor="/sensors/temp";rel="alternate"
    """,
    "</firmware/v2.1>;rt=\"firmware\";sz=262144",
    "</sensors/light>;rt=\"light-lux core.sen-light\";if=\"sensor\"",
]

/// What libcoap's example server 4.3 has at /.well-known/core.
private let libcoap =
    "</>;title=\"General Info\";ct=0,</time>;if=\"clock\";rt=\"ticks\";title=\"Internal Clock\";ct=0;obs,"
    + "</async>;ct=0,</example_data>;title=\"Example Data\";ct=0;obs"

@Suite struct LinkTests {
    private func parse(_ text: String) throws(CoAPLinkError) -> [CoAPLink] { try CoAPLinkFormat.parse(text) }

    // MARK: Reading

    @Test(
        arguments: [
            [("/sensors/temp", "if=\"sensor\""), ("/sensors/light", "if=\"sensor\"")],
            [("/sensors/temp", "if=\"sensor\""), ("/sensors/light", "if=\"sensor\"")],
            [("/sensors", "ct=\"40\"")],
            [
                ("/sensors/temp", "rt=\"temperature-c\" if=\"sensor\""),
                ("/sensors/light", "rt=\"light-lux\" if=\"sensor\""),
            ],
            [
                ("/sensors", "ct=\"40\" title=\"Sensor Index\""),
                ("/sensors/temp", "rt=\"temperature-c\" if=\"sensor\""),
                ("/sensors/light", "rt=\"light-lux\" if=\"sensor\""),
                ("http://www.example.com/sensors/t123", "anchor=\"/sensors/temp\" rel=\"describedby\""),
                ("/t", "anchor=\"/sensors/temp\" rel=\"alternate\""),
            ],
            [("/firmware/v2.1", "rt=\"firmware\" sz=\"262144\"")],
            [("/sensors/light", "rt=\"light-lux core.sen-light\" if=\"sensor\"")],
        ].enumerated().map { ($0.offset, $0.element) } as [(Int, [(String, String)])]
    )
    func readsAndComposesTheExamplesOfTheStandard(index: Int, expected: [(String, String)]) throws {
        let links = try parse(examples[index])
        #expect(links.map(\.targetText) == expected.map(\.0))
        #expect(links.map { $0.attributes.map(\.description).joined(separator: " ") } == expected.map(\.1))
        #expect(CoAPLinkFormat.compose(links) == ascii(examples[index]).filter { $0 != UInt8(ascii: "\n") })
    }

    @Test func theAttributesHaveTheirTypes() throws {
        let links = try parse(
            "</a>;rt=\"x  y.z\";if=\"i\";sz=262144;ct=\"0 41 65536 x 40\";obs;title=\"\\\"T\\\\\";rel=\"hosts http://e/r\";anchor=\"/c\","
                + "</b>,</c>;sz=18446744073709551615,</d>;sz=18446744073709551616,</e>;sz=1k,</f>;sz=\"\",</g>;rt;ct"
        )
        #expect(links[0].resourceTypes == [ascii("x"), ascii("y.z")] && links[0].interfaces == [ascii("i")])
        #expect(links[0].maximumSize == 262_144 && links[0].isObservable)
        #expect(links[0].contentFormats.map(\.rawValue) == [0, 41, 40])
        #expect(links[0].title == ascii("\"T\\") && links[0].text(of: "title") == "\"T\\")
        #expect(links[0].relations == [ascii("hosts"), ascii("http://e/r")] && links[0].anchor == ascii("/c"))
        #expect(links[1].resourceTypes == [] && links[1].contentFormats == [] && links[1].title == nil)
        #expect(!links[1].isObservable && links[1].attributes == [])
        #expect(links.dropFirst().map(\.maximumSize) == [nil, UInt64.max, nil, nil, nil, nil])
        #expect(links[6].resourceTypes == [] && links[6].contains("rt") && !links[6].contains("if"))
    }

    @Test func readsWhatServersSend() throws {
        let links = try parse(libcoap)
        #expect(links.map(\.targetText) == ["/", "/time", "/async", "/example_data"])
        #expect(links.map(\.isObservable) == [false, true, false, true])
        #expect(links[1].text(of: "title") == "Internal Clock")
        #expect(CoAPLinkFormat.compose(links) == ascii(libcoap))
    }

    @Test(
        arguments: [
            // Repeated, without value, tokens and strings, empty strings, commas and semicolons inside of strings.
            ("<>", "", []), ("<a>;x;y=;z", nil, []),
            ("<a>;obs;x=\"\";x=1;X=\"2\"", "a", [("obs", nil), ("x", ""), ("x", "1"), ("X", "2")]),
            ("<a>;t=\"<b>,;=\\\"\\\\\\x\"", "a", [("t", "<b>,;=\"\\x")]), ("<a,;b>;c", "a,;b", [("c", nil)]),
            ("<a>;t=!#$%&'()*+-./:<=>?@[]^_`{|}~aZ09", "a", [("t", "!#$%&'()*+-./:<=>?@[]^_`{|}~aZ09")]),
            ("<a>;!#$&+-.^_`|~aZ09", "a", [("!#$&+-.^_`|~aZ09", nil)]),
            // RFC 5988, 5.5: what is in another character set stays as it is.
            (
                "</TheBook/chapter2>;rel=\"previous\";title*=UTF-8'de'letztes%20Kapitel", "/TheBook/chapter2",
                [("rel", "previous"), ("title*", "UTF-8'de'letztes%20Kapitel")]
            ),
            ("<a>;title=\"Grüße\"", "a", [("title", "Grüße")]), ("</ä>", "/ä", []),
            // Values in either form, whatever the name.
            (
                "<a>;rt=x;title=T;ct=\"40\";anchor=/b", "a",
                [("rt", "x"), ("title", "T"), ("ct", "40"), ("anchor", "/b")]
            ),
            // Blanks around commas and semicolons.
            (" \t\r\n<a> ; b ;c=1\r\n\t;d=\" \" \n", "a", [("b", nil), ("c", "1"), ("d", " ")]),
        ] as [(String, String?, [(String, String?)])]
    )
    func readsAnyAttribute(text: String, target: String?, attributes: [(String, String?)]) throws {
        guard let target else {
            #expect(throws: CoAPLinkError.unexpectedByte(UInt8(ascii: ";"), offset: 8)) { try parse(text) }
            return
        }
        let links = try parse(text)
        #expect(links.map(\.targetText) == [target])
        let expected = attributes.map { CoAPLinkAttribute(ascii($0.0), $0.1.map(ascii)) }
        #expect(links.first?.attributes == expected)
        // Nothing of it changes when it is written and read again.
        #expect(try CoAPLinkFormat.parse(CoAPLinkFormat.compose(links).span) == links)
    }

    @Test func aNameMayComeTwiceAndInAnyCase() throws {
        let link = try #require(try parse("<a>;ep=\"1\";RT=x;ep;rt=\"y\";Ep=2").first)
        #expect(link.values(of: "ep") == [ascii("1"), [], ascii("2")])
        #expect(link.value(of: "ep") == ascii("1") && link.text(of: "EP") == "1" && link.text(of: "e") == nil)
        #expect(link.resourceTypes == [ascii("x")])
    }

    @Test func anEmptyDocumentHasNoLinks() throws {
        #expect(try parse("") == [] && parse(" \r\n") == [])
        #expect(CoAPLinkFormat.compose([]) == [])
    }

    // MARK: What is wrong

    @Test(
        arguments: [
            ("a", 0), ("/a", 0), (",</a>", 0), ("</a>,,</b>", 5), ("</a></b>", 4), ("</a>b", 4), ("</a>=", 4),
            ("</a>;;b", 5),
            ("</a>;=b", 5), ("</a>;*=b", 5), ("</a>;b*c", 7), ("</a>;b c", 7), ("</a>;b=,</c>", 7), ("</a>;b=;c", 7),
            ("</a>;b= c", 7),
            ("</a>;b =c", 7), ("</a>;b=c\"d\"", 8), ("</a>;b=\"c\"d", 10), ("</a>;b=\"c\"\"d\"", 10),
            ("</a>;b='c d'", 10),
            ("</a>;b=\"\u{0}\"", 8), ("</a>;b=\"\u{7f}\"", 8), ("</a>;é", 5), ("</a>;b=é", 7), ("</a>;b=c\\d", 8),
            ("<<a>>", 1),
            ("</a b>", 3), ("</a\n>", 3), ("</a\">", 3), ("</a\u{0}>", 3), ("</a>\u{0}", 4), ("</a>,\u{b}", 5),
            ("</a>;\u{0}", 5),
            ("\u{feff}</a>", 0), ("[{\"href\":\"/a\"}]", 0),
        ]
    )
    func refusesWhatIsNoDocument(text: String, offset: Int) {
        let byte = Array(text.utf8)[offset]
        #expect(throws: CoAPLinkError.unexpectedByte(byte, offset: offset)) { try parse(text) }
    }

    @Test(arguments: [
        "<", "</a", "</a>,", "</a>, \n", "</a>;", "</a>; ", "</a>;b=", "</a>;b=\"", "</a>;b=\"c", "</a>;b=\"c\\",
        "</a>;b=\"c\\\"",
    ])
    func saysWhereADocumentEndsTooSoon(text: String) {
        #expect(throws: CoAPLinkError.unexpectedEnd(offset: text.utf8.count)) { try parse(text) }
    }

    /// What is cut off in the middle of a link is not taken for a whole document, except where nothing shows that it was cut.
    @Test func everyTruncationIsAnErrorAtItsEndOrAShorterDocument() throws {
        for text in examples + [libcoap] {
            let document = ascii(text)
            let links = try CoAPLinkFormat.parse(document.span)
            for count in 0..<document.count {
                do throws(CoAPLinkError) {
                    let fewer = try CoAPLinkFormat.parse(document.span.extracting(..<count))
                    #expect(fewer.count <= links.count)
                    #expect(fewer.dropLast() == links.prefix(max(0, fewer.count - 1)))
                    if let last = fewer.last {
                        let whole = links[fewer.count - 1]
                        #expect(last.target == whole.target && whole.text.starts(with: last.text))
                    }
                } catch {
                    #expect(error == .unexpectedEnd(offset: count))
                }
            }
        }
    }

    @Test func takesNoMoreLinksThanTheLimit() throws {
        let document = ascii("<a>,<b>;rt=\"x\",<c>")
        #expect(try CoAPLinkFormat.parse(document.span, limit: 3).count == 3)
        #expect(throws: CoAPLinkError.tooManyLinks(limit: 2, offset: 15)) {
            try CoAPLinkFormat.parse(document.span, limit: 2)
        }
        #expect(throws: CoAPLinkError.tooManyLinks(limit: 0, offset: 0)) {
            try CoAPLinkFormat.parse(document.span, limit: 0)
        }
        // Those that are not asked for do not count.
        let filter = CoAPLinkFilter("rt", ascii("x"))
        #expect(try CoAPLinkFormat.parse(document.span, matching: [filter], limit: 1).map(\.targetText) == ["b"])
    }

    @Test func theLinksCanBeTakenOneByOne() throws {
        let document = ascii("<a>,\n<b>;c , <d>")
        var cursor = CoAPLinkFormat.Cursor()
        var targets: [String] = []
        while let link = try CoAPLinkFormat.next(in: document.span, &cursor) { targets.append(link.targetText) }
        #expect(targets == ["a", "b", "d"])
        #expect(try CoAPLinkFormat.next(in: document.span, &cursor) == nil)
        // A cursor of another document.
        #expect(try CoAPLinkFormat.next(in: ascii("<a>").span, &cursor) == nil)
    }

    @Test func randomBytesNeverTrapAndWhatIsReadIsComposedAsTheSame() throws {
        var random = SeededRandom(state: 6690)
        let pieces = [
            "<", ">", "<a>", "</b>", ";", ";", ";c", ";d*", ",", "=", "\"", "=\"", "\\", " ", "\n", "e", "\u{e9}",
            "\u{0}",
        ]
        var count = 0
        for _ in 0..<30_000 {
            let text = (0..<Int.random(in: 1...10, using: &random)).map { _ in
                pieces.randomElement(using: &random) ?? ""
            }.joined()
            guard let links = try? parse("<a>" + text) else { continue }
            count += links.count
            #expect(try CoAPLinkFormat.parse(CoAPLinkFormat.compose(links).span) == links)
            _ = links.map { ($0.contentFormats, $0.maximumSize, $0.resourceTypes, $0.description) }
        }
        #expect(count > 1_000)
        for _ in 0..<5_000 { _ = try? CoAPLinkFormat.parse(random.bytes(32).span) }
        // Examples with a byte changed.
        for text in examples + [libcoap] {
            for index in text.utf8.indices.enumerated().map(\.offset) {
                var bytes = ascii(text)
                bytes[index] = UInt8.random(in: 0...255, using: &random)
                guard let links = try? CoAPLinkFormat.parse(bytes.span) else { continue }
                #expect(try CoAPLinkFormat.parse(CoAPLinkFormat.compose(links).span) == links)
            }
        }
    }

    // MARK: Composing

    @Test func composesEachValueInTheFormOfTheGrammar() throws {
        let link = try CoAPLink(
            "/sensors/temp?u=C",
            [
                "rt": "temperature-c", "if": "sensor", "sz": "12", "ct": "40", "obs": nil, "title": "5", "anchor": "/7",
                "hreflang": "de", "title*": "UTF-8''%c3%a4", "x": "", "y": "a\"b\\c\n", "rt": "9", "ct": "0 40",
            ]
        )
        #expect(
            link.description
                == "</sensors/temp?u=C>;rt=\"temperature-c\";if=\"sensor\";sz=12;ct=40;obs;title=\"5\";anchor=\"/7\""
                + ";hreflang=de;title*=UTF-8''%c3%a4;x=\"\";y=\"a\\\"b\\\\c\\\n\";rt=\"9\";ct=\"0 40\""
        )
        #expect(try parse(link.description) == [link])
    }

    @Test func composesLinksOfBytes() throws {
        var options = CoAPOptions()
        options.addPath(ascii("a/b c/ü").span)
        options.addQuery(ascii("d=e").span)
        var link = CoAPLink(to: options)
        try link.add("obs")
        try link.add("sz", number: .max)
        try link.add("rt", ascii("x"))
        #expect(link.text == ascii("</a/b%20c/%C3%BC?d=e>;obs;sz=18446744073709551615;rt=\"x\""))
        #expect(CoAPLink(to: CoAPOptions()).text == ascii("</>"))
    }

    @Test func composesNoLinkThatCannotBeRead() throws {
        #expect(throws: CoAPLinkError.invalidTarget(offset: 2)) { try CoAPLink("/a>;x") }
        #expect(throws: CoAPLinkError.invalidTarget(offset: 1)) { try CoAPLink("/ü") }
        #expect(throws: CoAPLinkError.invalidTarget(offset: 0)) { try CoAPLink(" ") }
        var link = try CoAPLink("/a")
        for (name, offset) in [("", 0), ("a b", 1), ("a=", 1), ("a;b", 1), ("*", 0), ("a*b", 2), ("ä", 0), ("a**", 2)] {
            #expect(throws: CoAPLinkError.invalidAttributeName(offset: offset)) { try link.add(name, "x") }
        }
        for (value, offset) in [(nil, 0), ("", 0), ("a b", 1), ("a,", 1), ("\"", 0), ("aä", 1)] as [(String?, Int)] {
            #expect(throws: CoAPLinkError.invalidAttributeValue(offset: offset)) { try link.add("title*", value) }
        }
        #expect(link.attributes == [])
    }

    @Test func anyValueIsReadAsItWasAdded() throws {
        var random = SeededRandom(state: 5988)
        for _ in 0..<5_000 {
            var link = try CoAPLink("/a")
            let values = (0..<3).map { _ in random.bytes(Int.random(in: 0...6, using: &random)) }
            for value in values { try link.add("x", value) }
            try link.add("y")
            let read = try CoAPLinkFormat.parse(link.text.span)
            #expect(read == [link] && read.first?.values(of: "x") == values)
        }
    }

    @Test func quotesDoNotMakeALinkAnother() throws {
        #expect(try parse("<a>;ct=40;RT=x") == parse("<a> ; CT=\"4\\0\"; rt=\"x\""))
        #expect(try parse("<a>;x") != parse("<a>;x=\"\""))
        #expect(try parse("<a>;x;y") != parse("<a>;y;x"))
        #expect(try parse("<a>;x=A") != parse("<a>;x=a"))
        #expect(try parse("<a>") != parse("<A>"))
    }

    // MARK: Filters

    /// RFC 6690, 4.1 and 5, on the longest of its examples; then the rules that they do not show.
    @Test(
        arguments: [
            ("rt=light-lux", ["/sensors/light"]),
            ("anchor=/sensors/temp", ["http://www.example.com/sensors/t123", "/t"]),
            ("href=/sensors", ["/sensors"]), ("href=/sensors*", ["/sensors", "/sensors/temp", "/sensors/light"]),
            ("rt=temp*", ["/sensors/temp"]), ("if=sensor", ["/sensors/temp", "/sensors/light"]),
            ("rt=*", ["/sensors/temp", "/sensors/light"]), ("rt=temp", []), ("rt=", []), ("rt=Light-lux", []),
            ("RT=light-lux", ["/sensors/light"]), ("title=Sensor Index", ["/sensors"]), ("title=Index", []),
            ("title=Sen*", ["/sensors"]), ("ct=40", ["/sensors"]), ("ct=4", []), ("ct=4*", ["/sensors"]), ("foo=*", []),
            ("href=*", ["/sensors", "/sensors/temp", "/sensors/light", "http://www.example.com/sensors/t123", "/t"]),
            ("href=", []), ("rel=alternate", ["/t"]),
        ]
    )
    func choosesLinks(filter: String, targets: [String]) throws {
        let filter = try #require(CoAPLinkFilter(filter))
        #expect(try CoAPLinkFormat.parse(examples[4], matching: [filter]).map(\.targetText) == targets)
    }

    @Test(
        arguments: [
            // RFC 6690, 5: any of several values matches.
            ("rt=light-lux", "</a>;rt=\"light-lux core.sen-light\"", true),
            ("rt=core.sen-light", "</a>;rt=\"light-lux core.sen-light\"", true),
            ("rt=core*", "</a>;rt=\"light-lux core.sen-light\"", true),
            ("rt=lux", "</a>;rt=\"light-lux core.sen-light\"", false),
            ("rt=light-lux core.sen-light", "</a>;rt=\"light-lux core.sen-light\"", true),
            ("if=b", "</a>;if=\"a b\"", true), ("rel=b", "</a>;rel=\"a b\"", true), ("ct=40", "</a>;ct=\"0 40\"", true),
            ("title=b", "</a>;title=\"a b\"", false), ("sz=12*", "</a>;sz=1234", true),
            ("sz=34*", "</a>;sz=1234", false),
            ("obs=*", "</a>;obs", true), ("obs=", "</a>;obs", true), ("obs=1", "</a>;obs", false),
            ("obs=*", "</a>", false),
            ("title=a\"b", "</a>;title=\"a\\\"b\"", true), ("x=a*b", "</a>;x=\"a*b\"", true),
            ("x=a**", "</a>;x=\"a*b\"", true),
            // Of some names all but the first are ignored; of others each counts.
            ("rel=b", "</a>;rel=a;rel=b", false), ("title=b", "</a>;title=a;title=b", false),
            ("ep=b", "</a>;ep=a;ep=b", true),
        ]
    )
    func aFilterMatchesWords(filter: String, link: String, isMatch: Bool) throws {
        let filter = try #require(CoAPLinkFilter(filter))
        #expect(try parse(link).map(filter.matches) == [isMatch])
    }

    @Test func allFiltersMustMatch() throws {
        let filters = [CoAPLinkFilter("if", ascii("sensor")), CoAPLinkFilter("href", ascii("/sensors/l*"))]
        #expect(try CoAPLinkFormat.parse(examples[4], matching: filters).map(\.targetText) == ["/sensors/light"])
    }

    @Test func aFilterIsAnArgumentOfAQuery() throws {
        for text in ["rt=temperature-c", "rt=temp*", "href=/a=b*", "obs=*", "x="] {
            #expect(CoAPLinkFilter(text)?.argument == ascii(text))
        }
        #expect(CoAPLinkFilter("rt", ascii("temp*")) == CoAPLinkFilter("rt=temp*"))
        #expect(CoAPLinkFilter("rt=temp*")?.isPrefix == true && CoAPLinkFilter("rt=temp*")?.value == ascii("temp"))
        for text in ["", "rt", "=x", "*"] { #expect(CoAPLinkFilter(text) == nil) }
    }
}
