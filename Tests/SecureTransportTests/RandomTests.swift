import Kernel
import SecureTransport
import Testing

/// Where random numbers come from, and sources of noise that have failed.
@Suite struct RandomTests {
    /// A source of noise that a test says what is wrong with.
    private final class Source: Sendable {
        let state = Guarded((generator: UInt64(88_172_645_463_325_252), asked: 0, fault: Fault.none))
        enum Fault: Sendable { case none, silent, short, stuck, biased }

        init(_ fault: Fault = .none) { state.withLock { $0.fault = fault } }

        func noise(_ count: Int) -> [UInt8] {
            state.withLock { state in
                state.asked += count
                let bytes = (0..<count).map { _ in
                    state.generator ^= state.generator << 13
                    state.generator ^= state.generator >> 7
                    state.generator ^= state.generator << 17
                    return UInt8(truncatingIfNeeded: state.generator)
                }
                switch state.fault {
                case .none: return bytes
                case .silent: return []
                case .short: return Array(bytes.dropLast())
                case .stuck: return [UInt8](repeating: 0xFF, count: count)
                // Seven of ten are the same, never many in a row.
                case .biased: return bytes.enumerated().map { $0 % 10 < 7 ? 0 : $1 }
                }
            }
        }
    }

    @Test func theSystemsAreNeverTheSame() throws {
        var seen: Set<[UInt8]> = []
        for _ in 0..<1_000 { seen.insert(try SecureRandom.system.bytes(16)) }
        #expect(seen.count == 1_000)
        #expect(try SecureRandom.system.bytes(0) == [])
        #expect(try SecureRandom.system.bytes(1_024).count == 1_024)
        #expect(throws: RandomError.tooMany(1_025)) { try SecureRandom.system.bytes(1_025) }
    }

    @Test func numbersDependOnTheNoiseAndOnWhoAsks() throws {
        func first(_ personal: [UInt8]) throws -> [UInt8] {
            let source = Source()
            return try SecureRandom(personal: personal) { source.noise($0) }.bytes(32)
        }
        #expect(try first([1]) == first([1]))
        #expect(try first([1]) != first([2]))
    }

    @Test func aBadSourceIsNotUsed() {
        for (fault, error) in [
            (.silent, .noNoise), (.short, .noNoise), (.stuck, .unhealthyNoise), (.biased, .unhealthyNoise),
        ] as [(Source.Fault, RandomError)] {
            let source = Source(fault)
            #expect(throws: error) { try SecureRandom { source.noise($0) } }
        }
    }

    @Test func aSourceThatBreaksLaterIsNoticedWhenItIsAskedAgain() throws {
        let source = Source()
        let random = try SecureRandom { source.noise($0) }
        #expect(source.state.withLock { $0.asked } >= 1_024)
        source.state.withLock { $0.fault = .stuck }
        // A seed is good for so many requests.
        for _ in 0..<10_000 { _ = try random.bytes(4) }
        #expect(throws: RandomError.unhealthyNoise) { try random.bytes(4) }
        // It does not recover by itself: a source that fails now and then is broken.
        source.state.withLock { $0.fault = .none }
        #expect(throws: RandomError.unhealthyNoise) { try random.bytes(4) }
    }
}
