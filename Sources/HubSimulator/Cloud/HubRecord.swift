internal import CcJSON
internal import Kernel

/// What devices did, and who wants to know.
final class HubRecord: Sendable {
    typealias Handler = @Sendable (HubEvent) -> Void

    private struct State {
        var statistics: [String: DeviceStatistics] = [:]
        var refusals: [HubRefusal] = []
        var handlers: [Int: Handler] = [:]
        var nextHandler = 0
        /// The broker whose connections are counted.
        var broker: Int32 = 0
        /// Control messages for devices that have no MQTT connection and may come by CoAP.
        var waiting: [String: [[UInt8]]] = [:]
    }

    static let refusalLimit = 1000
    static let waitingLimit = 16

    private let registry: DeviceRegistry
    private let state = Guarded(State())

    init(registry: DeviceRegistry) { self.registry = registry }

    var refusals: [HubRefusal] { state.withLock { $0.refusals } }

    func statistics(of clientID: String) -> DeviceStatistics {
        state.withLock { $0.statistics[clientID] ?? DeviceStatistics() }
    }

    /// Returns a number for ``removeHandler(_:)``.
    func addHandler(_ handler: @escaping Handler) -> Int {
        state.withLock { state in
            state.nextHandler += 1
            state.handlers[state.nextHandler] = handler
            return state.nextHandler
        }
    }

    func removeHandler(_ number: Int) { state.withLock { _ = $0.handlers.removeValue(forKey: number) } }

    /// A broker starts: connections of the one before are no more.
    func beginBroker(_ processID: Int32) {
        state.withLock { state in
            state.broker = processID
            for clientID in state.statistics.keys { state.statistics[clientID]?.connections = 0 }
        }
    }

    /// Keeps a control message until the device comes by CoAP; the oldest go first when there are too many.
    func keepForCoAP(_ payload: [UInt8], clientID: String) {
        state.withLock { state in
            guard state.statistics[clientID, default: DeviceStatistics()].connections == 0 else { return }
            var waiting = state.waiting[clientID, default: []]
            if waiting.count == Self.waitingLimit { waiting.removeFirst() }
            state.waiting[clientID] = waiting + [payload]
        }
    }

    /// Takes the oldest control message that waits for the device.
    func nextForCoAP(clientID: String) -> [UInt8]? {
        state.withLock { state in
            guard var waiting = state.waiting[clientID], !waiting.isEmpty else { return nil }
            let payload = waiting.removeFirst()
            state.waiting[clientID] = waiting.isEmpty ? nil : waiting
            return payload
        }
    }

    /// Takes what the cloud's MQTT client got.
    func receive(topic: String, payload: [UInt8], qos: Int) {
        if topic == "$hub/event" {
            if let (event, broker) = Self.event(of: payload) { take(event, broker: broker) }
            return
        }
        guard let (productID, deviceName) = Self.device(of: topic), topic != "\(productID)/\(deviceName)/control" else {
            return  // what the hub itself sent
        }
        take(
            .message(
                HubMessage(
                    productID: productID,
                    deviceName: deviceName,
                    topic: topic,
                    payload: payload,
                    qos: qos,
                    way: .mqtt
                )
            )
        )
    }

    /// Counts an event and tells everyone. `broker` is where it comes from; 0 if that does not matter.
    func take(_ event: HubEvent, broker: Int32 = 0) {
        let clientID =
            switch event {
            case .message(let message): message.productID + message.deviceName
            case .loggedIn(let clientID, _), .disconnected(let clientID): clientID
            case .refused(let refusal): refusal.clientID
            }
        let isKnown = registry.device(clientID: clientID) != nil
        let handlers = state.withLock { state in
            if case .refused(let refusal) = event {
                if state.refusals.count == Self.refusalLimit { state.refusals.removeFirst() }
                state.refusals.append(refusal)
            }
            if isKnown {  // others could be any number
                state.statistics[clientID, default: DeviceStatistics()]
                    .count(event, connectionsToo: broker == state.broker)
            }
            return state.handlers.sorted { $0.key < $1.key }.map(\.value)
        }
        for handler in handlers { handler(event) }
    }

    /// Reads what the plugin publishes.
    private static func event(of payload: [UInt8]) -> (HubEvent, broker: Int32)? {
        let json = payload.withUnsafeBufferPointer { bytes in
            bytes.withMemoryRebound(to: CChar.self) { cJSON_ParseWithLength($0.baseAddress, $0.count) }
        }
        guard let json else { return nil }
        defer { cJSON_Delete(json) }
        func text(_ name: String) -> String {
            cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, name)).map { String(cString: $0) } ?? ""
        }
        let broker = cJSON_GetObjectItemCaseSensitive(json, "broker")?.pointee.valueint ?? 0
        let clientID = text("client")
        switch text("event") {
        case "login": return (.loggedIn(clientID: clientID, address: text("address")), broker)
        case "disconnected": return (.disconnected(clientID: clientID), broker)
        case "refused":
            let refusal = HubRefusal(
                clientID: clientID,
                reason: HubRefusal.Reason(rawValue: text("reason")),
                detail: text("detail"),
                address: text("address")
            )
            return (.refused(refusal), broker)
        default: return nil
        }
    }

    /// Which device a topic belongs to: `P/D/…`, `$…/P/D` or `$rrpc/txd/P/D/process`.
    private static func device(of topic: String) -> (productID: String, deviceName: String)? {
        let levels = topic.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
        guard topic.hasPrefix("$") else {
            return levels.count >= 3 ? (levels[0], levels[1]) : nil
        }
        let own = topic.hasPrefix("$rrpc/") ? levels.dropLast() : levels[...]
        return own.count >= 4 ? (own[own.count - 2], own[own.count - 1]) : nil
    }
}

extension DeviceStatistics {
    fileprivate mutating func count(_ event: HubEvent, connectionsToo: Bool) {
        switch event {
        case .message: messages += 1
        case .loggedIn:
            logins += 1
            if connectionsToo { connections += 1 }
        case .disconnected: if connectionsToo { connections = max(0, connections - 1) }
        case .refused: refusals += 1
        }
    }
}
