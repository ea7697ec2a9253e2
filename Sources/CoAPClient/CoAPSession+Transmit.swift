internal import Kernel

extension CoAPSession {
    // MARK: Transmission (RFC 7252, 4.2)

    /// Starts as many of the waiting requests as may be outstanding. Those that have begun go before.
    mutating func transmitWaiting(at now: Duration) {
        while isTransportOpen, outstandingCount < max(configuration.outstandingLimit, 1),
            stalledCount > 0 || !waiting.isEmpty
        {
            if let time = messageIDs.blockedUntil(at: now) { return wake(at: time) }
            if stalledCount > 0, let index = exchanges.firstIndex(where: { $0.isStalled }) {
                stalledCount -= 1
                transmit(at: index, at: now)
            } else if let exchange = waiting.dequeue() {
                exchanges.append(exchange)
                transmit(at: exchanges.count - 1, at: now)
            }
        }
    }

    /// Sends a request, or its next block, with a message ID and a token of its own.
    private mutating func transmit(at index: Int, at now: Duration) {
        let messageID = messageIDs.take(at: now, lifetime: exchangeLifetime)
        // An observation keeps its token, which notifications under way have too.
        let token =
            exchanges[index].keepsToken
            ? exchanges[index].token : unusedToken(byteCount: exchanges[index].token.count)
        exchanges[index].keepsToken = exchanges[index].observation != nil
        exchanges[index].messageID = messageID
        exchanges[index].token = token
        exchanges[index].datagram[2] = UInt8(messageID >> 8)
        exchanges[index].datagram[3] = UInt8(messageID & 0xFF)
        for place in 0..<token.count { exchanges[index].datagram[4 + place] = token[place] }
        output(.transmit(exchanges[index].datagram))
        let patience = exchanges[index].isConfirmable ? exchangeLifetime : configuration.nonConfirmableTimeout
        let giveUpAt = exchanges[index].deadline ?? now + patience
        exchanges[index].giveUpAt = giveUpAt
        wake(at: giveUpAt)
        if exchanges[index].isConfirmable {
            let timeout = configuration.firstTimeout(random: random.next())
            exchanges[index].state = .unacknowledged(transmissions: 1, timeout: timeout, resendAt: now + timeout)
            wake(at: now + timeout)
        } else {
            exchanges[index].state = .unacknowledgeable
        }
        outstandingCount += 1
        if exchanges[index].wantsNoResponse { finish(at: index, .success(CoAPResponse(.empty))) }
    }

    /// The peer has the request: it is not sent again, and the next may go out.
    mutating func acknowledge(at index: Int) {
        guard exchanges[index].isOutstanding else { return }
        exchanges[index].state = .acknowledged
        outstandingCount -= 1
    }

    mutating func finish(at index: Int, _ result: Result<CoAPResponse, CoAPError>) {
        if exchanges[index].isOutstanding { outstandingCount -= 1 }
        if exchanges[index].isStalled { stalledCount -= 1 }
        switch exchanges[index].audience {
        case .user: output(.finished(exchanges[index].id, result))
        case .nobody: break
        case .observation(let id):
            // What cannot be fetched is as good as not notified: the next notification may be better.
            if case .success(let response) = result, response.code.isSuccess {
                output(.notification(id, response))
            } else {
                counters.lostNotifications += 1
            }
        }
        remove(at: index)
    }

    /// Forgets an exchange that is neither outstanding nor stalled any more.
    private mutating func remove(at index: Int) {
        if exchanges[index].audience != .user { hiddenCount -= 1 }
        exchanges.swapAt(index, exchanges.count - 1)
        exchanges.removeLast()
    }

    /// Ends an exchange without a word.
    mutating func drop(at index: Int) {
        if exchanges[index].isOutstanding { outstandingCount -= 1 }
        if exchanges[index].isStalled { stalledCount -= 1 }
        remove(at: index)
    }

    /// Ends the waiting request with this ID, or without one all whose time is over.
    mutating func removeWaiting(_ id: CoAPExchangeID?, _ error: CoAPError, at now: Duration) {
        for _ in 0..<waiting.count {
            guard let exchange = waiting.dequeue() else { return }
            if id.map({ $0 == exchange.id }) ?? exchange.isOver(at: now) {
                output(.finished(exchange.id, .failure(error)))
            } else {
                _ = waiting.enqueue(exchange)
            }
        }
    }

    /// A token that no other unfinished request has. There are twice as many tokens, at least, as requests.
    private mutating func unusedToken(byteCount count: Int) -> CoAPToken {
        while true {
            let token = CoAPToken(bits: random.next(), count: count)
            if !exchanges.contains(where: { $0.token == token }) { return token }
        }
    }

    // MARK: Time

    mutating func wake(at time: Duration) { deadline = min(deadline ?? time, time) }

    /// Acts on a ``deadline`` that has passed; does nothing before it.
    public mutating func handleTimeout(at now: Duration) {
        guard let deadline, now >= deadline else { return }
        // From the last to the first: one that is finished is replaced by one that had its turn.
        for index in exchanges.indices.reversed() { handleTimeout(of: index, at: now) }
        removeWaiting(nil, .notSent, at: now)
        self.deadline = nil
        for index in exchanges.indices {
            if let time = exchanges[index].giveUpAt { wake(at: time) }
            if let time = exchanges[index].refreshAt { wake(at: time) }
            if isTransportOpen, case .unacknowledged(_, _, let time) = exchanges[index].state { wake(at: time) }
        }
        for index in 0..<waiting.count { if let time = waiting[index].giveUpAt { wake(at: time) } }
        transmitWaiting(at: now)
    }

    private mutating func handleTimeout(of index: Int, at now: Duration) {
        let exchange = exchanges[index]
        let isOver = exchange.isOver(at: now)
        switch exchange.state {
        case .observing: observationTimeout(of: index, at: now)
        case .waiting: if isOver { finish(at: index, .failure(.noResponse)) }
        case .acknowledged, .unacknowledgeable:
            if isOver { finish(at: index, .failure(.noResponse)) }
        case .unacknowledged(let transmissions, let timeout, let resendAt):
            if isOver || (resendAt <= now && transmissions > configuration.retransmissions) {
                return finish(at: index, .failure(.notAcknowledged(transmissions: transmissions)))
            }
            guard resendAt <= now, isTransportOpen else { return }
            output(.transmit(exchange.datagram))
            counters.retransmissions += 1
            exchanges[index].state = .unacknowledged(
                transmissions: transmissions + 1,
                timeout: timeout + timeout,
                resendAt: now + timeout + timeout
            )
        }
    }
}
