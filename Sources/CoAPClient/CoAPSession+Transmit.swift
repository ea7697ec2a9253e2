internal import Kernel

extension CoAPSession {
    // MARK: Transmission (RFC 7252, 4.2)

    /// Starts as many of the waiting requests as may be outstanding.
    mutating func transmitWaiting(at now: Duration) {
        while isTransportOpen, outstandingCount < max(configuration.outstandingLimit, 1), !waiting.isEmpty {
            if let time = messageIDs.blockedUntil(at: now) { return wake(at: time) }
            guard var exchange = waiting.dequeue() else { return }
            exchange.messageID = messageIDs.take(at: now, lifetime: exchangeLifetime)
            exchange.token = unusedToken(byteCount: exchange.token.count)
            exchange.datagram[2] = UInt8(exchange.messageID >> 8)
            exchange.datagram[3] = UInt8(exchange.messageID & 0xFF)
            for index in 0..<exchange.token.count { exchange.datagram[4 + index] = exchange.token[index] }
            output(.transmit(exchange.datagram))
            let patience = exchange.isConfirmable ? exchangeLifetime : configuration.nonConfirmableTimeout
            let giveUpAt = exchange.giveUpAt ?? now + patience
            exchange.giveUpAt = giveUpAt
            wake(at: giveUpAt)
            if exchange.isConfirmable {
                let timeout = configuration.firstTimeout(random: random.next())
                exchange.state = .unacknowledged(transmissions: 1, timeout: timeout, resendAt: now + timeout)
                wake(at: now + timeout)
            } else {
                exchange.state = .unacknowledgeable
                exchange.datagram = []
            }
            outstandingCount += 1
            exchanges.append(exchange)
        }
    }

    /// The peer has the request: it is not sent again, and the next may go out.
    mutating func acknowledge(at index: Int) {
        guard exchanges[index].isOutstanding else { return }
        exchanges[index].state = .acknowledged
        exchanges[index].datagram = []
        outstandingCount -= 1
    }

    mutating func finish(at index: Int, _ result: Result<CoAPResponse, CoAPError>) {
        if exchanges[index].isOutstanding { outstandingCount -= 1 }
        output(.finished(exchanges[index].id, result))
        exchanges.swapAt(index, exchanges.count - 1)
        exchanges.removeLast()
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
            if isTransportOpen, case .unacknowledged(_, _, let time) = exchanges[index].state { wake(at: time) }
        }
        for index in 0..<waiting.count { if let time = waiting[index].giveUpAt { wake(at: time) } }
        transmitWaiting(at: now)
    }

    private mutating func handleTimeout(of index: Int, at now: Duration) {
        let exchange = exchanges[index]
        let isOver = exchange.isOver(at: now)
        switch exchange.state {
        case .waiting: return
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
