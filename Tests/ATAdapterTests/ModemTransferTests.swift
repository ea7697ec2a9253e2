import ModemScenarios
import ModemSimulator
import Testing

/// How much of what the line and a dialect's framing allow a stream gets, in virtual time.
@Suite struct ModemTransferTests {
    @Test(.timeLimit(.minutes(2)), arguments: ModemDialect.allCases, ModemTransfer.Direction.allCases)
    func nineTenthsOfWhatTheFramingAllowsAreUsed(dialect: ModemDialect, direction: ModemTransfer.Direction) throws {
        for baudRate in [115_200, 921_600] {
            let transfer = ModemTransfer(dialect, direction, baudRate: baudRate)
            let share = try #require(transfer.bytesPerSecond()) / transfer.possibleBytesPerSecond()
            #expect(0.9...1.02 ~= share, "\(dialect) \(direction) at \(baudRate): \(Int(share * 100)) %")
        }
    }
}
