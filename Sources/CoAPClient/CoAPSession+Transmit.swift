internal import Kernel

extension CoAPSession {
    // MARK: Transmission (RFC 7252, 4.2)

    /// Has a request wait for its turn.
    mutating func enqueue(_ exchange: Exchange) {
        if queued.isFull {
            // Half of them are over, at least.
            for _ in 0..<queued.count {
                if let other = queued.dequeue(), case .queued = other.state { _ = queued.enqueue(other) }
            }
        }
        _ = queued.enqueue(exchange)
    }

    /// Has an exchange that has begun go on with another message, when it is its turn.
    mutating func stall(_ exchange: Exchange) {
        change(exchange, to: .waiting)
        if exchange.isInLine { return }
        exchange.isInLine = true
        _ = stalled.enqueue(exchange)
    }

    /// Starts as many of the waiting requests as may be outstanding. Those that have begun go before.
    mutating func transmitWaiting(at now: Duration) {
        while isTransportReady, outstandingCount < max(configuration.outstandingLimit, 1),
            !stalled.isEmpty || !queued.isEmpty
        {
            if !isStreamed, let time = messageIDs.blockedUntil(at: now) { return wake(at: time) }
            if let exchange = stalled.dequeue() {
                exchange.isInLine = false
                if case .waiting = exchange.state { transmit(exchange, at: now) }
            } else if let exchange = queued.dequeue(), case .queued = exchange.state {
                transmit(exchange, at: now)
            }
        }
    }

    /// Sends a request, or its next block, with a message ID and a token of its own.
    private mutating func transmit(_ exchange: Exchange, at now: Duration) {
        #if !hasFeature(Embedded)
        if let unprepared = exchange.unprepared {
            exchange.unprepared = nil
            do throws(CoAPError) { try prepare(exchange, unprepared.request) } catch {
                return finish(exchange, .failure(error))
            }
        }
        #endif
        // An observation keeps its token, which notifications under way have too.
        if !exchange.keepsToken, exchange.token.count > 0 {
            if exchange.hasToken { exchanges.removeToken(of: exchange) }
            exchange.token = unusedToken(byteCount: exchange.token.count)
            exchanges.insertToken(of: exchange)
            exchange.hasToken = true
        }
        exchange.keepsToken = exchange.observation != nil
        if isStreamed {
            #if !hasFeature(Embedded)
            CoAPFrame.stamp(&exchange.datagram, exchange.token)
            #endif
        } else {
            exchange.messageID = messageIDs.take(at: now, lifetime: timeouts.exchangeLifetime)
            CoAPMessage.stamp(&exchange.datagram, exchange.messageID, exchange.token)
        }
        output(.transmit(exchange.datagram))
        let patience =
            exchange.isConfirmable || isStreamed ? timeouts.exchangeLifetime : configuration.nonConfirmableTimeout
        let giveUpAt = exchange.deadline ?? now + patience
        exchange.giveUpAt = giveUpAt
        wake(at: giveUpAt)
        if isStreamed {
            // The stream sees to it that it arrives.
            change(exchange, to: .acknowledged)
        } else if exchange.isConfirmable {
            let timeout = timeouts.first(random: nextJitter())
            change(exchange, to: .unacknowledged(transmissions: 1, timeout: timeout, resendAt: now + timeout))
            wake(at: now + timeout)
        } else {
            change(exchange, to: .unacknowledgeable)
        }
        if exchange.wantsNoResponse { finish(exchange, .success(CoAPResponse(.empty))) }
    }

    // MARK: Datagrams and streams

    #if hasFeature(Embedded)
    var isStreamed: Bool { false }
    var isTransportReady: Bool { isTransportOpen }
    var messageLimit: Int { configuration.maximumMessageBytes }
    func encode(_ message: CoAPMessage) -> [UInt8] { message.encoded }

    /// The message that an exchange has sent last.
    func request(of exchange: Exchange) -> CoAPMessage? {
        let datagram = exchange.datagram
        return try? CoAPMessage(decoding: datagram.span)
    }
    #else
    var isStreamed: Bool { isStream }
    /// Whether requests can be sent.
    var isTransportReady: Bool {
        isTransportOpen && (!isStream || stream.isReady && !stream.isReleased && !stream.isFull)
    }
    /// How many bytes a message may have.
    var messageLimit: Int { isStream ? stream.peerLimit : configuration.maximumMessageBytes }

    mutating func encode(_ message: CoAPMessage) -> [UInt8] {
        isStream ? CoAPFrame.encode(message.code, message.token, message.options, message.payload) : message.encoded
    }

