internal import Kernel
internal import SAL

extension CoAPServerSession {
    /// Who is told each time that a resource changes (RFC 7641).
    final class Observer {
        let resource: CoAPResourceID
        let peer: SocketAddress
        /// The request that began it.
        let message: CoAPMessage
        /// The message ID of the last notification.
        var messageID: UInt16?
        /// Whether the handler is asked how the resource is, and whether it has changed since.
        var isFetching = false
        var isDirty = false
        /// The newest state, while an older one waits for its acknowledgement.
        var next: CoAPResponse?
        /// How many notifications there were since the last confirmable one, and when that was.
        var unconfirmed = 0
        var confirmedAt: Duration
        /// When the last notification was made.
        var notifiedAt: Duration
        /// When the handler is to be asked, if that has to wait.
        var dueAt: Duration?
        /// The format of the representations, which may be none; `nil` while none of them was told.
        var format: CoAPContentFormat??

        init(of resource: CoAPResourceID, _ peer: SocketAddress, _ message: CoAPMessage, at now: Duration) {
            self.resource = resource
            self.peer = peer
            self.message = message
            confirmedAt = now
            notifiedAt = now
        }
    }

    /// How many observers there are.
    public var observerCount: Int { observers.count }

    /// How many observers the resource at `path` has.
    public func observerCount(_ path: [[UInt8]]) -> Int {
        var count = 0
        for observer in observers where observer.message.options.routedPath == path { count += 1 }
        return count
    }

    /// The paths that are observed, one for each observer.
    public var observedPaths: [[[UInt8]]] { observers.map { $0.message.options.routedPath } }

    /// The resource at `path` has changed: its observers are told. Its handler is asked how it is now, once per observer.
    public mutating func changed(_ path: [[UInt8]], at now: Duration) {
        for observer in observers where observer.message.options.routedPath == path { refresh(observer, at: now) }
    }

    // MARK: Registration

    /// Makes who has sent a request an observer, if the response and the limits allow it (RFC 7641, 4.1).
    mutating func register(
        _ request: Pending,
        _ response: CoAPResponse,
        format: CoAPContentFormat??,
        at now: Duration
    ) -> Observer? {
        let message = request.message
        removeObserver(of: request.peer, message.token)
        // A request whose body came in blocks is not kept.
        guard response.code.isSuccess, !request.isMulticast, !message.options.contains(.block1),
            message.code == .get || message.code == .fetch,
            resources.first(where: { $0.id == request.resource })?.resource.isObservable == true
        else { return nil }
        // A client that asks again with another token has forgotten the first.
        let key = StoredBodies.Key(request.peer, message, isRequest: false)
        let old = observers.first {
            $0.peer == request.peer && $0.message.payload == message.payload
                && StoredBodies.Key($0.peer, $0.message, isRequest: false) == key
        }
        if let old { remove(old) }
        guard observers.count < configuration.observerLimit else { return nil }
        let observer = Observer(of: request.resource, request.peer, message, at: now)
        observer.format = format
        observers.append(observer)
        advanceNumber()
        return observer
    }

    private mutating func advanceNumber() { notificationNumber = (notificationNumber + 1) & 0xFF_FFFF }

    mutating func removeObserver(of peer: SocketAddress, _ token: CoAPToken) {
        if let observer = observers.first(where: { $0.peer == peer && $0.message.token == token }) { remove(observer) }
    }

    /// Forgets an observer, and all that is under way to one.
    mutating func remove(_ observer: Observer) {
        observers.removeAll { $0 === observer }
        transmissions.removeAll { $0.observer === observer }
        if let index = pending.firstIndex(where: { $0.observer === observer }) {
            output(.abandoned(CoAPServerRequestID(rawValue: pending.remove(at: index).id)))
        }
    }

    /// Ends an observation with a last word, an error (RFC 7641, 4.2).
    mutating func end(_ observer: Observer, with response: CoAPResponse, at now: Duration) {
        remove(observer)
        // Who does not hear it finds out when the last state is not valid any more.
        guard exchangeCount < configuration.exchangeLimit else { return }
        var response = response
        cut(&response, for: observer.message, to: observer.peer, isStored: false, at: now)
        sendConfirmable(response, observer.message.token, to: observer.peer, observer: nil, at: now)
    }

    // MARK: Notifications

