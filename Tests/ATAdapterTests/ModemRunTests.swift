import Foundation
import ModemScenarios
import ModemSimulator
import Testing

/// Random runs of all dialects in virtual time, under random faults: see `ModemRun`. `make model-modem` has a thousand of each.
@Suite struct ModemRunTests {
    /// `MODEM_RUN=quectel:42` repeats one run, with all that happens in it.
    private static let repeated = ProcessInfo.processInfo.environment["MODEM_RUN"].map { $0.split(separator: ":") }

    @Test(.timeLimit(.minutes(2)), arguments: ModemDialect.allCases)
    func nothingIsLostInventedOrWaitedForInVain(dialect: ModemDialect) {
        if let repeated = Self.repeated {
            guard repeated.first == dialect.rawValue[...], let seed = repeated.last.flatMap({ UInt64($0) }) else {
                return
            }
            let run = ModemRun(dialect, seed: seed) { print($0) }
            run.run()
            #expect(run.failures.isEmpty)
            return
        }
        var completeCount = 0
        for seed in 0..<UInt64(20) {
            let run = ModemRun(dialect, seed: seed)
            run.run()
            completeCount += run.completeCount
            #expect(run.failures.isEmpty, "again with MODEM_RUN=\(dialect.rawValue):\(seed)")
        }
        // Faults do not stop everything.
        #expect(completeCount > 30)
    }
}
