import Glibc
import Kernel

@testable import CoAPClient

/// The bytes of hexadecimal digits; blanks between them are skipped.
func hex(_ text: String) -> [UInt8] {
    var bytes: [UInt8] = []
    var high: UInt8?
    for character in text where character != " " && character != "-" {
        guard let digit = character.hexDigitValue.map({ UInt8($0) }) else { preconditionFailure("not hexadecimal") }
        if let first = high {
            bytes.append(first << 4 | digit)
            high = nil
        } else {
            high = digit
        }
    }
    return bytes
}

func hex(_ bytes: [UInt8]) -> String {
    bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
}

func ascii(_ text: String) -> [UInt8] { Array(text.utf8) }

func number(_ rawValue: UInt16) -> CoAPOptionNumber { CoAPOptionNumber(rawValue: rawValue) }

func token(_ bytes: [UInt8]) -> CoAPToken { CoAPToken(bytes.span) ?? .empty }

func decode(_ bytes: [UInt8]) throws(CoAPFormatError) -> CoAPMessage { try CoAPMessage(decoding: bytes.span) }

extension CoAPOptions {
    init(_ options: [(UInt16, [UInt8])]) {
        self.init()
        for (number, value) in options { add(CoAPOptionNumber(rawValue: number), value.span) }
    }
}

/// The lines of a file in Fixtures/coap, each split at blanks.
func fixture(_ name: String, file: String = #filePath) -> [[String]] {
    let root = file.split(separator: "/").dropLast(3).joined(separator: "/")
    guard let stream = fopen("/\(root)/Fixtures/coap/\(name)", "r") else { return [] }
    defer { fclose(stream) }
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 65_536)
    while case let count = fread(&buffer, 1, buffer.count, stream), count > 0 { bytes += buffer[0..<count] }
    return String(decoding: bytes, as: UTF8.self).split(separator: "\n").map {
        $0.split(separator: " ").map(String.init)
    }
}

/// Numbers that are the same for the same seed (SplitMix64).
struct SeededRandom: RandomNumberGenerator {
    var state: UInt64
    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ z >> 30) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ z >> 27) &* 0x94D0_49BB_1331_11EB
        return z ^ z >> 31
    }
    mutating func bytes(_ count: Int) -> [UInt8] { (0..<count).map { _ in UInt8.random(in: 0...255, using: &self) } }
}
