internal import Kernel
internal import SecureTransport

/// What ties the responses of a server to the request that it has received.
public struct OSCOREServerExchange: Equatable, Sendable {
    /// The sequence number of the request.
    public let sequenceNumber: UInt64
    /// Whether no response to the request can have been protected before this exchange.
    let isProven: Bool
}

/// A request that was decrypted, by who has the keys.
@nonexhaustive
public enum OSCOREIncomingRequest: Equatable, Sendable {
    /// It was not received before.
    case accepted(CoAPRequest, OSCOREServerExchange)
    /// It may have been received before the restart, and so is not to be acted upon. The answer is ``OSCOREContext/protectChallenge(for:)``; the client then repeats
    /// the request with what proves that it is new.
    case unproven(OSCOREServerExchange)
}

extension OSCOREContext {
    /// The request that a client has protected (RFC 8613, 8.2).
    ///
    /// What is not encrypted proves nothing: Uri-Host, Uri-Port, Proxy-Scheme and Hop-Limit are as somebody on the way has made them. Of an error,
    /// ``OSCOREError/response`` is the answer.
    public mutating func unprotect(_ request: CoAPRequest) throws(OSCOREError) -> OSCOREIncomingRequest {
        let option = try OSCOREOption(in: request.options, of: request.method)
        guard let number = option.partialIV, let kid = option.kid, !request.payload.isEmpty else { throw .malformed }
        // One whose ID context is left out may be of any.
        guard kid == recipientID, option.kidContext == nil || option.kidContext == idContext else {
            throw .contextNotFound
        }
        if case .takesNoRequests = replay { throw .contextNotFound }
        try replayWindow?.check(number)
        let binding = Binding(id: kid, partialIV: number, requestKID: kid, requestPartialIV: number)
        let plaintext = try decrypt(request.payload, binding)
        let message: (code: CoAPCode, options: CoAPOptions, payload: [UInt8])
        do throws(OSCOREError) {
            message = try OSCOREPlaintext.message(plaintext.span, outer: request.options)
            guard message.code.isRequest else { throw .malformedPlaintext }
        } catch {
            // Who has the keys has sent it, so its number is used.
            received(number)
            throw error
        }
        if case .lost(let challenge) = replay {
            guard let echo = message.options.first(.echo), constantTimeEqual(echo.span, challenge.span) else {
                return .unproven(OSCOREServerExchange(sequenceNumber: number, isProven: false))
            }
            replay = .restored(OSCOREReplayWindow(startingAt: number))
        } else {
            received(number)
        }
        var options = message.options
        // If they differ somebody has changed the outer one.
        if options.observe != request.options.observe { options.remove(.observe) }
        let inner = CoAPRequest(
            message.code,
            options: options,
            payload: message.payload,
            isConfirmable: request.isConfirmable
        )
        return .accepted(inner, OSCOREServerExchange(sequenceNumber: number, isProven: true))
    }

    private mutating func received(_ number: UInt64) {
        // While the window is lost nothing is known with this number either.
        guard var window = replayWindow else { return }
        window.insert(number)
        replay = .restored(window)
    }

    /// Protects a response, or a notification: one with an Observe option (RFC 8613, 8.3). Any number of them can be protected for an exchange.
    ///
    /// The first response has the nonce of its request, and is shorter by that; any other, and each notification, has a sequence number of its own.
    public mutating func protect(
        _ response: CoAPResponse,
        for exchange: OSCOREServerExchange
    ) throws(OSCOREError) -> CoAPResponse {
        guard response.code.isResponse else { throw .invalidCode(response.code) }
        let plaintext = try OSCOREPlaintext(
            code: response.code,
            options: response.options,
            payload: response.payload
        )
        try checkSize(plaintext)
        let isFirst = takeNonce(of: exchange)
        let number = isFirst && !plaintext.hasObserve ? nil : try takeSequenceNumber()
        let binding = Binding(
            id: number == nil ? recipientID : senderID,
            partialIV: number ?? exchange.sequenceNumber,
            requestKID: recipientID,
            requestPartialIV: exchange.sequenceNumber
        )
        var outer = plaintext.outer
        outer.add(.oscore, OSCOREOption(partialIV: number).encoded)
        return CoAPResponse(
            plaintext.hasObserve ? .content : .changed,
            options: outer,
            payload: try encrypt(plaintext.bytes, binding)
        )
    }

    /// The answer to an ``OSCOREIncomingRequest/unproven(_:)`` request: 4.01 with an Echo option, protected with a sequence number of its own, since the request may have been
    /// answered before (RFC 8613, B.1.2). Without the option, if another request has proven itself meanwhile: the client just repeats the request.
    public mutating func protectChallenge(for exchange: OSCOREServerExchange) throws(OSCOREError) -> CoAPResponse {
        var response = CoAPResponse(.unauthorized)
        if case .lost(let challenge) = replay { response.options.add(.echo, challenge) }
        return try protect(response, for: exchange)
    }

    /// Whether the nonce of the request is free. It is taken for good.
    private mutating func takeNonce(of exchange: OSCOREServerExchange) -> Bool {
        guard mayReuseNonces, exchange.isProven else { return false }
        do throws(OSCOREError) { try answered.check(exchange.sequenceNumber) } catch { return false }
        answered.insert(exchange.sequenceNumber)
        return true
    }
}
