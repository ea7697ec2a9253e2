internal import Kernel

/// What waits for the firmware, and what it is subscribed to.
extension ModemMQTTSession {
    struct Request {
        enum Kind { case publish, subscribe, unsubscribe, listen, info, read }

        let id: ModemMQTTRequestID
        let kind: Kind
        let line: [UInt8]
        /// What the prompt is answered with.
        var payload: [UInt8] = []
        /// Of a publish with QoS 0: it neither waits for a connection, nor is it repeated.
        var isUnkept = false
        /// The topic filter of a subscription, or of its end.
        var filter: [UInt8] = []
        var attempts = 0
    }

    struct Subscription {
        let filter: [UInt8]
        let line: [UInt8]
        var isGranted = false
        /// The server is to be asked for it again.
        var isDue = false
    }

    // MARK: Asking

    mutating func publish(
        topic: Span<UInt8>,
        payload: Span<UInt8>,
        qos: ModemMQTTQoS
    ) throws(ModemMQTTError) -> ModemMQTTRequestID {
        let command = try commands.publish(topic: topic, payload: payload, qos: qos)
        let isUnkept = qos == .atMostOnce
        if isUnkept, phase != .up { throw .notConnected }
        return try add(.publish, command.line, payload: command.payload, isUnkept: isUnkept)
    }

    mutating func subscribe(to filter: Span<UInt8>, qos: ModemMQTTQoS) throws(ModemMQTTError) -> ModemMQTTRequestID {
        let line = try commands.subscribe(filter, qos: qos)
        let name = [UInt8](copying: filter)
        let index = index(of: name)
        let limit = commands.traits.subscriptions
        if index == nil, subscriptions.count >= limit { throw .tooManySubscriptions(limit: limit) }
        let id = try add(.subscribe, line, filter: name)
        // Until it is granted, it is not asked for again after a reconnect: its request waits.
        let subscription = Subscription(filter: name, line: line)
        if let index { subscriptions[index] = subscription } else { subscriptions.append(subscription) }
        return id
    }

    mutating func unsubscribe(from filter: Span<UInt8>) throws(ModemMQTTError) -> ModemMQTTRequestID {
        try add(.unsubscribe, try commands.unsubscribe(filter), filter: [UInt8](copying: filter))
    }

    mutating func listen(version: Span<UInt8>) throws(ModemMQTTError) -> ModemMQTTRequestID {
        guard let line = commands.listen(version: version) else { throw .invalidConfiguration }
        return try add(.listen, line)
    }

    mutating func firmwareInfo() throws(ModemMQTTError) -> ModemMQTTRequestID {
        var line: [UInt8] = []
        line.append("AT+TCFWINFO?")
        return try add(.info, line)
    }

    mutating func readFirmware(_ count: Int) throws(ModemMQTTError) -> ModemMQTTRequestID {
        guard (1...4_096).contains(count) else { throw .invalidConfiguration }
        return try add(.read, commands.read(count))
    }

    private mutating func add(
        _ kind: Request.Kind,
        _ line: [UInt8],
        payload: [UInt8] = [],
        isUnkept: Bool = false,
        filter: [UInt8] = []
    ) throws(ModemMQTTError) -> ModemMQTTRequestID {
        guard phase != .leaving else { throw .disconnected }
        guard requests.count < configuration.requests else { throw .queueFull(limit: configuration.requests) }
        lastID &+= 1
        requests.append(
            Request(id: lastID, kind: kind, line: line, payload: payload, isUnkept: isUnkept, filter: filter)
        )
        return lastID
    }

    // MARK: Results

    mutating func requestEnded(_ id: ModemMQTTRequestID, _ failure: ModemMQTTError?, at now: Duration) {
        // It may have failed together with all others.
        guard let index = requests.firstIndex(where: { $0.id == id }) else { return }
        requests[index].attempts += 1
        let request = requests[index]
        if let failure {
            // The firmware knows better than we do.
            if case .failed(let code) = failure, code.isOfConnection { asksAt = now }
            if request.mayRepeat, request.attempts < configuration.attempts, failure.isPassing {
                resumesAt = now + .milliseconds(250 << min(request.attempts, 6))
                return
            }
        }
        requests.remove(at: index)
        finish(request, failure)
    }

    private mutating func finish(_ request: Request, _ failure: ModemMQTTError?) {
        if let failure {
            if request.kind == .subscribe { subscriptions.removeAll { $0.filter == request.filter } }
            outputs.append(.failed(request.id, failure))
            return
        }
        switch request.kind {
        case .publish: outputs.append(.published(request.id))
        case .subscribe:
            if let index = index(of: request.filter) { subscriptions[index].isGranted = true }
            outputs.append(.subscribed(request.id))
        case .unsubscribe:
            subscriptions.removeAll { $0.filter == request.filter }
            outputs.append(.unsubscribed(request.id))
        case .listen: outputs.append(.listens(request.id))
        // What they have brought was told, and it was all there.
        case .info, .read: break
        }
    }

    /// Fails all that waits.
    mutating func failAll(_ error: ModemMQTTError) {
        let failed = requests
        requests = []
        for request in failed { finish(request, error) }
    }

    /// The connection is lost: what does not wait for the next one fails, but for what is in flight.
    mutating func failUnkept() {
        for index in subscriptions.indices { subscriptions[index].isDue = subscriptions[index].isGranted }
        let all = requests
        requests = []
        for request in all {
            if request.mayWait || work == .request(request.id) {
                requests.append(request)
            } else {
                finish(request, .notConnected)
            }
        }
    }

    // MARK: Subscriptions

    private func index(of filter: [UInt8]) -> Int? { subscriptions.firstIndex { $0.filter == filter } }

    /// The next subscription that the server is asked for again.
    mutating func subscriptionAgain(_ command: inout ATCommand) -> [UInt8]? {
        guard let index = subscriptions.firstIndex(where: { $0.isDue }) else { return nil }
        command.line = subscriptions[index].line
        return subscriptions[index].filter
    }

    mutating func subscribedAgain(_ filter: [UInt8], _ failure: ModemMQTTError?, at now: Duration) {
        guard phase == .up, let index = index(of: filter) else { return }
        if let failure {
            // A firmware that cannot now is given a fresh connection.
            if failure.isPassing { return lost(failure, at: now) }
            subscriptions.remove(at: index)
            outputs.append(.subscriptionLost(filter, failure))
        } else {
            subscriptions[index].isDue = false
        }
    }
}

extension ModemMQTTSession.Request {
    /// Whether it can be given to the firmware twice: a part of an image that was read is gone.
    var mayRepeat: Bool { !isUnkept && kind != .read }

    /// Whether it waits for the next connection.
    var mayWait: Bool { !isUnkept }
}

extension ModemMQTTError {
    /// Whether it may help to try again.
    var isPassing: Bool {
        switch self {
        case .unanswered: return true
        case .failed(let code): return code.isPassing
        case .modem(let error):
            switch error {
            case .busy, .deviceRestarted, .timedOut, .cancelled: return true
            default: return false
            }
        default: return false
        }
    }
}
