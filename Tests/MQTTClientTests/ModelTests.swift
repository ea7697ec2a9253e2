import MQTTScenarios
import Testing

/// Random events against a model of the rules; `make model` runs ten million.
@Suite struct ModelTests {
    @Test(arguments: [false, true], [false, true])
    func nothingIsLostOrDoubled(isVersion5: Bool, losesSessions: Bool) {
        var completed = 0
        for seed in 1...40 as ClosedRange<UInt64> {
            let model = SessionModel(seed: seed, isVersion5: isVersion5, losesSessions: losesSessions)
            model.run(steps: 500)
            #expect(model.failures.isEmpty, "seed \(seed): \(model.failures.first ?? "")")
            completed += model.completedCount
            if !model.failures.isEmpty { break }
        }
        #expect(completed > 1_000)
    }
}