    /// The message that an exchange has sent last.
    mutating func request(of exchange: Exchange) -> CoAPMessage? {
        let datagram = exchange.datagram
        guard isStream else { return try? CoAPMessage(decoding: datagram.span) }
        guard let frame = try? CoAPFrame(datagram.span) else { return nil }
        return try? CoAPMessage(frame, in: datagram.span)
    }
    #endif

    /// Changes the state of an exchange, and with it whether its message is outstanding.
    mutating func change(_ exchange: Exchange, to state: Exchange.State) {
        if exchange.isOutstanding {
            outstandingCount -= 1
            exchanges.removeMessageID(of: exchange)
        }
        exchange.state = state
        if exchange.isOutstanding {
            outstandingCount += 1
            exchanges.insertMessageID(of: exchange)
        }
    }

    /// The peer has the request: it is not sent again, and the next may go out.
    mutating func acknowledge(_ exchange: Exchange) {
        if exchange.isOutstanding { change(exchange, to: .acknowledged) }
    }

    mutating func finish(_ exchange: Exchange, _ result: Result<CoAPResponse, CoAPError>) {
        switch exchange.audience {
        case .user: output(.finished(exchange.id, result))
        case .nobody: break
        case .observation(let id):
            // What cannot be fetched is as good as not notified: the next notification may be better.
            if case .success(let response) = result, response.code.isSuccess {
                output(.notification(id, response))
            } else {
                counters.lostNotifications += 1
            }
        }
        drop(exchange)
    }

    /// Ends an exchange without a word.
    mutating func drop(_ exchange: Exchange) {
        change(exchange, to: .over)
        if exchange.hasToken { exchanges.removeToken(of: exchange) }
        exchange.hasToken = false
        exchanges.remove(exchange)
        if exchange.audience != .user {
            hiddenCount -= 1
            exchanges.release(exchange.id.place)
        }
    }

    /// A token that no other unfinished request has. There are twice as many tokens, at least, as requests.
    private mutating func unusedToken(byteCount count: Int) -> CoAPToken {
        while true {
            let token = CoAPToken(bits: random.next(), count: count)
            if exchanges.first(token) == nil { return token }
        }
    }

    /// A number that need not be unguessable (Knuth, The Art of Computer Programming, volume 2, 3.3.4).
    private mutating func nextJitter() -> UInt64 {
        jitter = jitter &* 6_364_136_223_846_793_005 &+ 1
        return jitter
    }

    // MARK: Time

    mutating func wake(at time: Duration) { deadline = min(deadline ?? time, time) }

    /// Acts on a ``deadline`` that has passed; does nothing before it.
    public mutating func handleTimeout(at now: Duration) {
        guard let deadline, now >= deadline else { return }
        #if !hasFeature(Embedded)
        if isStream { handleStreamTimeout(at: now) }
        #endif
        for place in exchanges.indices {
            if let exchange = exchanges[place] { handleTimeout(of: exchange, at: now) }
        }
        self.deadline = nil
        #if !hasFeature(Embedded)
        if isStream, let time = stream.readyDeadline { wake(at: time) }
        #endif
        for place in exchanges.indices {
            guard let exchange = exchanges[place] else { continue }
            if let time = exchange.giveUpAt { wake(at: time) }
            if let time = exchange.refreshAt { wake(at: time) }
            if isTransportOpen, case .unacknowledged(_, _, let time) = exchange.state { wake(at: time) }
        }
        transmitWaiting(at: now)
    }

    private mutating func handleTimeout(of exchange: Exchange, at now: Duration) {
        let isOver = exchange.isOver(at: now)
        switch exchange.state {
        case .queued: if isOver { finish(exchange, .failure(.notSent)) }
        case .observing: observationTimeout(of: exchange, at: now)
        case .waiting, .acknowledged, .unacknowledgeable: if isOver { finish(exchange, .failure(.noResponse)) }
        case .unacknowledged(let transmissions, let timeout, let resendAt):
            if isOver || (resendAt <= now && transmissions > configuration.retransmissions) {
                return finish(exchange, .failure(.notAcknowledged(transmissions: transmissions)))
            }
            guard resendAt <= now, isTransportOpen else { return }
            output(.transmit(exchange.datagram))
            counters.retransmissions += 1
            exchange.state = .unacknowledged(
                transmissions: transmissions + 1,
                timeout: timeout + timeout,
                resendAt: now + timeout + timeout
            )
        case .over: break
        }
    }
}
