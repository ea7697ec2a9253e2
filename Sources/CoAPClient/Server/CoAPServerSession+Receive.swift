internal import Kernel
public import SAL

extension CoAPServerSession {
    /// Takes a datagram from a peer. What is not in order is rejected as the standard says, and counted.
    ///
    /// `isMulticast` says that it was sent to a group, `isTruncated` that its end is missing.
    public mutating func receive(
        _ datagram: Span<UInt8>,
        from peer: SocketAddress,
        isMulticast: Bool = false,
        isTruncated: Bool = false,
        at now: Duration
    ) {
        let isTooLong = isTruncated || datagram.count > messageBytes
        let message: CoAPMessage
        do throws(CoAPFormatError) {
            message = try isTooLong ? Self.head(datagram) : CoAPMessage(decoding: datagram)
        } catch {
            counters.malformed += 1
            // What has no readable header cannot be answered; a version that is not ours must not be (RFC 7252, 3).
            if let header = try? CoAPHeader(decoding: datagram), header.type == .confirmable, !isMulticast {
                reset(header.messageID, of: peer)
            }
            return
        }
        switch message.type {
        case .acknowledgement: acknowledged(message, by: peer, at: now)
        case .reset: rejected(message, by: peer, at: now)
        case .confirmable, .nonConfirmable:
            // A request to a group must not be confirmable (RFC 7252, 8.1).
            if isMulticast, message.type == .confirmable || !message.code.isRequest { return counters.unexpected += 1 }
            guard message.code.isRequest else {
                // A ping, or a response to what nobody has asked (RFC 7252, 4.2 and 4.3).
                if message.code != .empty { counters.unexpected += 1 }
                if message.type == .confirmable { reset(message.messageID, of: peer) }
                return
            }
            receiveRequest(message, from: peer, isMulticast, isTooLong, at: now)
        }
    }

    /// What needs to be known of a request that is too long; other messages of that length make no sense.
    private static func head(_ datagram: Span<UInt8>) throws(CoAPFormatError) -> CoAPMessage {
        let header = try CoAPHeader(decoding: datagram)
        guard header.code.isRequest else { throw .emptyMessageWithContent }
        let token = try header.token(datagram)
        return CoAPMessage(type: header.type, code: header.code, messageID: header.messageID, token: token)
    }

    private mutating func reset(_ messageID: UInt16, of peer: SocketAddress) {
        counters.resetsSent += 1
        output(.transmit(CoAPMessage.empty(.reset, messageID).encoded, to: peer))
    }

    // MARK: Requests

    private mutating func receiveRequest(
        _ message: CoAPMessage,
        from peer: SocketAddress,
        _ isMulticast: Bool,
        _ isTooLong: Bool,
        at now: Duration
    ) {
        if isDuplicate(message, from: peer, at: now) { return counters.duplicates += 1 }
        // What is answered at once is worked out again for each copy, and costs no memory.
        let none = CoAPResourceID(rawValue: 0)
        let request = Pending(0, for: none, message, from: peer, isMulticast: isMulticast, observer: nil, giveUpAt: now)
        if isTooLong {
            // In blocks it may do (RFC 7959, 2.9.3).
            var response = CoAPResponse(.requestEntityTooLarge)
            response.options.block1 = CoAPBlock(number: 0, sizeExponent: configuration.messages.blockExponent)
            return answer(request, response, isRemembered: false, at: now)
        }
        if let number = message.options.firstUnacceptable(understood: configuration.messages.understoodOptions) {
            // Without confirmation it is rejected silently (RFC 7252, 5.4.1).
            guard message.type == .confirmable else { return counters.unexpected += 1 }
            var text = ("option " as StaticString).bytes
            text.append(decimal: UInt64(number.rawValue))
            return answer(request, CoAPResponse(.badOption, payload: text), isRemembered: false, at: now)
        }
        let path = message.options.routedPath
        let place = route(path)
        if let response = refusal(message, path, place, from: peer, at: now) {
            return answer(request, response, isRemembered: false, at: now)
        }
        guard let place else {
            let response = discovery(message.options)
            if isMulticast, response.payload.isEmpty { return }
            return answer(request, response, isRemembered: false, at: now)
        }
        if message.options.observe == 1 {
            removeObserver(of: peer, message.token)
            notifyWaiting(peer, at: now)
        }
        if let block = message.options.block2, block.number > 0, respond(with: block, to: request, at: now) { return }
        if exchangeCount >= configuration.exchangeLimit {
            counters.refused += 1
            var response = CoAPResponse(.tooManyRequests)
            response.options.maxAge = configuration.overloadMaxAge
            return answer(request, response, isRemembered: false, at: now)
        }
        switch assemble(message, from: peer, at: now) {
        case .respond(let response): answer(request, response, isRemembered: true, at: now)
        case .whole(let payload):
            let id = resources[place].id
            ask(id, message, payload: payload, from: peer, isMulticast: isMulticast, at: now)
        }
    }

