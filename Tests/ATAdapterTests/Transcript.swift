import Glibc

/// A conversation with a modem, a step a line: `>` from the host, `<` from the modem, `=` a pause in milliseconds, `#` a
/// comment.
struct Transcript {
    enum Step: Equatable {
        case host([UInt8])
        case modem([UInt8])
        case pause(Int)
    }

    var steps: [Step] = []

    /// A transcript from its text; consecutive lines of the modem are one stream of bytes.
    init(_ text: String) {
        for line in text.split(separator: "\n") {
            switch line.first {
            case ">": steps.append(.host(Self.bytes(line.dropFirst(2))))
            case "=": steps.append(.pause(Int(line.dropFirst(2)) ?? 0))
            case "<":
                let bytes = Self.bytes(line.dropFirst(2))
                if case .modem(let earlier)? = steps.last {
                    steps[steps.count - 1] = .modem(earlier + bytes)
                } else {
                    steps.append(.modem(bytes))
                }
            default: break
            }
        }
    }

    /// The bytes of a quoted text with the escapes `\r \n \t \" \\ \xHH`.
    static func bytes(_ quoted: Substring) -> [UInt8] {
        var bytes: [UInt8] = []
        var rest = Array(quoted.utf8.dropFirst().dropLast())[...]
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "\\"), let code = rest.popFirst() else {
                bytes.append(byte)
                continue
            }
            switch code {
            case UInt8(ascii: "r"): bytes.append(13)
            case UInt8(ascii: "n"): bytes.append(10)
            case UInt8(ascii: "t"): bytes.append(9)
            case UInt8(ascii: "x"):
                bytes.append(UInt8(String(decoding: rest.prefix(2), as: UTF8.self), radix: 16) ?? 0)
                rest = rest.dropFirst(2)
            default: bytes.append(code)
            }
        }
        return bytes
    }
}

/// How the modem's bytes are cut before they are given to a parser.
enum Cut {
    case whole, bytes
    case pieces(seed: UInt64)
    /// In two, after so many bytes of the whole transcript.
    case at(Int)
}

/// Cuts a stream of bytes.
struct Cutter {
    private let cut: Cut
    private var random: SplitMix
    private var offset = 0

    init(_ cut: Cut) {
        self.cut = cut
        if case .pieces(let seed) = cut { random = SplitMix(state: seed) } else { random = SplitMix(state: 0) }
    }

    mutating func pieces(of bytes: [UInt8]) -> [[UInt8]] {
        defer { offset += bytes.count }
        switch cut {
        case .whole: return [bytes]
        case .bytes: return bytes.map { [$0] }
        case .at(let position):
            let local = position - offset
            guard local > 0, local < bytes.count else { return [bytes] }
            return [Array(bytes[..<local]), Array(bytes[local...])]
        case .pieces:
            var pieces: [[UInt8]] = []
            var rest = bytes[...]
            while !rest.isEmpty {
                let count = min(rest.count, 1 + Int(random.next() % 9))
                pieces.append(Array(rest.prefix(count)))
                rest = rest.dropFirst(count)
            }
            return pieces
        }
    }
}

/// A generator whose sequence a seed decides.
struct SplitMix: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var value = state
        value = (value ^ (value >> 30)) &* 0xBF58_476D_1CE4_E5B9
        value = (value ^ (value >> 27)) &* 0x94D0_49BB_1331_11EB
        return value ^ (value >> 31)
    }
}

extension Transcript {
    /// The transcript of that name in Fixtures/at.
    init(fixture name: String, file: String = #filePath) throws {
        var parts = file.split(separator: "/")
        parts.removeLast(3)
        let path = "/" + parts.joined(separator: "/") + "/Fixtures/at/\(name).txt"
        guard let stream = fopen(path, "r") else { throw FixtureMissing(path: path) }
        defer { fclose(stream) }
        var bytes = [UInt8](repeating: 0, count: 65_536)
        let count = fread(&bytes, 1, bytes.count, stream)
        self.init(String(decoding: bytes[..<count], as: UTF8.self))
    }

    struct FixtureMissing: Error { let path: String }
}
