#if !hasFeature(Embedded)
internal import Kernel
internal import SAL

/// What is known of the stream that a session has now (RFC 8323).
struct CoAPStreamState {
    /// When the peer must have told its capabilities; `nil` once it has.
    var readyDeadline: Duration?
    /// Whether the peer has told its capabilities: requests can be sent.
    var isReady = false
    /// How long a message the peer takes; until it says so, 1,152 bytes (RFC 8323, 5.3.1).
    var peerLimit = 1_152
    /// Whether the peer takes bodies in blocks.
    var peerTakesBlocks = false
    /// Whether the peer takes several blocks of a body in a message (RFC 8323, 6).
    var peerTakesBulk: Bool { peerTakesBlocks && peerLimit > 1_152 }
    /// Whether the peer wants the connection to end, once what was asked is answered; how long it wants to be left alone then.
    var isReleased = false
    var holdOff: Duration?
    /// Whether the stream is to be closed: what still comes is of no interest.
    var isOver = false
    /// Whether so much waits to be sent that no more requests are.
    var isFull = false
    /// The beginning of a message.
    var partial: [UInt8] = []
}

extension CoAPOptionNumber {
    // The options of signals, whose numbers are those of their codes (RFC 8323, 11.2).

    fileprivate static let maximumMessageSize = CoAPOptionNumber(rawValue: 2)
    fileprivate static let blockWiseTransfer = CoAPOptionNumber(rawValue: 4)
    fileprivate static let custody = CoAPOptionNumber(rawValue: 2)
    fileprivate static let holdOff = CoAPOptionNumber(rawValue: 4)
    fileprivate static let badCapability = CoAPOptionNumber(rawValue: 2)
}

extension CoAPSession {
    // MARK: The connection (RFC 8323, 3 and 5)

    /// Tells the peer what is taken here. Requests wait until the peer has told the same.
    mutating func openStream(at now: Duration) {
        stream = CoAPStreamState()
        let deadline = now + configuration.openTimeout
        stream.readyDeadline = deadline
        wake(at: deadline)
        var options = CoAPOptions()
        options.add(.maximumMessageSize, uint: UInt32(clamping: configuration.maximumStreamMessageBytes))
        options.add(.blockWiseTransfer, [])
        signal(.capabilities, options)
    }

    mutating func handleStreamTimeout(at now: Duration) {
        guard let deadline = stream.readyDeadline, deadline <= now, isTransportOpen else { return }
        stream.readyDeadline = nil
        failAll(.transport(.timedOut))
        disconnect()
    }

    /// What was asked over a stream that is no more: observations are registered anew, what is safe is asked once more, and the rest fails, as nobody knows what became of it.
    mutating func closeStream() {
        stream = CoAPStreamState()
        stalled.removeAll()
        for place in exchanges.indices {
            guard let exchange = exchanges[place], exchange.hasToken else { continue }
            exchange.isInLine = false
            if case .observing = exchange.state { continue }
            if exchange.audience != .user {
                drop(exchange)
            } else if let observation = exchange.observation, !observation.isProtected {
                stall(exchange)
            } else if !exchange.wasLost, exchange.transfer == nil, exchange.observation == nil,
                exchange.method == .get || exchange.method == .fetch
            {
                exchange.wasLost = true
                stall(exchange)
            } else {
                finish(exchange, .failure(.connectionLost))
            }
        }
    }

    /// Says that the stream takes no more for now, or that it takes more again.
    mutating func streamFilled(_ isFull: Bool, at now: Duration) {
        stream.isFull = isFull
        if !isFull { transmitWaiting(at: now) }
    }

    /// Tells the peer that the connection is to end (RFC 8323, 5.5).
    mutating func releaseStream() { if isStream, isTransportOpen, !stream.isOver { signal(.release, CoAPOptions()) } }

    private mutating func signal(_ code: CoAPCode, _ options: CoAPOptions, token: CoAPToken = .empty) {
        output(.transmit(CoAPFrame.encode(code, token, options)))
    }

    private mutating func disconnect() {
        stream.isOver = true
        isTransportOpen = false
        output(.disconnect(holdOff: stream.holdOff))
    }

    /// Ends the connection, whose peer does not keep to the protocol (RFC 8323, 5.6).
    private mutating func abort(_ option: CoAPOptionNumber? = nil) {
        counters.malformed += 1
        var options = CoAPOptions()
        if let option { options.add(.badCapability, uint: UInt32(option.rawValue)) }
        signal(.abort, options)
        failAll(.protocolViolation)
        disconnect()
    }

    // MARK: What arrives

    /// Takes bytes that the stream has brought. What is no message of the protocol ends the connection, and all requests with ``CoAPError/protocolViolation``.
    public mutating func receive(stream bytes: Span<UInt8>, at now: Duration) {
        var start = 0
        do throws(CoAPFormatError) {
            while start < bytes.count, !stream.isOver {
                if !stream.partial.isEmpty {
                    guard try completePartial(bytes, &start, at: now) else { break }
                    continue
                }
                let frame = try CoAPFrame(bytes, from: start)
                guard let frame, try fits(frame), bytes.count - start >= frame.byteCount else {
                    if let frame { stream.partial.reserveCapacity(frame.byteCount) }
                    stream.partial.append(bytes.extracting(droppingFirst: start))
                    break
                }
                let end = start + frame.byteCount
                take(try CoAPMessage(frame, in: bytes.extracting(start..<end)), at: now)
                start = end
            }
        } catch {
            abort()
        }
        releaseIfDone()
        transmitWaiting(at: now)
    }

