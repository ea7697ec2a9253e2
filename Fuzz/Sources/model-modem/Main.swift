// Random runs of the modem module in virtual time, under random faults: model-modem [RUNS], 1,000 of each dialect unless given, or
// model-modem DIALECT SEED for one, with all that happens in it.
import Glibc
import ModemScenarios
import ModemSimulator

let words = CommandLine.arguments.dropFirst()
if words.count == 2, let dialect = words.first.flatMap({ ModemDialect(rawValue: $0) }),
    let seed = words.last.flatMap({ UInt64($0) })
{
    let run = ModemRun(dialect, seed: seed) { print($0) }
    run.run()
    if !run.failures.isEmpty { exit(1) }
} else {
    let count = words.isEmpty ? 1_000 : words.first.flatMap { UInt64($0) } ?? 0
    precondition(count > 0 && words.count < 2, "usage: model-modem [RUNS] | DIALECT SEED")
    var hasFailed = false
    for dialect in ModemDialect.allCases {
        var (complete, errors, bytes, failures, longest) = (0, 0, 0, 0, Duration.zero)
        for seed in 0..<count {
            let run = ModemRun(dialect, seed: seed)
            run.run()
            complete += run.completeCount
            errors += run.errorCount
            bytes += run.byteCount
            longest = max(longest, run.duration)
            if run.failures.isEmpty { continue }
            failures += 1
            print("model-modem \(dialect.rawValue) \(seed): \(run.failures.joined(separator: "; "))")
        }
        print(
            "\(dialect.rawValue): \(count) runs, \(failures) failed; streams: \(complete) complete, \(errors) others;",
            "\(bytes) bytes; the longest run took \(longest.components.seconds) s of virtual time"
        )
        fflush(nil)
        hasFailed = hasFailed || failures > 0
    }
    if hasFailed { exit(1) }
}