    /// Asks how a resource is, for one of its observers.
    private mutating func refresh(_ observer: Observer, at now: Duration) {
        if observer.isFetching { return observer.isDirty = true }
        let earliest = observer.notifiedAt + configuration.leastNotificationInterval
        guard earliest <= now else {
            observer.dueAt = earliest
            return wake(at: earliest)
        }
        observer.dueAt = nil
        observer.isFetching = true
        let (message, peer) = (observer.message, observer.peer)
        ask(observer.resource, message, payload: message.payload, from: peer, observer: observer, at: now)
    }

    /// Deals with how a resource is now, for one of its observers.
    mutating func fetched(_ response: CoAPResponse, for observer: Observer, at now: Duration) {
        observer.isFetching = false
        guard response.code.isSuccess else { return end(observer, with: response, at: now) }
        if response.code == .content {
            // All of them have the same format (RFC 7641, 4.2).
            if let format = observer.format, format != response.options.contentFormat {
                return end(observer, with: CoAPResponse(.notAcceptable), at: now)
            }
            observer.format = .some(response.options.contentFormat)
        }
        observer.notifiedAt = now
        observer.next = response
        notifyIfPossible(observer, at: now)
        if observer.isDirty {
            observer.isDirty = false
            refresh(observer, at: now)
        }
    }

    /// The notification of a state, but for its type and message ID.
    private mutating func notification(_ observer: Observer, _ state: CoAPResponse, at now: Duration) -> CoAPResponse {
        var response = state
        advanceNumber()
        response.validate(for: observer.message)
        response.options.observe = notificationNumber
        cut(&response, for: observer.message, to: observer.peer, isStored: true, at: now)
        return response
    }

    private mutating func notify(_ observer: Observer, _ state: CoAPResponse, at now: Duration) {
        let isConfirmable = mustBeConfirmed(observer, at: now)
        let response = notification(observer, state, at: now)
        observer.unconfirmed += 1
        guard isConfirmable else {
            let messageID = nextMessageID(for: observer.peer)
            observer.messageID = messageID
            let message = Self.message(.nonConfirmable, response, messageID, observer.message.token)
            return output(.transmit(message.encoded, to: observer.peer))
        }
        observer.unconfirmed = 0
        observer.confirmedAt = now
        sendConfirmable(response, observer.message.token, to: observer.peer, observer: observer, at: now)
    }

    /// Whether the next notification is a confirmable one: one of so many, and one a day at least (RFC 7641, 4.5).
    private func mustBeConfirmed(_ observer: Observer, at now: Duration) -> Bool {
        observer.unconfirmed + 1 >= configuration.confirmableNotificationInterval
            || observer.confirmedAt + .seconds(86_400) <= now
    }

    /// Whether the newest state has to wait: for the acknowledgement of the last, or of other messages to the same peer (RFC 7252, 4.7; RFC 7641, 4.5.1).
    private func mustWait(_ observer: Observer, at now: Duration) -> Bool {
        var outstanding = 0
        for sent in transmissions where sent.peer == observer.peer {
            if sent.observer === observer { return true }
            outstanding += 1
        }
        return outstanding >= max(1, configuration.messages.outstandingLimit) && mustBeConfirmed(observer, at: now)
    }

    private mutating func notifyIfPossible(_ observer: Observer, at now: Duration) {
        guard let state = observer.next, !mustWait(observer, at: now) else { return }
        observer.next = nil
        notify(observer, state, at: now)
    }

    /// A message to a peer does not wait for its acknowledgement any more: the states that have waited for that are told.
    mutating func notifyWaiting(_ peer: SocketAddress, at now: Duration) {
        for observer in observers where observer.peer == peer { notifyIfPossible(observer, at: now) }
    }

    /// What is sent in place of a notification that was not acknowledged: the newest state, under a message ID of its own (RFC 7641, 4.5.2).
    mutating func successor(for observer: Observer, at now: Duration) -> CoAPMessage? {
        guard let state = observer.next else { return nil }
        observer.next = nil
        let response = notification(observer, state, at: now)
        let messageID = nextMessageID(for: observer.peer)
        observer.messageID = messageID
        return Self.message(.confirmable, response, messageID, observer.message.token)
    }

    /// Asks for the states that had to wait.
    mutating func refreshDue(at now: Duration) {
        for observer in observers { if let time = observer.dueAt, time <= now { refresh(observer, at: now) } }
    }
}
