internal import Kernel

extension CoAPSession {
    // MARK: Observing a resource (RFC 7641)

    /// Deals with a response to a request that observes; `false` if it is to be dealt with as any other.
    mutating func observe(_ exchange: Exchange, _ result: Result<CoAPResponse, CoAPError>, at now: Duration) -> Bool {
        // Without the option the server does not notify, or not any more; so it is after an error (RFC 7641, 3.2 and 4.2).
        guard case .success(let response) = result, response.code.isSuccess, response.options.observe != nil else {
            exchange.observation = nil
            return false
        }
        change(exchange, to: .observing)
        // The time that the user gave is that of the registration.
        exchange.deadline = nil
        exchange.giveUpAt = nil
        guard exchange.observation?.take(response.options, isInOrder: isStreamed, at: now) == true else {
            counters.reordered += 1
            return true
        }
        if let time = exchange.refreshAt { wake(at: time) }
        // One of these is enough: the blocks of an older notification are of no use.
        dropFetch(of: exchange)
        if response.options.block2?.hasMore == true {
            fetchRest(of: exchange, response)
        } else {
            output(.notification(exchange.id, response))
        }
        return true
    }

    /// Fetches the blocks behind the first, which a notification was, by a request with a token of its own (RFC 7959, 3.4).
    private mutating func fetchRest(of exchange: Exchange, _ first: CoAPResponse) {
        guard let request = request(of: exchange), !exchanges.isFull else { return counters.lostNotifications += 1 }
        let fetch = hide(exchange, as: .observation(exchange.id), exchange.datagram)
        fetch.state = .acknowledged
        fetch.transfer = BlockTransfer(
            request.code,
            request.options,
            body: request.payload,
            isUploading: false,
            sizeExponent: configuration.blockExponent,
            downloadExponent: downloadExponent,
            limits: configuration
        )
        exchange.observation?.fetch = fetch.id
        takeBlock(fetch, first)
    }

    /// Ends the fetching of a notification that is not wanted any more.
    private mutating func dropFetch(of exchange: Exchange) {
        guard let id = exchange.observation?.fetch else { return }
        exchange.observation?.fetch = nil
        if let fetch = exchanges[id] { drop(fetch) }
    }

    /// What was notified is not fresh any more: the registration is made anew (RFC 7641, 3.3.1).
    mutating func observationTimeout(of exchange: Exchange, at now: Duration) {
        guard let time = exchange.refreshAt, time <= now else { return }
        output(.stale(exchange.id))
        register(exchange)
    }

    /// Registers an observation once more, with the same token, by `request`: one whose messages are protected (RFC 8613), when it is
    /// ``Output/stale(_:)`` or what was notified is not fresh any more. Does nothing if there is no such observation, or the server is being asked.
    public mutating func renew(
        _ id: CoAPExchangeID,
        with request: CoAPRequest,
        at now: Duration
    ) throws(CoAPError) {
        guard let exchange = exchanges[id], exchange.observation != nil, case .observing = exchange.state else {
            return
        }
        try prepareInTime(exchange, request)
        register(exchange)
        transmitWaiting(at: now)
    }

    /// Registers once more, with the same token.
    private mutating func register(_ exchange: Exchange) {
        exchange.observation?.forget()
        exchange.isRefreshing = true
        stall(exchange)
    }

    /// Registers all observations once more: the server may have lost them with the connection, or knows another address.
    mutating func registerAll() {
        for place in exchanges.indices {
            guard let exchange = exchanges[place], case .observing = exchange.state else { continue }
            if exchange.observation?.isProtected == true {
                output(.stale(exchange.id))
            } else {
                register(exchange)
            }
        }
    }

    /// Ends an observation, and has the server forget it, by a request whose answer nobody waits for (RFC 7641, 3.6); `false` if it is none, or none yet.
    mutating func deregister(_ id: CoAPExchangeID, _ last: CoAPRequest?) -> Bool {
        guard isTransportOpen, let exchange = exchanges[id], exchange.audience == .user,
            let observation = exchange.observation, observation.isRegistered || exchange.isRefreshing,
            last != nil || !observation.isProtected, var message = request(of: exchange), !exchanges.isFull
        else { return false }
        dropFetch(of: exchange)
        finish(exchange, .failure(.cancelled))
        if let last {
            (message.options, message.payload) = (last.options, last.payload)
        } else {
            message.options.observe = 1
        }
        let last = hide(exchange, as: .nobody, encode(message))
        // Notifications that are under way have its token.
        last.keepsToken = true
        last.hasToken = true
        exchanges.insertToken(of: last)
        stall(last)
        return true
    }

    /// Adds an exchange that the user has not asked for, in succession to one that is asked for.
    private mutating func hide(_ exchange: Exchange, as audience: Exchange.Audience, _ datagram: [UInt8]) -> Exchange {
        let hidden = Exchange(
            id: nextID(at: exchanges.nextPlace),
            token: exchange.token,
            method: exchange.method,
            isConfirmable: exchange.isConfirmable || audience != .nobody,
            hasETag: false,
            deadline: nil,
            datagram: datagram
        )
        hidden.audience = audience
        exchanges.insert(hidden)
        hiddenCount += 1
        return hidden
    }
}
