// Random events against the model of the QoS rules: model-mqtt [STEPS], ten million unless given.
import MQTTScenarios

let steps = CommandLine.arguments.count > 1 ? Int(CommandLine.arguments[1]) ?? 0 : 10_000_000
precondition(steps > 0, "usage: model-mqtt [STEPS]")
let stepsPerRun = 2_000
var completed = 0
var delivered = 0
for run in 0..<max(1, steps / stepsPerRun) {
    let model = SessionModel(seed: UInt64(run), isVersion5: run & 1 == 1, losesSessions: run & 2 == 2)
    model.run(steps: stepsPerRun)
    completed += model.completedCount
    delivered += model.deliveredCount
    guard model.failures.isEmpty else { fatalError("seed \(run): \(model.failures.joined(separator: "; "))") }
    if run % 500 == 499 {
        print("\((run + 1) * stepsPerRun) steps: \(completed) messages published, \(delivered) delivered")
    }
}
print("\(steps) steps: nothing lost, nothing twice")