    /// Adds to the beginning of a message; returns whether the message was complete.
    private mutating func completePartial(
        _ bytes: Span<UInt8>,
        _ start: inout Int,
        at now: Duration
    ) throws(CoAPFormatError) -> Bool {
        var frame = try CoAPFrame(stream.partial.span)
        while frame == nil, start < bytes.count {
            stream.partial.append(bytes[start])
            start += 1
            frame = try CoAPFrame(stream.partial.span)
        }
        guard let frame, try fits(frame) else { return false }
        let count = min(frame.byteCount - stream.partial.count, bytes.count - start)
        stream.partial.append(bytes.extracting(start..<start + count))
        start += count
        guard stream.partial.count == frame.byteCount else { return false }
        let whole = stream.partial
        stream.partial = []
        take(try CoAPMessage(frame, in: whole.span), at: now)
        return true
    }

    /// Whether a message is taken: always, but for an error.
    private func fits(_ frame: CoAPFrame) throws(CoAPFormatError) -> Bool {
        guard frame.byteCount <= max(configuration.maximumStreamMessageBytes, 1_152) else {
            throw .messageTooLong(bytes: frame.byteCount)
        }
        return true
    }

    private mutating func take(_ message: CoAPMessage, at now: Duration) {
        if message.code.codeClass == 7 { return takeSignal(message, at: now) }
        // The first message tells the capabilities (RFC 8323, 5.3).
        guard stream.isReady else { return abort() }
        // An empty message is there to be ignored (RFC 8323, 3.4).
        if message.code == .empty { return }
        guard message.code.isResponse else {
            counters.unexpected += 1
            // We serve nothing.
            if message.code.isRequest { signal(.methodNotAllowed, CoAPOptions(), token: message.token) }
            return
        }
        guard let exchange = exchanges.first(message.token), exchange.keepsToken || !exchange.isStalled else {
            return counters.unexpected += 1
        }
        if exchange.audience == .nobody, message.options.contains(.observe) { return }
        respond(to: exchange, result(message), at: now)
    }

    // MARK: Signals (RFC 8323, 5)

    private mutating func takeSignal(_ message: CoAPMessage, at now: Duration) {
        if let number = unknownCritical(message) { return abort(message.code == .capabilities ? number : nil) }
        switch message.code {
        case .capabilities: takeCapabilities(message.options, at: now)
        case .abort:
            failAll(.aborted(diagnostic: message.payload))
            disconnect()
        case _ where !stream.isReady: abort()
        case .ping:
            var options = CoAPOptions()
            if message.options.contains(.custody) { options.add(.custody, []) }
            signal(.pong, options, token: message.token)
        case .pong:
            guard let exchange = exchanges.first(message.token) ?? pinged(message.token), exchange.method == .ping
            else {
                return counters.unexpected += 1
            }
            finish(exchange, .success(CoAPResponse(.empty)))
        case .release:
            stream.isReleased = true
            stream.holdOff = message.options.uint(.holdOff).map { .seconds(Int64($0)) }
        default: counters.unexpected += 1
        }
    }

    /// What a Pong without a token answers, as libcoap's is up to 4.3.1.
    private func pinged(_ token: CoAPToken) -> Exchange? {
        guard token.count == 0 else { return nil }
        for place in exchanges.indices {
            if let exchange = exchanges[place], exchange.method == .ping, exchange.hasToken { return exchange }
        }
        return nil
    }

    /// An option that must be understood, of which there are none, and so none that is critical (RFC 8323, 5.2).
    private func unknownCritical(_ message: CoAPMessage) -> CoAPOptionNumber? {
        var found: CoAPOptionNumber?
        message.options.forEach { number, _ in if number.isCritical, found == nil { found = number } }
        return found
    }

    private mutating func takeCapabilities(_ options: CoAPOptions, at now: Duration) {
        if let bytes = options.uint(.maximumMessageSize) {
            stream.peerLimit = min(Int(bytes), max(configuration.maximumStreamMessageBytes, 1_152))
        }
        if options.contains(.blockWiseTransfer) { stream.peerTakesBlocks = true }
        guard !stream.isReady else { return }
        stream.isReady = true
        stream.readyDeadline = nil
        registerAll()
        deadline = now
        handleTimeout(at: now)
    }

    /// Ends a connection that the peer wants to end, once nothing is under way.
    private mutating func releaseIfDone() {
        guard stream.isReleased, !stream.isOver else { return }
        for place in exchanges.indices {
            if let exchange = exchanges[place], case .acknowledged = exchange.state { return }
        }
        disconnect()
    }
}
#endif
