internal import Kernel
internal import SAL

extension CoAPServerSession {
    /// Who is told each time that a resource changes (RFC 7641).
    struct Observer {
        let id: UInt32
        let resource: CoAPResourceID
        let peer: SocketAddress
        /// The request that began it.
        let message: CoAPMessage
        /// The message ID of the last notification.
        var messageID: UInt16?
        /// The request by which the handler is asked how the resource is.
        var fetch: UInt64?
        /// Whether it has changed since the handler was asked.
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
        for index in observers.indices where observers[index].message.options.routedPath == path {
            refresh(index, at: now)
        }
    }

    // MARK: Registration

    /// Makes who has sent a request an observer, if the response and the limits allow it (RFC 7641, 4.1).
    mutating func register(_ request: Pending, _ response: CoAPResponse, at now: Duration) -> UInt32? {
        let message = request.message
        removeObserver(of: request.peer, message.token)
        // A request whose body came in blocks is not kept.
        guard response.code.isSuccess, !request.isMulticast, !message.options.contains(.block1),
            message.code == .get || message.code == .fetch,
            resources.first(where: { $0.id == request.resource })?.resource.isObservable == true
        else { return nil }
        // A client that asks again with another token has forgotten the first.
        let key = StoredBodies.Key(request.peer, message, isRequest: false)
        let old = observers.firstIndex {
            $0.peer == request.peer && $0.message.payload == message.payload
                && StoredBodies.Key($0.peer, $0.message, isRequest: false) == key
        }
        if let old { removeObserver(at: old) }
        guard observers.count < configuration.observerLimit else { return nil }
        lastObserver &+= 1
        let observer = Observer(
            id: lastObserver,
            resource: request.resource,
            peer: request.peer,
            message: message,
            confirmedAt: now,
            notifiedAt: now
        )
        observers.append(observer)
        advanceNumber()
        return lastObserver
    }

    private mutating func advanceNumber() { notificationNumber = (notificationNumber + 1) & 0xFF_FFFF }

    mutating func removeObserver(of peer: SocketAddress, _ token: CoAPToken) {
        if let index = observers.firstIndex(where: { $0.peer == peer && $0.message.token == token }) {
            removeObserver(at: index)
        }
    }

    mutating func removeObserver(_ id: UInt32) {
        if let index = observers.firstIndex(where: { $0.id == id }) { removeObserver(at: index) }
    }

    private mutating func removeObserver(at index: Int) {
        let observer = observers.remove(at: index)
        transmissions.removeAll { $0.observer == observer.id }
        if let fetch = observer.fetch, let place = pending.firstIndex(where: { $0.id == fetch }) {
            pending.remove(at: place)
            output(.abandoned(CoAPServerRequestID(rawValue: fetch)))
        }
    }

    /// Ends an observation with a last word, an error (RFC 7641, 4.2).
    mutating func end(_ id: UInt32, with response: CoAPResponse, at now: Duration) {
        guard let observer = observers.first(where: { $0.id == id }) else { return }
        removeObserver(id)
        // Who does not hear it finds out when the last state is not valid any more.
        guard exchangeCount < configuration.exchangeLimit else { return }
        var response = response
        cut(&response, for: observer.message, to: observer.peer, isStored: false, at: now)
        sendConfirmable(response, observer.message.token, to: observer.peer, observer: nil, at: now)
    }

    // MARK: Notifications

    /// Asks how a resource is, for one of its observers.
    private mutating func refresh(_ index: Int, at now: Duration) {
        if observers[index].fetch != nil { return observers[index].isDirty = true }
        let earliest = observers[index].notifiedAt + configuration.leastNotificationInterval
        guard earliest <= now else {
            observers[index].dueAt = earliest
            return wake(at: earliest)
        }
        observers[index].dueAt = nil
        let observer = observers[index]
        let payload = observer.message.payload
        observers[index].fetch = ask(
            observer.resource,
            observer.message,
            payload: payload,
            from: observer.peer,
            observer: observer.id,
            at: now
        )
    }

    /// Deals with how a resource is now, for one of its observers.
    mutating func fetched(_ response: CoAPResponse, for id: UInt32, at now: Duration) {
        guard let index = observers.firstIndex(where: { $0.id == id }) else { return }
        observers[index].fetch = nil
        guard response.code.isSuccess else { return end(id, with: response, at: now) }
        observers[index].notifiedAt = now
        if transmissions.contains(where: { $0.observer == id }) {
            observers[index].next = response
        } else {
            notify(index, response, at: now)
        }
        if observers[index].isDirty {
            observers[index].isDirty = false
            refresh(index, at: now)
        }
    }

    /// The notification of a state, but for its type and message ID.
    private mutating func notification(_ index: Int, _ response: CoAPResponse, at now: Duration) -> CoAPResponse {
        var response = response
        let message = observers[index].message
        advanceNumber()
        response.validate(for: message)
        response.options.observe = notificationNumber
        cut(&response, for: message, to: observers[index].peer, isStored: true, at: now)
        return response
    }

    private mutating func notify(_ index: Int, _ state: CoAPResponse, at now: Duration) {
        let response = notification(index, state, at: now)
        let observer = observers[index]
        observers[index].unconfirmed += 1
        let isDue = observer.unconfirmed + 1 >= configuration.confirmableNotificationInterval
        // Once a day at least (RFC 7641, 4.5).
        guard isDue || observer.confirmedAt + .seconds(86_400) <= now else {
            let messageID = nextMessageID(for: observer.peer)
            observers[index].messageID = messageID
            let message = Self.message(.nonConfirmable, response, messageID, observer.message.token)
            return output(.transmit(message.encoded, to: observer.peer))
        }
        observers[index].unconfirmed = 0
        observers[index].confirmedAt = now
        sendConfirmable(response, observer.message.token, to: observer.peer, observer: observer.id, at: now)
    }

    /// Remembers by which message an observer was told last: a reset of it ends the observation (RFC 7641, 4.5).
    mutating func note(_ messageID: UInt16, for id: UInt32) {
        if let index = observers.firstIndex(where: { $0.id == id }) { observers[index].messageID = messageID }
    }

    /// The last notification has arrived: the state that has waited for that is told.
    mutating func confirmed(_ id: UInt32, at now: Duration) {
        guard let index = observers.firstIndex(where: { $0.id == id }), let state = observers[index].next else {
            return
        }
        observers[index].next = nil
        notify(index, state, at: now)
    }

    /// What is sent in place of a notification that was not acknowledged: the newest state, under a message ID of its own (RFC 7641, 4.5.2).
    mutating func successor(of id: UInt32, at now: Duration) -> CoAPMessage? {
        guard let index = observers.firstIndex(where: { $0.id == id }), let state = observers[index].next else {
            return nil
        }
        observers[index].next = nil
        let response = notification(index, state, at: now)
        let messageID = nextMessageID(for: observers[index].peer)
        observers[index].messageID = messageID
        return Self.message(.confirmable, response, messageID, observers[index].message.token)
    }

    /// Asks for the states that had to wait.
    mutating func refreshDue(at now: Duration) {
        for index in observers.indices where observers[index].dueAt.map({ $0 <= now }) == true {
            refresh(index, at: now)
        }
    }
}
