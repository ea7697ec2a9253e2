internal import Kernel
internal import SAL

extension CoAPServerSession {
    /// Sends the response to a request, as the request wants it: with the acknowledgement or alone, whole or a block of it, or not at all.
    mutating func answer(_ request: Pending, _ response: CoAPResponse, isRemembered: Bool, at now: Duration) {
        let message = request.message
        var response = response
        let isFirst = (message.options.block2?.number ?? 0) == 0
        let format: CoAPContentFormat?? = response.code == .content ? .some(response.options.contentFormat) : nil
        if isFirst { response.validate(for: message) }
        var observer: Observer?
        if message.options.observe == 0, isFirst, isRemembered {
            observer = register(request, response, format: format, at: now)
            response.options.observe = observer == nil ? nil : notificationNumber
        }
        if let block = message.options.block1, response.code.isSuccess, !response.options.contains(.block1) {
            response.options.block1 = CoAPBlock(number: block.number, sizeExponent: block.sizeExponent)
        }
        cut(&response, for: message, to: request.peer, isStored: isRemembered, at: now)
        let isSilent = isSuppressed(response.code, request)
        if message.type == .confirmable {
            var acknowledgement = CoAPMessage.empty(.acknowledgement, message.messageID)
            if request.isAcknowledged {
                if !isSilent { sendConfirmable(response, message.token, to: request.peer, observer: observer, at: now) }
            } else {
                if !isSilent {
                    acknowledgement = Self.message(.acknowledgement, response, message.messageID, message.token)
                }
                output(.transmit(acknowledgement.encoded, to: request.peer))
            }
            if isRemembered { remember(request, acknowledgement.encoded, timeouts.exchangeLifetime, at: now) }
            return
        }
        // A copy of what was not to be confirmed is ignored (RFC 7252, 4.5).
        if isRemembered { remember(request, [], timeouts.nonConfirmableLifetime, at: now) }
        if isSilent { return }
        let messageID = nextMessageID(for: request.peer)
        observer?.messageID = messageID
        let datagram = Self.message(.nonConfirmable, response, messageID, message.token).encoded
        guard request.isMulticast else { return output(.transmit(datagram, to: request.peer)) }
        guard exchangeCount < configuration.exchangeLimit else { return counters.refused += 1 }
        // A part of it in 65,536ths: without a division, which is one of 128 bits.
        let part = (configuration.leisure.attoseconds >> 16) &* Int128(random.next() >> 48)
        let sendAt = now + Duration(attoseconds: part)
        delayed.append(Delayed(datagram, to: request.peer, at: sendAt))
        wake(at: sendAt)
    }

    static func message(
        _ type: CoAPMessageType,
        _ response: CoAPResponse,
        _ messageID: UInt16,
        _ token: CoAPToken
    ) -> CoAPMessage {
        CoAPMessage(
            type: type,
            code: response.code,
            messageID: messageID,
            token: token,
            options: response.options,
            payload: response.payload
        )
    }

    /// Whether nobody wants to see a response: as the request says (RFC 7967, 2), or if it does not and went to a group, an error (RFC 7252, 8.2).
    private func isSuppressed(_ code: CoAPCode, _ request: Pending) -> Bool {
        if let unwanted = request.message.options.noResponse {
            return unwanted & (1 << UInt32(code.codeClass)) >> 1 != 0
        }
        return request.isMulticast && !code.isSuccess
    }

    private mutating func remember(_ request: Pending, _ answer: [UInt8], _ time: Duration, at now: Duration) {
        let messageID = request.message.messageID
        answered.insert(
            AnsweredRequests.Entry(answer, to: messageID, of: request.peer, forgetAt: now + time),
            hash: seed.hash(request.peer, UInt64(messageID))
        )
    }

    // MARK: Bodies in blocks (RFC 7959)

    /// What there is of a request's body.
    enum Assembly {
        case whole([UInt8])
        case respond(CoAPResponse)
    }

