internal import Kernel

/// A call that waits for its device.
struct OpenCall {
    let finish: (Result<[UInt8], HubSimulatorError>) -> Void
    let timeout: Int?
}

/// Calls of the application that a device answers (topics `$rrpc/rxd` and `$rrpc/txd`), and broadcasts.
extension ServiceCore {
    static let callLimit = 1000
    static let longestCall: Duration = .seconds(60)
    static let maximumBroadcastBytes = 8192

    /// Calls a device; `finish` is called once, on the services' thread.
    func call(
        _ device: HubDeviceName,
        _ payload: [UInt8],
        processID: String?,
        timeout: Duration,
        finish: @escaping Finish
    ) throws(HubSimulatorError) {
        try requireDevice(device)
        guard payload.count <= maximumPayloadBytes else { throw .tooLong("the call", limit: maximumPayloadBytes) }
        if let processID,
            processID.isEmpty || processID.utf8.count > 64 || processID.contains(where: { "/+#".contains($0) })
        {
            throw .invalidRequest("a process ID is 1 to 64 bytes without /, + and #")
        }
        let processID = processID ?? "\(nextCall)"
        nextCall += 1
        let answerTopic = "$rrpc/txd/\(device)/\(processID)"
        try open(answerTopic, "a call of \(device)", timeout: timeout, finish: finish)
        let topic = "$rrpc/rxd/\(device)/\(processID)"
        send(ServiceAnswer(service: .rrpc, device: device, topic: topic, body: .bytes(payload)))
    }

    /// Begins to wait for an answer. `key` tells it from others; `what` says what was asked.
    func open(
        _ key: String,
        _ what: String,
        timeout: Duration,
        finish: @escaping Finish
    ) throws(HubSimulatorError) {
        guard calls.count < Self.callLimit else { throw .tooMany("open calls", limit: Self.callLimit) }
        guard calls[key] == nil else { throw .invalidRequest("\(what) like this is open already") }
        let timer = agenda.add(after: min(timeout, Self.longestCall)) { [weak self] in
            self?.calls.removeValue(forKey: key)?.finish(.failure(.noAnswer(what)))
        }
        guard let timer else { throw .tooMany("things to do", limit: Agenda.limit) }
        calls[key] = OpenCall(finish: finish, timeout: timer)
    }

    func finishCall(_ message: ServiceMessage) {
        let topic = "\(message.root)/\(message.device)/\(message.tail ?? "")"
        guard let call = calls.removeValue(forKey: topic) else {
            statistics.lateCallAnswers += 1
            return
        }
        agenda.cancel(call.timeout)
        call.finish(.success(message.payload))
    }

    /// Ends all calls, since the hub stops.
    func endCalls() {
        let open = calls.values
        calls = [:]
        for call in open {
            agenda.cancel(call.timeout)
            call.finish(.failure(.notRunning))
        }
    }

    /// Sends to each device of a product that is online; returns how many these are.
    func broadcast(_ productID: String, _ payload: [UInt8]) throws(HubSimulatorError) -> Int {
        guard payload.count <= Self.maximumBroadcastBytes else {
            throw .tooLong("the broadcast", limit: Self.maximumBroadcastBytes)
        }
        let devices = registry.devices.filter { $0.productID == productID }
        guard !devices.isEmpty else { throw .unknownDevice("\(productID)/…") }
        let online = devices.map { HubDeviceName($0.productID, $0.deviceName) }.filter { isOnline($0) }
        for device in online {
            let topic = "$broadcast/rxd/\(device)"
            send(ServiceAnswer(service: .broadcast, device: device, topic: topic, body: .bytes(payload), qos: 1))
        }
        return online.count
    }

    /// Whether a device has a connection, or is online behind a gateway.
    func isOnline(_ device: HubDeviceName) -> Bool {
        record.statistics(of: device.clientID).connections > 0
            || onlineSubDevices.values.contains { $0.contains(device) }
    }
}
