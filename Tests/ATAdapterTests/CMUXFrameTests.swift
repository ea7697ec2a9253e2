import SAL
import Testing

@testable import ATAdapter

/// Frames of 3GPP 27.010, against octets that were not made by this code.
@Suite struct CMUXFrameTests {
    /// A frame, with its information and its octets.
    struct Vector: Sendable, CustomTestStringConvertible {
        var name: String
        var control: CMUXControl
        var channel: Int
        var isCommand = true
        var isPolling: Bool?
        var information: [UInt8] = []
        var option = MultiplexerOption.basic
        var octets: [UInt8]
        var testDescription: String { name }

        var frame: CMUXFrame {
            var frame = CMUXFrame(control, channel: channel, isCommand: isCommand)
            if let isPolling { frame.isPolling = isPolling }
            return frame
        }
    }

    private static func bytes(_ hexadecimal: String) -> [UInt8] {
        hexadecimal.split(separator: " ").compactMap { UInt8($0, radix: 16) }
    }

    private static func vector(
        _ name: String,
        _ control: CMUXControl,
        _ channel: Int,
        isCommand: Bool = true,
        isPolling: Bool? = nil,
        _ information: [UInt8] = [],
        _ option: MultiplexerOption = .basic,
        is octets: String
    ) -> Vector {
        Vector(
            name: name,
            control: control,
            channel: channel,
            isCommand: isCommand,
            isPolling: isPolling,
            information: information,
            option: option,
            octets: bytes(octets)
        )
    }

    private static func text(_ text: String) -> [UInt8] { Array(text.utf8) }

    // Those with the name of a modem, or of a program, are from logs of it; the others were computed apart from this code, by the polynomial.
    static let vectors: [Vector] = [
        vector("SABM 0", .sabm, 0, is: "f9 03 3f 01 1c f9"), vector("SABM 1", .sabm, 1, is: "f9 07 3f 01 de f9"),
        vector("SABM 2", .sabm, 2, is: "f9 0b 3f 01 59 f9"), vector("SABM 3", .sabm, 3, is: "f9 0f 3f 01 9b f9"),
        vector("SABM 4", .sabm, 4, is: "f9 13 3f 01 96 f9"), vector("UA 0 (A7672)", .ua, 0, is: "f9 03 73 01 d7 f9"),
        vector("UA 1", .ua, 1, is: "f9 07 73 01 15 f9"), vector("UA 2", .ua, 2, is: "f9 0b 73 01 92 f9"),
        vector("DISC 0", .disc, 0, is: "f9 03 53 01 fd f9"), vector("DISC 1", .disc, 1, is: "f9 07 53 01 3f f9"),
        vector("DISC 2", .disc, 2, is: "f9 0b 53 01 b8 f9"), vector("DM 1", .dm, 1, is: "f9 07 1f 01 f4 f9"),
        vector("DM 3", .dm, 3, is: "f9 0f 1f 01 b1 f9"),
        vector("command", .uih, 1, text("AT\r"), is: "f9 07 ef 07 41 54 0d d3 f9"),
        vector("answer", .uih, 1, isCommand: false, text("\r\nOK\r\n"), is: "f9 05 ef 0d 0d 0a 4f 4b 0d 0a 5f f9"),
        vector("answer with C/R", .uih, 1, text("\r\nOK\r\n"), is: "f9 07 ef 0d 0d 0a 4f 4b 0d 0a 3e f9"),
        vector(
            "banner (A7672)",
            .uih,
            1,
            text("\r\nRDY\r\n\r\n+ATREADY\r\n"),
            is: "f9 07 ef 27 0d 0a 52 44 59 0d 0a 0d 0a 2b 41 54 52 45 41 44 59 0d 0a eb f9"
        ),
        vector("with P/F", .uih, 1, isPolling: true, text("AT\r"), is: "f9 07 ff 07 41 54 0d c6 f9"),
        vector("UI", .ui, 1, text("AT\r"), is: "f9 07 03 07 41 54 0d 44 f9"),
        vector("empty", .uih, 1, is: "f9 07 ef 01 37 f9"),
        vector("empty, no C/R", .uih, 1, isCommand: false, is: "f9 05 ef 01 56 f9"),
        vector("flags inside", .uih, 1, [0xF9, 0x07, 0xEF, 0x01, 0xF9], is: "f9 07 ef 0b f9 07 ef 01 f9 da f9"),
        vector("status", .uih, 0, [0xE3, 5, 7, 0x8D], is: "f9 03 ef 09 e3 05 07 8d fb f9"),
        vector(
            "status of a modem",
            .uih,
            0,
            isCommand: false,
            [0xE3, 5, 7, 0x8D],
            is: "f9 01 ef 09 e3 05 07 8d 9a f9"
        ),
        vector("close down", .uih, 0, [0xC3, 1], is: "f9 03 ef 05 c3 01 f2 f9"),
        vector("test", .uih, 0, [0x23, 7, 0x41, 0x42, 0x43], is: "f9 03 ef 0b 23 07 41 42 43 18 f9"),
        vector("not supported", .uih, 0, isCommand: false, [0x11, 3, 0x5B], is: "f9 01 ef 07 11 03 5b 70 f9"),
        vector("advanced SABM 0", .sabm, 0, [], .advanced, is: "7e 03 3f fc 7e"),
        vector("advanced SABM 1", .sabm, 1, [], .advanced, is: "7e 07 3f 89 7e"),
        vector("advanced UA 0", .ua, 0, [], .advanced, is: "7e 03 73 85 7e"),
        vector("advanced SABM 2 (gsm0710muxd)", .sabm, 2, [], .advanced, is: "7e 0b 3f 16 7e"),
        vector("advanced DISC 1 (gsm0710muxd)", .disc, 1, [], .advanced, is: "7e 07 53 c8 7e"),
        vector(
            "advanced answer to a status (gsm0710muxd)",
            .uih,
            0,
            [0xE1, 5, 7, 0x8D],
            .advanced,
            is: "7e 03 ef e1 05 07 8d 70 7e"
        ),
        vector("advanced command", .uih, 1, text("AT\r"), .advanced, is: "7e 07 ef 41 54 0d 05 7e"),
        vector(
            "advanced, escapes",
            .uih,
            1,
            [0x7E, 0x7D, 0x11, 0x13, 0x41],
            .advanced,
            is: "7e 07 ef 7d 5e 7d 5d 7d 31 7d 33 41 05 7e"
        ),
        Vector(
            name: "127 bytes",
            control: .uih,
            channel: 1,
            information: Array(repeating: 0x55, count: 127),
            octets: bytes("f9 07 ef ff") + Array(repeating: 0x55, count: 127) + [0x69, 0xF9]
        ),
        Vector(
            name: "128 bytes",
            control: .uih,
            channel: 1,
            information: Array(repeating: 0x55, count: 128),
            octets: bytes("f9 07 ef 00 01") + Array(repeating: 0x55, count: 128) + [0x9D, 0xF9]
        ),
        Vector(
            name: "1500 bytes",
            control: .uih,
            channel: 2,
            information: Array(repeating: 0x55, count: 1_500),
            octets: bytes("f9 0b ef b8 0b") + Array(repeating: 0x55, count: 1_500) + [0x98, 0xF9]
        ),
    ]

