internal import Kernel
internal import MQTTClient

// What the hub says, and what follows from it.
extension HubGateway {
    // MARK: The connection

    /// There is a connection: sub-devices that were online are said to be so again, one after another.
    public func connected(at now: Duration) {
        isConnected = true
        if !toRestore.isEmpty { restoreNext(at: now) }
    }

    /// There is none any more, so all sub-devices are offline.
    public func disconnected(at now: Duration) {
        isConnected = false
        restoreAt = nil
        outgoing = []
        if configuration.restoresSubDevices {
            for device in online where !toRestore.contains(device) { toRestore.append(device) }
        }
        online = []
        for request in requests.removeAll() {
            // What was about to be restored still is.
            if request.isRestoring {
                for device in request.open where !toRestore.contains(device) { toRestore.append(device) }
            } else {
                fail(request, .disconnected)
            }
        }
    }

    func restoreNext(at now: Duration) {
        restoreAt = nil
        guard isConnected, let device = toRestore.first else { return }
        do throws(HubServiceError) {
            try ask(.online, device, device.message, isRestoring: true, at: now)
            toRestore.removeFirst()
        } catch {
            switch error {
            case .tooManyRequests: break
            case .busy:
                // The user has asked for the same.
                toRestore.removeFirst()
            default:
                toRestore.removeFirst()
                events.append(.lost(device, error))
            }
        }
        if !toRestore.isEmpty { restoreAt = now + configuration.restoreInterval }
    }

    func fail(_ request: Request, _ error: HubServiceError) {
        guard request.isRestoring else { return events.append(.failed(request.id, error)) }
        for device in request.open { events.append(.lost(device, error)) }
    }

    // MARK: Messages

    /// Takes an answer, or what the hub has to say; returns whether it was of any use.
    public func receive(topic: Span<UInt8>, payload: Span<UInt8>, at now: Duration) -> Bool {
        guard let message = JSONValue(message: payload), let type = message["type"] else { return false }
        let payload = message["payload"] ?? .null
        if type.isText("online") { return answered(.online, payload) }
        if type.isText("offline") { return answered(.offline, payload) }
        // The documents show the answer to an unbind with this type.
        if type.isText("bind") { return answered(.bind, payload) || answered(.unbind, payload) }
        if type.isText("unbind") { return answered(.unbind, payload) }
        if type.isText("describe_sub_devices") { return described(payload) }
        if type.isText("change") { return changed(payload) }
        if type.isText("search_devices") { return search(payload) }
        if type.isText("unbind_all") { return unboundAll() }
        return false
    }

    private func answered(_ operation: Operation, _ payload: JSONValue) -> Bool {
        guard case .array(let entries) = payload["devices"] else { return false }
        var isUsed = false
        for entry in entries {
            guard let device = HubSubDevice(entry), let number = entry["result"]?.integer,
                var request = requests.remove({ $0.operation == operation && $0.open.contains(device) })
            else { continue }
            isUsed = true
            let result = HubSubDeviceResult(device, HubResult(rawValue: number))
            request.open.removeAll { $0 == device }
            request.results.append(result)
            note(result, of: request)
            if !request.open.isEmpty {
                requests.append(request)
            } else if !request.isRestoring {
                events.append(.completed(request.id, request.results))
            }
        }
        return isUsed
    }

    /// What an answer says of who is online.
    private func note(_ answer: HubSubDeviceResult, of request: Request) {
        let device = answer.device
        let isDone = answer.result == .done
        switch request.operation {
        case .online:
            if isDone, !online.contains(device) { online.append(device) }
            guard request.isRestoring else { return }
            events.append(isDone ? .restored(device) : .lost(device, .rejected(answer.result)))
        case .offline, .unbind: if isDone { online.removeAll { $0 == device } }
        case .bind, .describe: break
        }
    }

    private func described(_ payload: JSONValue) -> Bool {
        guard let request = requests.remove({ $0.operation == .describe }) else {
            // With nobody asking, it is a question of the hub's.
            var answer = JSONValue.emptyObject
            answer.set("devices", Self.list(online))
            say("change", answer)
            return true
        }
        var results: [HubSubDeviceResult] = []
        for device in Self.devices(payload) { results.append(HubSubDeviceResult(device, .done)) }
        events.append(.completed(request.id, results))
        return true
    }

    private func changed(_ payload: JSONValue) -> Bool {
        let devices = Self.devices(payload)
        guard let status = payload["status"]?.integer, status == 0 || status == 1, !devices.isEmpty else {
            return false
        }
        var entries: [JSONValue] = []
        for device in devices {
            if status == 0 { forget(device) }
            var entry = device.message
            entry.set("result", .integer(0))
            entries.append(entry)
        }
        events.append(.changed(isBound: status == 1, devices))
        var answer = JSONValue.emptyObject
        answer.set("status", .integer(status))
        answer.set("devices", .array(entries))
        say("change", answer)
        return true
    }

    private func search(_ payload: JSONValue) -> Bool {
        guard let status = payload["status"]?.integer, status == 0 || status == 1 else { return false }
        events.append(.search(isOn: status == 1))
        var answer = JSONValue.emptyObject
        answer.set("status", .integer(status))
        answer.set("result", .integer(0))
        say("search_devices", answer)
        return true
    }

    private func unboundAll() -> Bool {
        online = []
        toRestore = []
        restoreAt = nil
        events.append(.unboundAll)
        var answer = JSONValue.emptyObject
        answer.set("result", .integer(0))
        say("unbind_all", answer)
        return true
    }

    private func forget(_ device: HubSubDevice) {
        online.removeAll { $0 == device }
        toRestore.removeAll { $0 == device }
    }

    /// Answers the hub. Nobody waits for what becomes of it; of many, the newest count.
    private func say(_ type: StaticString, _ payload: JSONValue) {
        var message = JSONValue.emptyObject
        message.set("type", .string(type))
        message.set("payload", payload)
        guard isConnected, let text = try? message.message(limit: HubLimits.messageBytes) else { return }
        if outgoing.count >= configuration.maximumRequests * 2 { outgoing.removeFirst() }
        outgoing.append(HubPublish(topic: upTopic, payload: text, qos: .atMostOnce, request: 0))
    }

    private static func list(_ devices: [HubSubDevice]) -> JSONValue {
        var entries: [JSONValue] = []
        for device in devices { entries.append(device.message) }
        return .array(entries)
    }

    private static func devices(_ payload: JSONValue) -> [HubSubDevice] {
        guard case .array(let entries) = payload["devices"] else { return [] }
        var devices: [HubSubDevice] = []
        for entry in entries { if let device = HubSubDevice(entry) { devices.append(device) } }
        return devices
    }
}
