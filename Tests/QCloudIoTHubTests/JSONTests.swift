import CcJSON
import Glibc
import QCloudIoTHub
import Testing

func json(_ text: String, limits: JSONLimits = JSONLimits()) throws(JSONError) -> JSONValue {
    let bytes = Array(text.utf8)
    return try JSONValue(parsing: bytes.span, limits: limits)
}

@Suite struct JSONTests {
    @Test func readsEveryKindOfValue() throws {
        let value = try json(#" {"a":[1,-2.5e3,true,false,null],"b":{"c":"x\n\"é\u00e9\ud83d\ude00/\/"},"":{}} "#)
        #expect(value["a"] == .array([.number(1), .number(-2_500), .bool(true), .bool(false), .null]))
        #expect(value["b"]?["c"]?.text.map { text($0) } == "x\n\"éé😀//")
        #expect(value[name: []] == .emptyObject)
        #expect(value["d"] == nil)
        #expect(value["a"]?["b"] == nil)
        #expect(try json("7") == .number(7))
    }

    @Test(arguments: [
        ("", 0), ("{", 1), ("{} x", 3), ("[1,]", 3), ("{,}", 1), (#"{"a":1,}"#, 7), (#"{"a" 1}"#, 5), ("01", 1),
        ("+1", 0), ("1.", 2), ("1.e5", 2), (".5", 0), ("-", 1), ("1e", 2), ("nul", 3), ("True", 0), ("[1 2]", 3),
        ("[1}", 2), (#"{"a":1]"#, 6), ("'a'", 0), (#""a"#, 2), ("\"a\tb\"", 2), (#""\x""#, 2), (#""\u12g4""#, 5),
        (#""\u12"#, 5), (#""\ud83d""#, 1), (#""\ud83dx""#, 1), (#""\ude00""#, 1), ("\u{FEFF}{}", 0), ("NaN", 0),
        ("{1:2}", 1), ("1,2", 1), (#""\"#, 2), ("]", 0),
    ])
    func refusesWhatIsNoJSON(text: String, offset: Int) {
        #expect(throws: JSONError.self, "\(text)") { try json(text) }
        do { _ = try json(text) } catch {
            // Of half a pair, the place is that of either half.
            if case .malformed(let at) = error, !text.contains("ud83d") { #expect(at == offset, "\(text)") }
            if case .malformed = error {} else { Issue.record("\(text): \(error)") }
        }
    }

    @Test(
        arguments: [[0xFF], [0xC0, 0xAF], [0xED, 0xA0, 0x80], [0xF4, 0x90, 0x80, 0x80], [0xE2, 0x82]] as [[UInt8]]
    )
    func refusesWhatIsNotUTF8(bytes: [UInt8]) {
        let text = [UInt8(ascii: "\"")] + bytes + [UInt8(ascii: "\"")]
        #expect(throws: JSONError.malformed(at: 1)) { try JSONValue(parsing: text.span) }
        #expect(throws: JSONError.notUTF8) { try JSONValue.string(bytes).serialized() }
    }

    @Test func keepsItsLimits() throws {
        var limits = JSONLimits()
        (limits.bytes, limits.depth, limits.values) = (20, 3, 5)
        #expect(try json("[[[1]]]", limits: limits).isEmpty == false)
        #expect(throws: JSONError.tooDeep(limit: 3)) { try json("[[[[]]]]", limits: limits) }
        #expect(throws: JSONError.tooLarge(limit: 20)) { try json("[1,2,3,4,    5,    6]", limits: limits) }
        #expect(throws: JSONError.tooManyValues(limit: 5)) { try json("[1,2,3,4,5]", limits: limits) }
        let deep = JSONValue.array([.array([.array([.array([])])])])
        #expect(throws: JSONError.tooDeep(limit: 3)) { try deep.serialized(limits: limits) }
        #expect(throws: JSONError.tooManyValues(limit: 5)) {
            try JSONValue.array([.null, .null, .null, .null, .null]).serialized(limits: limits)
        }
        #expect(throws: JSONError.tooLarge(limit: 20)) {
            try JSONValue.string([UInt8](repeating: 0x61, count: 19)).serialized(limits: limits)
        }
        // A hundred thousand levels must not reach the stack.
        #expect(throws: JSONError.tooDeep(limit: 32)) { try json(String(repeating: "[", count: 60_000)) }
        #expect(throws: JSONError.numberOutOfRange) { try json(String(repeating: "1", count: 64)) }
        #expect(throws: JSONError.numberOutOfRange) { try json("1e999") }
        #expect(throws: JSONError.numberOutOfRange) { try JSONValue.number(.nan).serialized() }
        #expect(throws: JSONError.nullCharacter) { try json(#""a\u0000b""#) }
        #expect(throws: JSONError.nullCharacter) { try JSONValue.string([0]).serialized() }
    }

    @Test func takesNumbersForTextsAndTheReverse() throws {
        let value = try json(
            #"{"a":"5005","b":5005,"c":"-7","d":"","e":"1x","f":1.5,"g":"99999999999999999","h":true}"#
        )
        #expect(value["a"]?.integer == 5005)
        #expect(value["b"]?.text.map { text($0) } == "5005")
        #expect(value["c"]?.integer == -7)
        for name: StaticString in ["d", "e", "f", "g", "h"] { #expect(value[name]?.integer == nil) }
        #expect(value["f"]?.text == nil)
    }

    @Test(arguments: [
        ("1700000100456", "1700000100456"), ("9007199254740992", "9007199254740992"), ("-1", "-1"), ("0.1", "0.1"),
        ("1e-7", "1e-07"), ("100000000000000000000", "1e+20"), ("0.30000000000000004", "0.30000000000000004"),
        (#"{"b":[],"a":{"c":"\u0001é\/"}}"#, #"{"b":[],"a":{"c":"\u0001é/"}}"#),
    ])
    func writesWhatItHasRead(read: String, written: String) throws {
        #expect(text(try json(read).serialized()) == written)
    }

    @Test func writesWhatCanBeReadAgain() throws {
        var generator = Seeded(seed: 0x5EED)
        for _ in 0..<2_000 {
            let value = generator.value(depth: 4)
            let written = try value.serialized()
            #expect(try JSONValue(parsing: written.span) == value, "\(text(written))")
        }
    }

    @Test func neitherTrapsNorTakesWhatItCannotKeep() throws {
        var generator = Seeded(seed: 0xBAD)
        var accepted = 0
        for _ in 0..<5_000 {
            var bytes = try generator.value(depth: 3).serialized()
            for _ in 0..<generator.next(3) + 1 where !bytes.isEmpty {
                bytes[generator.next(bytes.count)] = UInt8(generator.next(256))
            }
            do throws(JSONError) {
                let value = try JSONValue(parsing: bytes.span)
                accepted += 1
                let written = try value.serialized()
                #expect(try JSONValue(parsing: written.span) == value)
            } catch {
                #expect(error != .outOfMemory, "cJSON refuses what was checked: \(text(bytes))")
            }
        }
        #expect(accepted > 100)
    }

    @Test func saysWhenThereIsNoMemory() async {
        await #expect(processExitsWith: .success) { exit(try runOutOfMemory()) }
    }
}

/// Lets each allocation of cJSON fail in turn, in a process of its own; 0 if every failure was told, and nothing was lost.
private func runOutOfMemory() throws -> Int32 {
    let value: JSONValue = ["a": [1.5, "x", true, ["b": 7]]]
    let bytes = try value.serialized()
    var hooks = cJSON_Hooks(
        malloc_fn: { bytes in
            allocationsLeft -= 1
            return allocationsLeft < 0 ? nil : malloc(bytes)
        },
        free_fn: { pointer in
            if pointer != nil { freed += 1 }
            free(pointer)
        }
    )
    cJSON_InitHooks(&hooks)
    var failures = 0
    for isWriting in [false, true] {
        var isThrough = false
        for count in 0..<60 where !isThrough {
            (allocationsLeft, freed) = (count, 0)
            do throws(JSONError) {
                if isWriting { _ = try value.serialized() } else { _ = try JSONValue(parsing: bytes.span) }
                isThrough = true
            } catch {
                guard error == .outOfMemory else { return 2 }
                failures += 1
                guard freed == count else { return 3 }
            }
        }
        guard isThrough else { return 4 }
    }
    return failures > 12 ? 0 : 5
}

nonisolated(unsafe) private var allocationsLeft = 0
nonisolated(unsafe) private var freed = 0

@Suite struct JSONMergeTests {
    @Test(arguments: [
        (#"{"a":1,"b":{"c":2,"d":3}}"#, #"{"b":{"c":null,"e":4},"f":5}"#, #"{"a":1,"b":{"d":3,"e":4},"f":5}"#),
        (#"{"a":[1,2]}"#, #"{"a":[3]}"#, #"{"a":[3]}"#), (#"{"a":1}"#, #"{"a":null,"b":null}"#, "{}"),
        (#"{"a":1}"#, #"{"a":{"b":null,"c":1}}"#, #"{"a":{"c":1}}"#), (#"{"a":{"b":1}}"#, #"{"a":2}"#, #"{"a":2}"#),
    ])
    func appliesAChange(base: String, change: String, result: String) throws {
        var value = try json(base)
        value.apply(try json(change))
        #expect(value == (try json(result)))
    }

    @Test func changesTogetherDoWhatTheyDoOneByOne() throws {
        var generator = Seeded(seed: 77)
        for _ in 0..<2_000 {
            // Flat ones: what was no object and becomes one is the documented exception.
            let base = generator.object(depth: 0)
            let (first, second) = (generator.object(depth: 0), generator.object(depth: 0))
            var (oneByOne, together) = (base, base)
            oneByOne.apply(first)
            oneByOne.apply(second)
            var both = first
            both.append(change: second)
            together.apply(both)
            #expect(oneByOne == together)
            // What is left to do does the same, and nothing is left then.
            var rest = base
            if let remainder = both.remainder(after: base) { rest.apply(remainder) }
            var cleaned = JSONValue.emptyObject
            cleaned.apply(base)
            if base == cleaned { #expect(rest == together) }
            #expect(both.remainder(after: together) == nil)
        }
    }
}

/// Random values that come again with the same seed.
struct Seeded {
    private var state: UInt64
    init(seed: UInt64) { state = seed }

    mutating func next(_ bound: Int) -> Int {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return Int(state >> 33) % bound
    }

    mutating func value(depth: Int) -> JSONValue {
        switch next(depth == 0 ? 5 : 8) {
        case 0: .null
        case 1: .bool(next(2) == 0)
        case 2: .number(Double(next(1_000_000)) - 500_000)
        case 3: .number(Double(bitPattern: UInt64(next(1 << 30)) << 32 | UInt64(next(1 << 30)) | 1 << 60))
        case 4: .string(Array(["", "a", "\"\\\n\u{1}", "é😀", "longer text"][next(5)].utf8))
        case 5: .array((0..<next(4)).map { _ in value(depth: depth - 1) })
        default: object(depth: depth - 1)
        }
    }

    mutating func object(depth: Int) -> JSONValue {
        var object = JSONValue.emptyObject
        for _ in 0..<next(5) {
            object.set(name: Array("abcdef".utf8.dropFirst(next(6)).prefix(1)), value(depth: depth))
        }
        return object
    }
}