    /// Deals with a copy of a request that has arrived before (RFC 7252, 4.5).
    private mutating func isDuplicate(_ message: CoAPMessage, from peer: SocketAddress, at now: Duration) -> Bool {
        if let request = pending.first(where: {
            $0.observer == nil && $0.message.messageID == message.messageID && $0.peer == peer
        }) {
            if request.isAcknowledged { output(acknowledge(message.messageID, of: peer)) }
            return true
        }
        let hash = seed.hash(peer, UInt64(message.messageID))
        guard let answer = answered.answer(to: message.messageID, of: peer, hash: hash, at: now) else { return false }
        if !answer.isEmpty { output(.transmit(answer, to: peer)) }
        return true
    }

    /// The response to a request that no handler needs to see, if it is one.
    private func refusal(
        _ message: CoAPMessage,
        _ path: [[UInt8]],
        _ place: Int?,
        from peer: SocketAddress,
        at now: Duration
    ) -> CoAPResponse? {
        let options = message.options
        if options.contains(.proxyUri) || options.contains(.proxyScheme) { return CoAPResponse(.proxyingNotSupported) }
        if !configuration.hosts.isEmpty, let host = options.first(.uriHost),
            !configuration.hosts.contains(where: { isSameName($0.span, host.span) })
        {
            return CoAPResponse(.proxyingNotSupported)
        }
        // A segment is never "." or ".." (RFC 7252, 5.10.1).
        if path.contains(where: { !$0.isEmpty && $0.count <= 2 && $0.allSatisfy { $0 == UInt8(ascii: ".") } }) {
            return CoAPResponse(.badRequest)
        }
        guard let place else {
            guard isDiscovery(path) else { return CoAPResponse(.notFound) }
            return refusal(message, methods: .get, [.linkFormat], [])
        }
        let resource = resources[place].resource
        let response = refusal(message, methods: resource.methods, resource.formats, resource.acceptedFormats)
        if response != nil { return response }
        guard resource.requiresFreshness, message.code != .get, message.code != .fetch else { return nil }
        return challenge(options.first(.echo), from: peer, at: now)
    }

    private func refusal(
        _ message: CoAPMessage,
        methods: CoAPMethods,
        _ formats: [CoAPContentFormat],
        _ acceptedFormats: [CoAPContentFormat]
    ) -> CoAPResponse? {
        // An unknown method is not allowed either (RFC 7252, 5.8).
        guard methods.contains(CoAPMethods(message.code)) else { return CoAPResponse(.methodNotAllowed) }
        if let format = message.options.accept, !formats.isEmpty, !formats.contains(format) {
            return CoAPResponse(.notAcceptable)
        }
        if let format = message.options.contentFormat, !message.payload.isEmpty, !acceptedFormats.isEmpty,
            !acceptedFormats.contains(format)
        {
            return CoAPResponse(.unsupportedContentFormat)
        }
        for block in [message.options.block1, message.options.block2] where block?.sizeExponent == 7 {
            return CoAPResponse(.badRequest)
        }
        return nil
    }

    // MARK: Discovery (RFC 6690)

    private func isDiscovery(_ path: [[UInt8]]) -> Bool {
        path.count == 2 && path[0] == (".well-known" as StaticString).bytes && path[1] == ("core" as StaticString).bytes
    }

    private func discovery(_ options: CoAPOptions) -> CoAPResponse {
        var links: [CoAPLink] = []
        for entry in resources where entry.resource.isListed { links.append(entry.resource.listed) }
        return .links(links, for: options)
    }

    // MARK: Freshness (RFC 9175, 2)

    /// The response that asks for an Echo option, unless `echo` is one of ours, for this peer, and new enough. It says when it was made, and a hash that nobody else can make.
    private func challenge(_ echo: [UInt8]?, from peer: SocketAddress, at now: Duration) -> CoAPResponse? {
        // In units of 1.15 s: without a division, which is one of 128 bits.
        let unit = 60
        let time = UInt32(truncatingIfNeeded: now.attoseconds >> unit)
        if let echo, echo.count == 12 {
            var made: UInt32 = 0
            for index in 0..<4 { made = made << 8 | UInt32(echo[index]) }
            let age = Duration(attoseconds: Int128(time &- made) << unit)
            if age <= configuration.echoLifetime, echo == self.echo(made, for: peer) { return nil }
        }
        var response = CoAPResponse(.unauthorized)
        response.options.add(.echo, self.echo(time, for: peer))
        return response
    }

    private func echo(_ time: UInt32, for peer: SocketAddress) -> [UInt8] {
        var value: [UInt8] = []
        for shift in [24, 16, 8, 0] as [UInt32] { value.append(UInt8(truncatingIfNeeded: time >> shift)) }
        value.append(bigEndian: seed.hash(peer, 1 << 33 | UInt64(time)))
        return value
    }
}
