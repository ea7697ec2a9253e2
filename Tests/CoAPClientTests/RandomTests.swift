import Testing

@testable import CoAPClient

@Suite struct RandomTests {
    /// SipHash-2-4, as `openssl mac -macopt hexkey:… -macopt size:8 SIPHASH` of OpenSSL 3.0 computes it; the first is also in the
    /// reference implementation's vectors.
    @Test(
        arguments: [
            (0x0706_0504_0302_0100, 0x93F5_F579_9A93_2462, 0x0706_0504_0302_0100, 0x0F0E_0D0C_0B0A_0908),
            (0, 0x39D3_851C_A076_81A7, 0x0706_0504_0302_0100, 0x0F0E_0D0C_0B0A_0908),
            (1, 0xB96C_8BBC_9162_C06F, 0x8899_AABB_CCDD_EEFF, 0x0011_2233_4455_6677),
        ] as [(UInt64, UInt64, UInt64, UInt64)]
    )
    func numbersAreThoseOfSipHash(word: UInt64, hash: UInt64, high: UInt64, low: UInt64) {
        #expect(CoAPRandom.sipHash(word, CoAPSeed(high, low)) == hash)
    }

    @Test func messageIDsGoRoundAndAreNotReusedWithinTheirLifetime() {
        var messageIDs = MessageIDs(first: 65_000)
        var seen = Set<UInt16>()
        // All but the rest of the first block, at least, before it has to wait.
        while messageIDs.blockedUntil(at: .seconds(1)) == nil {
            let isNew = seen.insert(messageIDs.take(at: .seconds(1), lifetime: .seconds(247))).inserted
            #expect(isNew)
        }
        let count = seen.count
        #expect(count > 61_440)
        #expect(messageIDs.blockedUntil(at: .seconds(247)) == .seconds(248))
        #expect(messageIDs.blockedUntil(at: .seconds(248)) == nil)
        #expect(messageIDs.take(at: .seconds(248), lifetime: .seconds(247)) == 61_440)
    }
}