    @Test(arguments: vectors) func aFrameHasTheseOctets(vector: Vector) {
        var queue = ByteQueue()
        queue.append(vector.frame, vector.information.span, vector.option)
        #expect(queue.withSpan { span in span.indices.map { span[$0] } } == vector.octets)
    }

    @Test(arguments: vectors) func theseOctetsAreAFrame(vector: Vector) {
        #expect(
            decode(vector.octets, vector.option) == [Found(frame: vector.frame, information: vector.information)]
        )
    }

    @Test func theChecksumIsThatOfTheStandard() {
        var checksum = CMUXChecksum()
        for byte in "123456789".utf8 { checksum.add(byte) }
        #expect(checksum.octet == 0x2F)
        // The receiver's register ends with this (5.2.1.6).
        checksum.add(checksum.octet)
        #expect(checksum.octet == ~0xCF)
    }

    struct Found: Equatable {
        var frame: CMUXFrame
        var information: [UInt8]
    }

    /// All frames in `bytes`, given in `pieces`.
    private func decode(
        _ bytes: [UInt8],
        _ option: MultiplexerOption,
        maximumBytes: Int = 1_509,
        pieces: [Int] = []
    ) -> [Found] {
        var decoder = CMUXDecoder(option, maximumBytes: maximumBytes)
        var found: [Found] = []
        var rest = bytes[...]
        var pieces = pieces[...]
        while !rest.isEmpty {
            let piece = Array(rest.prefix(pieces.popFirst() ?? rest.count))
            rest = rest.dropFirst(piece.count)
            var position = 0
            while true {
                if let frame = decoder.receive(piece.span, from: &position) {
                    let information = decoder.withInformation { span in span.indices.map { span[$0] } }
                    found.append(Found(frame: frame, information: information))
                } else if rest.isEmpty, decoder.isInside {
                    // Nothing more comes.
                    decoder.abandon()
                } else {
                    break
                }
            }
        }
        return found
    }

    /// Frames as a modem may send them, and garbage in between that holds none.
    private func stream(_ random: inout SplitMix, _ option: MultiplexerOption) -> (bytes: [UInt8], frames: [Found]) {
        var bytes: [UInt8] = []
        var frames: [Found] = []
        for _ in 0..<12 {
            let count = Int.random(in: 0...3, using: &random) == 0 ? Int.random(in: 0...300, using: &random) : 5
            let information = (0..<count).map { _ in
                // Flags are frequent.
                Bool.random(using: &random) ? option.flag : UInt8.random(in: 0...255, using: &random)
            }
            let kind: CMUXControl = Bool.random(using: &random) ? .uih : .ui
            let frame = CMUXFrame(
                kind,
                channel: Int.random(in: 0...61, using: &random),
                isCommand: .random(using: &random)
            )
            var queue = ByteQueue()
            queue.append(frame, information.span, option)
            queue.withSpan { span in bytes += span.indices.map { span[$0] } }
            frames.append(Found(frame: frame, information: information))
            switch Int.random(in: 0...4, using: &random) {
            // The flag is shared, or there are many.
            case 0: bytes.removeLast()
            case 1: bytes += Array(repeating: option.flag, count: 5)
            case 2: bytes += Array("\r\nRDY\r\n".utf8)
            default: break
            }
        }
        return (bytes + [option.flag], frames)
    }

    @Test(arguments: [MultiplexerOption.basic, .advanced]) func howItIsCutDoesNotMatter(option: MultiplexerOption) {
        for seed in 1...100 as ClosedRange<UInt64> {
            var random = SplitMix(state: seed)
            let (bytes, frames) = stream(&random, option)
            #expect(decode(bytes, option) == frames, "seed \(seed)")
            #expect(decode(bytes, option, pieces: bytes.map { _ in 1 }) == frames, "seed \(seed), byte by byte")
            let pieces = bytes.map { _ in Int.random(in: 1...40, using: &random) }
            #expect(decode(bytes, option, pieces: pieces) == frames, "seed \(seed), in pieces")
        }
    }

    @Test(arguments: [MultiplexerOption.basic, .advanced]) func aDamagedFrameCostsNoOther(option: MultiplexerOption) {
        let letters: [UInt8] = [0x41, 0x42, 0x43, 0x44]
        let frames = (0..<3).map { number in
            var queue = ByteQueue()
            queue.append(CMUXFrame(.uih, channel: 1 + number), letters.span, option)
            return queue.withSpan { span in span.indices.map { span[$0] } }
        }
        let middle = frames[1]
        for position in middle.indices {
            // A byte is lost; a byte is another one: also the length, and the flags, which the neighbours have too.
            for byte in 0...256 where byte == 256 || UInt8(byte) != middle[position] {
                var damaged = middle
                damaged.remove(at: position)
                if byte < 256 { damaged.insert(UInt8(byte), at: position) }
                let found = decode(frames[0] + damaged + frames[2] + frames[2], option)
                #expect(found.first?.frame.channel == 1, "byte \(position) is \(byte)")
                #expect(found.last?.frame.channel == 3, "byte \(position) is \(byte)")
                // What stands directly behind may be lost with it, where it was joined to it by a flag that is none any more.
                #expect(found.count { $0.frame.channel == 3 } >= 1, "byte \(position) is \(byte)")
            }
        }
    }

    @Test func whatIsTooLongIsNone() {
        let long = Array(repeating: 0x55 as UInt8, count: 128)
        let nothing: [UInt8] = []
        for option in [MultiplexerOption.basic, .advanced] {
            var queue = ByteQueue()
            queue.append(CMUXFrame(.uih, channel: 1), long.span, option)
            queue.append(CMUXFrame(.uih, channel: 2), nothing.span, option)
            let bytes = queue.withSpan { span in span.indices.map { span[$0] } }
            #expect(decode(bytes, option, maximumBytes: 127).map(\.frame.channel) == [2])
            #expect(decode(bytes, option, maximumBytes: 128).map(\.frame.channel) == [1, 2])
        }
    }

    @Test func noiseIsCountedAndTakesNoMemory() {
        var random = SplitMix(state: 7)
        for option in [MultiplexerOption.basic, .advanced] {
            var decoder = CMUXDecoder(option, maximumBytes: 127)
            var count = 0
            for _ in 0..<2_000 {
                let piece = (0..<50).map { _ in UInt8.random(in: 0...255, using: &random) }
                var position = 0
                while decoder.receive(piece.span, from: &position) != nil { count += 1 }
                #expect(position == piece.count)
            }
            let (frames, damaged, noise) = (decoder.frames, decoder.damaged, decoder.noise)
            #expect(frames == count)
            #expect(damaged > 0)
            #expect(noise > 50_000)
        }
    }

    @Test func whatDoesNotGoOnIsGivenUp() {
        var decoder = CMUXDecoder(.basic, maximumBytes: 127)
        // A length octet was hit: the frame behind it seems to belong to the first.
        let bytes: [UInt8] = [0xF9, 0x07, 0xEF, 0xF1, 0x41, 0xF9, 0x0B, 0x3F, 0x01, 0x59, 0xF9]
        var position = 0
        let first = decoder.receive(bytes.span, from: &position)
        #expect(first == nil)
        let wasInside = decoder.isInside
        #expect(wasInside)
        decoder.abandon()
        let second = decoder.receive(bytes.span, from: &position)
        #expect(second == CMUXFrame(.sabm, channel: 2))
        let (isInside, damaged) = (decoder.isInside, decoder.damaged)
        #expect(!isInside && damaged == 1)
    }
}
