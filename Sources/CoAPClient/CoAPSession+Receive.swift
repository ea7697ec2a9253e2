extension CoAPSession {
    /// Takes a datagram from the peer. What is not in order is rejected as the standard says, and counted; nothing that the
    /// peer sends ends more than the one request that it belongs to.
    ///
    /// `isTruncated` says that the end of the datagram is missing: the request fails with ``CoAPError/responseTruncated``.
    public mutating func receive(_ datagram: Span<UInt8>, isTruncated: Bool = false, at now: Duration) {
        let message: CoAPMessage
        do throws(CoAPFormatError) {
            if isTruncated {
                let header = try CoAPHeader(decoding: datagram)
                let token = try header.token(datagram)
                return receiveTruncated(header, token, at: now)
            }
            message = try CoAPMessage(decoding: datagram)
        } catch {
            counters.malformed += 1
            // What has no readable header cannot be answered; a version that is not ours must not be (RFC 7252, 3).
            if let header = try? CoAPHeader(decoding: datagram) { reject(header.type, header.messageID) }
            return
        }
        switch message.type {
        case .acknowledgement: receiveAcknowledgement(message, at: now)
        case .reset: receiveReset(message)
        case .confirmable, .nonConfirmable: receiveSeparate(message, at: now)
        }
        transmitWaiting(at: now)
    }

    /// Acknowledgements are matched by message ID, and what response they carry by token too (RFC 7252, 5.3.2).
    private mutating func receiveAcknowledgement(_ message: CoAPMessage, at now: Duration) {
        guard let exchange = unacknowledged(message.messageID) else { return counters.unexpected += 1 }
        if message.code == .empty {
            // Some answer a ping so.
            return exchange.method == .empty ? finish(exchange, .success(CoAPResponse(.empty))) : acknowledge(exchange)
        }
        guard message.code.isResponse, message.token == exchange.token else { return counters.unexpected += 1 }
        if configuration.treatsEmptyValidAsAcknowledgement, message.code == .valid, !exchange.hasETag,
            message.options.isEmpty, message.payload.isEmpty
        {
            return acknowledge(exchange)
        }
        respond(to: exchange, result(message), at: now)
    }

    private mutating func receiveReset(_ message: CoAPMessage) {
        guard message.code == .empty, let exchange = exchanges.outstanding(message.messageID) else {
            return counters.unexpected += 1
        }
        // What was no request but a ping is answered by it.
        finish(exchange, exchange.method == .empty ? .success(CoAPResponse(.empty)) : .failure(.reset))
    }

    /// A response in a message of its own. It acknowledges the request too, if that is still to come (RFC 7252, 5.2.2).
    private mutating func receiveSeparate(_ message: CoAPMessage, at now: Duration) {
        guard message.code.isResponse else {
            // A request, or a ping, whose answer is a reset (RFC 7252, 4.3): we serve nothing.
            counters.unexpected += 1
            return reject(message.type, message.messageID)
        }
        let exchange = exchanges.first(message.token)
        // Only what keeps its token, as an observation does, can have had a response with it.
        if exchange?.keepsToken ?? true, isDelivered(message, at: now) {
            // The acknowledgement was lost, or the network made a copy (RFC 7252, 4.5).
            counters.duplicates += 1
            return acknowledge(message)
        }
        guard let exchange, exchange.keepsToken || !exchange.isStalled else {
            counters.unexpected += 1
            return reject(message.type, message.messageID)
        }
        if exchange.audience == .nobody, message.options.contains(.observe) {
            // The last notifications of an observation that is being ended.
            remember(message, at: now)
            return acknowledge(message)
        }
        let result = result(message)
        if case .failure = result {
            reject(message.type, message.messageID)
        } else {
            remember(message, at: now)
            acknowledge(message)
        }
        respond(to: exchange, result, at: now)
    }

    private mutating func receiveTruncated(_ header: CoAPHeader, _ token: CoAPToken, at now: Duration) {
        reject(header.type, header.messageID)
        let exchange =
            header.type == .acknowledgement ? unacknowledged(header.messageID) : exchanges.first(token)
        guard header.code.isResponse, let exchange, exchange.token == token else { return counters.unexpected += 1 }
        finish(exchange, .failure(.responseTruncated))
        transmitWaiting(at: now)
    }

    func result(_ message: CoAPMessage) -> Result<CoAPResponse, CoAPError> {
        if let number = message.options.firstUnacceptable(understood: configuration.understoodOptions) {
            return .failure(.unacceptableOption(number))
        }
        return .success(CoAPResponse(message.code, options: message.options, payload: message.payload))
    }

    private mutating func unacknowledged(_ messageID: UInt16) -> Exchange? {
        guard let exchange = exchanges.outstanding(messageID), exchange.isConfirmable else { return nil }
        return exchange
    }

    private mutating func acknowledge(_ message: CoAPMessage) {
        guard message.type == .confirmable else { return }
        output(.transmit(CoAPMessage.empty(.acknowledgement, message.messageID).encoded))
    }

    /// Rejects a message: with a reset, or silently if it is an acknowledgement or a reset itself (RFC 7252, 4.2 and 4.3).
    private mutating func reject(_ type: CoAPMessageType, _ messageID: UInt16) {
        guard type == .confirmable || type == .nonConfirmable else { return }
        counters.resetsSent += 1
        output(.transmit(CoAPMessage.empty(.reset, messageID).encoded))
    }
}
