internal import Kernel

// What the hub says, and what follows from it.
extension HubShadow {
    // MARK: The connection

    /// There is a connection: what was missed is asked for, then what was reported meanwhile is sent.
    public func connected(at now: Duration) {
        isConnected = true
        toldVersion = nil
        retryAt = nil
        retryDelay = configuration.firstRetry
        mustSynchronize = configuration.getsAfterConnect
        synchronize(at: now)
    }

    /// There is none any more: what waits fails, what was reported is kept.
    public func disconnected(at now: Duration) {
        isConnected = false
        retryAt = nil
        outgoing = []
        for request in requests.removeAll() { fail(request, .disconnected, at: now) }
    }

    /// Gets the document if that is due, or else sends what was reported.
    func synchronize(at now: Duration) {
        guard isConnected else { return }
        guard mustSynchronize else { return sendReport(at: now) }
        for request in requests.all where request.purpose == .synchronization { return }
        do throws(HubServiceError) {
            try ask(.get(metadata: false), .synchronization, at: now)
        } catch { retryLater(at: now) }
    }

    /// What was reported and is on its way.
    var reportUnderWay: JSONValue? {
        for request in requests.all where request.purpose == .report {
            if case .update(let update) = request.kind { return update.reported }
        }
        return nil
    }

    func sendReport(at now: Duration) {
        guard isConnected, !mustSynchronize, retryAt == nil, reportUnderWay == nil, let state = unsent else { return }
        unsent = nil
        do throws(HubServiceError) {
            try ask(.update(HubShadowUpdate(reported: state)), .report, at: now)
        } catch { events.append(.reportFailed(error)) }
    }

    private func retryLater(at now: Duration) {
        guard isConnected else { return }
        mustSynchronize = configuration.getsAfterConnect
        retryAt = now + retryDelay
        retryDelay = min(retryDelay + retryDelay, configuration.longestRetry)
    }

    func fail(_ request: Request, _ error: HubServiceError, at now: Duration) {
        let mayHelpLater =
            switch error {
            case .timedOut, .disconnected, .notSent: true
            default: false
            }
        switch request.purpose {
        case .request: events.append(.failed(request.id, error))
        case .synchronization:
            if mayHelpLater { return retryLater(at: now) }
            // The hub has answered, if not with a document: so it takes reports.
            mustSynchronize = false
            sendReport(at: now)
        case .report:
            guard mayHelpLater else {
                events.append(.reportFailed(error))
                return sendReport(at: now)
            }
            if case .update(let update) = request.kind, var state = update.reported {
                if let later = unsent { state.append(change: later) }
                unsent = state
            }
            retryLater(at: now)
        }
    }

    // MARK: Messages

    /// Takes a reply or a delta; returns whether it was of any use.
    public func receive(topic: Span<UInt8>, payload: Span<UInt8>, at now: Duration) -> Bool {
        guard let message = JSONValue(message: payload), let type = message["type"] else { return false }
        // A refusal may have none.
        let payload = message["payload"] ?? .null
        if type.isText("delta") { return tell(payload["state"], version: payload["version"]?.integer ?? 0) }
        guard let token = message["clientToken"]?.text, let result = message["result"]?.integer,
            // An answer to another kind of request has the wrong token.
            let request = requests.remove({ $0.token == token && type.isText($0.kind.type) })
        else { return false }
        answered(request, HubResult(rawValue: result), payload, at: now)
        return true
    }

    private func answered(_ request: Request, _ result: HubResult, _ payload: JSONValue, at now: Duration) {
        let document = HubShadowDocument(payload)
        switch (result, document) {
        case (.done, let document?):
            if case .get = request.kind { adopt(document.version) } else { advance(to: document.version) }
            completed(request, document, at: now)
        case (.versionConflict, let document?):
            adopt(document.version)
            // Told first: what the user acts on is the newer state.
            if let delta = document.delta { _ = tell(delta, version: document.version) }
            guard request.retries > 0 else { return fail(request, .conflict(document), at: now) }
            retry(request, at: now)
        case (.done, nil): fail(request, .json(.malformed(at: 0)), at: now)
        default: fail(request, .rejected(result), at: now)
        }
    }

    private func completed(_ request: Request, _ document: HubShadowDocument, at now: Duration) {
        if case .get = request.kind, let delta = document.delta { _ = tell(delta, version: document.version) }
        switch request.purpose {
        case .request: events.append(.completed(request.id, document))
        case .synchronization:
            mustSynchronize = false
            // A report whose answer was lost may have arrived. The document is whole: what it does not show, the hub does not have.
            if let state = unsent { unsent = state.remainder(after: document.reported ?? .emptyObject) }
            retryDelay = configuration.firstRetry
        case .report:
            retryDelay = configuration.firstRetry
            events.append(.reported(version: document.version))
        }
        sendReport(at: now)
    }

    /// Sends an update again, for the version that the document has now.
    private func retry(_ request: Request, at now: Duration) {
        guard case .update(var update) = request.kind else { return }
        update.version = .lastSeen
        let again = Request(
            id: request.id,
            purpose: request.purpose,
            kind: .update(update),
            token: [],
            deadline: now + configuration.timeout,
            retries: request.retries - 1
        )
        do throws(HubServiceError) { try send(again) } catch { fail(request, error, at: now) }
    }

    // MARK: Versions

    /// A whole document has this version; it may be lower than before, if the document was made anew.
    private func adopt(_ version: Int64) {
        if let seen = self.version, version < seen { toldVersion = nil }
        self.version = version
    }

    private func advance(to version: Int64) { self.version = max(version, self.version ?? 0) }

    /// Tells what is wanted, unless that was done or is out of date; returns whether it was of any use.
    private func tell(_ state: JSONValue?, version: Int64) -> Bool {
        guard let state, state.isObject else { return false }
        if version > 0 {
            // What differs at a version is the same however often it is said.
            guard version >= self.version ?? 0, version != toldVersion else { return false }
            toldVersion = version
            self.version = version
        }
        let wanted = state.withoutNulls
        guard !wanted.isEmpty else { return true }
        events.append(.delta(HubShadowDelta(state: wanted, version: version)))
        return true
    }
}

extension HubShadow.Kind {
    /// The member `type` of the request, and of its answer.
    var type: StaticString {
        switch self {
        case .get: "get"
        case .update: "update"
        }
    }

    /// The request.
    func message(token: [UInt8], lastSeen: Int64?) throws(HubServiceError) -> JSONValue {
        var message = JSONValue.emptyObject
        message.set("type", .string(type))
        var wantsMetadata = false
        switch self {
        case .get(let metadata): wantsMetadata = metadata
        case .update(let update):
            message.set("state", try update.state())
            let version: Int64? =
                switch update.version {
                case .none: nil
                case .lastSeen: lastSeen
                case .exactly(let version): version
                }
            if let version { message.set("version", .integer(version)) }
            if update.overwrites { message.set("overwriteUpdate", .bool(true)) }
            wantsMetadata = update.wantsMetadata
        }
        if wantsMetadata { message.set("metadata", .bool(true)) }
        message.set("clientToken", .string(token))
        return message
    }
}

extension HubShadowUpdate {
    func state() throws(HubServiceError) -> JSONValue {
        var state = JSONValue.emptyObject
        if let reported {
            guard reported.isObject else { throw .notAnObject }
            state.set("reported", reported)
        }
        if let desired {
            guard desired.isObject || desired == .null else { throw .notAnObject }
            state.set("desired", desired)
        }
        return state
    }
}
