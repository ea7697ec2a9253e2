internal import Kernel

extension CoAPSession {
    // MARK: Observing a resource (RFC 7641)

    /// Deals with a response to a request that observes; `false` if it is to be dealt with as any other.
    mutating func observe(at index: Int, _ result: Result<CoAPResponse, CoAPError>, at now: Duration) -> Bool {
        // Without the option the server does not notify, or not any more; so it is after an error (RFC 7641, 3.2 and 4.2).
        guard case .success(let response) = result, response.code.isSuccess, response.options.contains(.observe) else {
            exchanges[index].observation = nil
            return false
        }
        if exchanges[index].isOutstanding { outstandingCount -= 1 }
        if exchanges[index].isStalled { stalledCount -= 1 }
        exchanges[index].state = .observing
        // The time that the user gave is that of the registration.
        exchanges[index].deadline = nil
        exchanges[index].giveUpAt = nil
        guard exchanges[index].observation?.take(response.options, at: now) == true else {
            counters.reordered += 1
            return true
        }
        if let time = exchanges[index].refreshAt { wake(at: time) }
        let id = exchanges[index].id
        // One of these is enough: the blocks of an older notification are of no use.
        dropFetch(of: id)
        if response.options.block2?.hasMore == true, let place = exchanges.firstIndex(where: { $0.id == id }) {
            fetchRest(of: place, response)
        } else {
            output(.notification(id, response))
        }
        return true
    }

    /// Fetches the blocks behind the first, which a notification was, by a request with a token of its own (RFC 7959, 3.4).
    private mutating func fetchRest(of index: Int, _ first: CoAPResponse) {
        guard let request = exchanges[index].request else { return }
        let transfer = BlockTransfer(
            request.code,
            request.options,
            body: request.payload,
            isUploading: false,
            sizeExponent: configuration.blockExponent,
            limits: configuration
        )
        lastID += 1
        let fetch = Exchange(
            id: CoAPExchangeID(rawValue: lastID),
            token: exchanges[index].token,
            isConfirmable: true,
            hasETag: false,
            deadline: nil,
            datagram: exchanges[index].datagram
        )
        fetch.state = .acknowledged
        fetch.transfer = transfer
        fetch.audience = .observation(exchanges[index].id)
        exchanges.append(fetch)
        hiddenCount += 1
        takeBlock(at: exchanges.count - 1, first)
    }

    /// Ends the fetching of a notification that is not wanted any more.
    private mutating func dropFetch(of id: CoAPExchangeID) {
        if let fetch = exchanges.firstIndex(where: { $0.audience == .observation(id) }) { drop(at: fetch) }
    }

    /// What was notified is not fresh any more: the registration is made anew (RFC 7641, 3.3.1).
    mutating func observationTimeout(of index: Int, at now: Duration) {
        guard let time = exchanges[index].refreshAt, time <= now else { return }
        output(.stale(exchanges[index].id))
        register(at: index)
    }

    /// Registers once more, with the same token.
    private mutating func register(at index: Int) {
        exchanges[index].observation?.forget()
        exchanges[index].isRefreshing = true
        exchanges[index].state = .waiting
        stalledCount += 1
    }

    /// Registers all observations once more: the server may have lost them with the connection, or knows another address.
    mutating func registerAll() {
        for index in exchanges.indices {
            if case .observing = exchanges[index].state { register(at: index) }
        }
    }

    /// Ends an observation, and has the server forget it, by a request whose answer nobody waits for (RFC 7641, 3.6); `false` if it is none, or none yet.
    mutating func deregister(_ id: CoAPExchangeID) -> Bool {
        guard isTransportOpen, let index = exchanges.firstIndex(where: { $0.id == id && $0.audience == .user }),
            exchanges[index].observation?.isRegistered == true || exchanges[index].isRefreshing,
            var message = exchanges[index].request
        else { return false }
        output(.finished(id, .failure(.cancelled)))
        message.options.observe = 1
        if exchanges[index].isOutstanding { outstandingCount -= 1 }
        if !exchanges[index].isStalled { stalledCount += 1 }
        lastID += 1
        exchanges[index].id = CoAPExchangeID(rawValue: lastID)
        exchanges[index].observation = nil
        exchanges[index].audience = .nobody
        exchanges[index].datagram = message.encoded
        exchanges[index].state = .waiting
        hiddenCount += 1
        dropFetch(of: id)
        return true
    }
}
