internal import MQTTClient
internal import QCloudIoTHub

/// A device that reports the machine's telemetry at an interval and answers the hub's control messages.
struct ReportingDevice<Client: HubMessaging>: Sendable {
    let device: HubMQTTDevice<Client>
    let status: DeviceStatus

    /// Runs until the task is cancelled. Throws when the first login fails, or for good.
    func run() async throws(Client.Failure) {
        status.update { $0.login = "connecting" }
        do throws(Client.Failure) {
            try await device.connect()
        } catch {
            status.update {
                $0.login = "failed"
                $0.lastError = sentence(for: error)
            }
            throw error
        }
        status.update {
            $0.login = "ok"
            $0.hasLoggedIn = true
        }
        let controls = try await device.controls()
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await self.watch() }
            group.addTask { await self.report() }
            group.addTask { for await message in controls { await self.handle(message) } }
            await group.next()
            group.cancelAll()
        }
        await device.disconnect()
    }

    private func watch() async {
        for await state in device.client.connectionStates {
            status.update { counters in
                switch state {
                case .connecting: break
                case .connected: counters.login = "ok"
                case .waiting(after: let error):
                    counters.login = "reconnecting"
                    counters.lastError = sentence(for: error)
                case .disconnected(let error):
                    counters.login = "over"
                    if !Task.isCancelled { counters.lastError = sentence(for: error) }
                case .subscriptionLost(let filter): counters.lastError = "the hub no longer grants \(filter)"
                }
            }
        }
    }

    /// Reports go out at the interval even while earlier ones wait for their acknowledgement; the client's limit bounds them.
    private func report() async {
        await withDiscardingTaskGroup { group in
            var sequence = 0
            while !Task.isCancelled {
                sequence += 1
                let payload = Telemetry(sequence: sequence).json()
                group.addTask { [sequence] in await self.publish(payload, sequence) }
                try? await Task.sleep(for: status.snapshot.interval)
            }
        }
    }

    private func publish(_ payload: [UInt8], _ sequence: Int) async {
        let start = ContinuousClock.now
        status.update { $0.published += 1 }
        do {
            try await device.reportEvent(payload)
            status.acknowledged(sequence, after: ContinuousClock.now - start)
        } catch { status.update { if !Task.isCancelled { $0.lastError = sentence(for: error) } } }
    }

    private func handle(_ message: MQTTMessage) async {
        guard let control = Control(message.payload) else {
            return status.update { $0.lastError = "the hub sent what is no control message" }
        }
        status.update { $0.apply(control) }
        // If the connection breaks now, the reply waits for the next.
        try? await device.reportEvent(control.reply)
    }
}

/// What the hub tells a device of the demo: `{"token": TEXT, "interval": MILLISECONDS}`.
struct Control {
    let token: String
    let interval: Duration
    private let milliseconds: Double

    /// A control message from its JSON; `nil` if it is none.
    init?(_ json: some Sequence<UInt8>) {
        guard let object = JSONObject(parsing: json), let token = object.string("token"),
            let interval = object.number("interval"), (1...86_400_000).contains(interval)
        else { return nil }
        self.token = token
        milliseconds = interval
        self.interval = .milliseconds(Int64(interval))
    }

    /// The event that answers it.
    var reply: [UInt8] {
        let object = JSONObject()
        object.set("type", "control_reply")
        object.set("token", token)
        object.set("interval", milliseconds)
        return object.text()
    }
}

extension DeviceCounters {
    mutating func apply(_ control: Control) {
        received += 1
        interval = control.interval
    }
}
