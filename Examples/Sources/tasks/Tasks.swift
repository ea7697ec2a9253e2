import Kernel

@main struct Tasks {
    static func main() async throws {
        let readings = MessageQueue<Int>(capacity: 16)
        let sensor = try KernelTask("sensor", priority: .highest) {
            for reading in 1...3 { try? readings.send(reading) }
        }
        print(try await readings.receive(), try await readings.receive(.seconds(1)))
        try await sensor.join()
    }
}