    /// Puts the body of a request together.
    mutating func assemble(_ message: CoAPMessage, from peer: SocketAddress, at now: Duration) -> Assembly {
        let limit = configuration.messages.maximumBodyBytes
        let payload = message.payload
        let key = StoredBodies.Key(peer, message, isRequest: true)
        guard let block = message.options.block1 else {
            return payload.count > limit ? .respond(Self.tooLarge(limit)) : .whole(payload)
        }
        let uploaded = bodies.uploadedCount(key, at: now) ?? 0
        let total = max(block.offset + payload.count, Int(clamping: message.options.uint(.size1) ?? 0))
        guard total <= limit else {
            bodies.remove(key)
            return .respond(Self.tooLarge(limit))
        }
        guard payload.count <= block.byteCount, !block.hasMore || payload.count == block.byteCount else {
            return .respond(CoAPResponse(.badRequest))
        }
        if block.number == 0 {
            bodies.remove(key)
            guard block.hasMore else { return .whole(payload) }
            guard bodies.store(CoAPResponse(.continue, payload: payload), key, at: now) else {
                return .respond(Self.tooLarge(limit))
            }
        } else if uploaded == block.offset {
            guard bodies.append(payload, key, at: now) else {
                bodies.remove(key)
                return .respond(Self.tooLarge(limit))
            }
            if !block.hasMore { return .whole(bodies.takeUpload(key, at: now) ?? []) }
        } else if !block.hasMore || uploaded != block.offset + payload.count {
            // What is no copy of the last block leaves a gap.
            bodies.remove(key)
            return .respond(CoAPResponse(.requestEntityIncomplete))
        }
        var response = CoAPResponse(.continue)
        let exponent = min(block.sizeExponent, configuration.messages.blockExponent)
        response.options.block1 = CoAPBlock(number: block.number, hasMore: true, sizeExponent: exponent)
        return .respond(response)
    }

    private static func tooLarge(_ limit: Int) -> CoAPResponse {
        var response = CoAPResponse(.requestEntityTooLarge)
        response.options.add(.size1, uint: UInt32(clamping: limit))
        return response
    }

    /// Answers a request for a later block from the body that is kept; `false` if its handler is to be asked once more.
    mutating func respond(with block: CoAPBlock, to request: Pending, at now: Duration) -> Bool {
        let message = request.message
        if let response = bodies.response(StoredBodies.Key(request.peer, message, isRequest: false), at: now) {
            answer(request, response, isRemembered: false, at: now)
            return true
        }
        // To ask again for what changes nothing does no harm, and the ETag tells whether the blocks belong together.
        if message.code == .get || message.code == .fetch && !message.payload.isEmpty { return false }
        answer(request, CoAPResponse(.requestEntityIncomplete), isRemembered: false, at: now)
        return true
    }

    /// Cuts the block that is asked for out of a response, or the first one if it does not fit into a message, and keeps the whole.
    mutating func cut(
        _ response: inout CoAPResponse,
        for message: CoAPMessage,
        to peer: SocketAddress,
        isStored: Bool,
        at now: Duration
    ) {
        if response.options.contains(.block2) { return }
        let wanted = response.code.isSuccess ? message.options.block2 : nil
        // ETag, Size2, Block2 and the payload marker take up to 23 bytes.
        let used = 4 + message.token.count + response.options.bytes.count + 23
        let most = min(
            configuration.messages.blockExponent,
            CoAPBlock.exponent(notOver: messageBytes - used)
        )
        let exponent = min(wanted?.sizeExponent ?? most, most)
        let size = CoAPBlock.byteCount(exponent)
        let (whole, offset) = (response.payload, wanted?.offset ?? 0)
        if offset == 0, whole.count <= size, wanted == nil || whole.isEmpty { return }
        // Nor is there a number for a block behind the last.
        guard offset == 0 || offset < whole.count, offset <= CoAPBlock.largestNumber << (4 + Int(exponent)) else {
            response = CoAPResponse(.badRequest)
            return
        }
        if response.code.isSuccess, whole.count > size, !response.options.contains(.eTag) {
            var eTag: [UInt8] = []
            eTag.append(bigEndian: seed.hash(whole.span))
            response.options.eTag = eTag
        }
        if isStored, whole.count > size {
            var kept = response
            kept.options.remove(.observe)
            kept.options.remove(.block1)
            bodies.store(kept, StoredBodies.Key(peer, message, isRequest: false), at: now)
            wake(at: now + configuration.bodyLifetime)
        }
        let end = min(offset + size, whole.count)
        response.options.block2 = CoAPBlock(at: offset, hasMore: end < whole.count, sizeExponent: exponent)
        if offset == 0, !response.options.contains(.size2) {
            response.options.add(.size2, uint: UInt32(clamping: whole.count))
        }
        response.payload = Array(whole[offset..<end])
    }
}

extension CoAPResponse {
    /// Makes a representation that the client has already a 2.03 (RFC 7252, 5.9.1.3).
    mutating func validate(for message: CoAPMessage) {
        guard code == .content, message.code == .get || message.code == .fetch, let eTag = options.eTag,
            message.options.all(.eTag).contains(eTag)
        else { return }
        code = .valid
        payload = []
        options.remove(.contentFormat)
        options.remove(.block2)
        options.remove(.size2)
    }
}
