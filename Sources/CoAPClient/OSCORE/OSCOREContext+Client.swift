internal import Kernel

/// What ties the responses to a request that a client has protected.
///
/// It is the client's to keep until the last response has come: as long as the token.
public struct OSCOREClientExchange: Equatable, Sendable {
    /// The sequence number of the request.
    public let sequenceNumber: UInt64
    /// The Partial IV of the newest notification (RFC 8613, 7.4.1).
    public internal(set) var notificationNumber: UInt64?
    /// Whether there was a response with the nonce of the request: there is one at most.
    var hasResponseWithoutPartialIV = false
}

extension OSCOREContext {
    /// Protects a request (RFC 8613, 8.1). Method, payload and all options but Uri-Host, Uri-Port, Proxy-Scheme and Hop-Limit are encrypted; of Observe there is a
    /// copy outside.
    ///
    /// What is sent again by the message layer is the same protected request; whoever makes a new attempt protects anew.
    public mutating func protect(
        _ request: CoAPRequest
    ) throws(OSCOREError) -> (request: CoAPRequest, exchange: OSCOREClientExchange) {
        guard request.method.isRequest else { throw .invalidCode(request.method) }
        let plaintext = try OSCOREPlaintext(code: request.method, options: request.options, payload: request.payload)
        try checkSize(plaintext)
        let number = try takeSequenceNumber()
        let binding = Binding(id: senderID, partialIV: number, requestKID: senderID, requestPartialIV: number)
        let option = OSCOREOption(partialIV: number, kid: senderID, kidContext: idContext)
        var outer = plaintext.outer
        outer.add(.oscore, option.encoded)
        let protected = CoAPRequest(
            plaintext.hasObserve ? .fetch : .post,
            options: outer,
            payload: try encrypt(plaintext.bytes, binding),
            isConfirmable: request.isConfirmable
        )
        return (protected, OSCOREClientExchange(sequenceNumber: number))
    }

    /// The response that the server has protected (RFC 8613, 8.4). The Observe option of a notification is the end of its Partial IV, which orders notifications as
    /// RFC 7641, 3.4 says; an older one than was delivered is refused as ``OSCOREError/replayed(_:)``.
    public func unprotect(
        _ response: CoAPResponse,
        for exchange: inout OSCOREClientExchange
    ) throws(OSCOREError) -> CoAPResponse {
        let option = try OSCOREOption(in: response.options, of: response.code)
        guard !response.payload.isEmpty else { throw .malformed }
        if let number = option.partialIV {
            if let newest = exchange.notificationNumber, number <= newest { throw .replayed(number) }
        } else if exchange.hasResponseWithoutPartialIV {
            throw .replayed(exchange.sequenceNumber)
        }
        let binding = Binding(
            id: option.partialIV == nil ? senderID : recipientID,
            partialIV: option.partialIV ?? exchange.sequenceNumber,
            requestKID: senderID,
            requestPartialIV: exchange.sequenceNumber
        )
        let plaintext = try decrypt(response.payload, binding)
        var (code, options, payload) = try OSCOREPlaintext.message(plaintext.span, outer: response.options)
        guard code.isResponse else { throw .malformedPlaintext }
        if options.contains(.observe) {
            // One without a Partial IV counts as the oldest.
            if option.partialIV == nil, exchange.notificationNumber != nil {
                throw .replayed(exchange.sequenceNumber)
            }
            options.observe = UInt32(truncatingIfNeeded: (option.partialIV ?? 0) & 0xFF_FFFF)
            if let number = option.partialIV { exchange.notificationNumber = number }
        }
        if option.partialIV == nil { exchange.hasResponseWithoutPartialIV = true }
        return CoAPResponse(code, options: options, payload: payload)
    }
}

extension CoAPRequest {
    /// The same request with what the server asks for in `response`, which was protected: 4.01 with an Echo option (RFC 9175, 2.3; RFC 8613, B.1.2). `nil` if it does not ask.
    /// It is to be protected anew.
    public func answering(challenge response: CoAPResponse) -> CoAPRequest? {
        guard response.code == .unauthorized, let echo = response.options.first(.echo) else { return nil }
        guard (1...40).contains(echo.count) else { return nil }
        var request = self
        request.options.remove(.echo)
        request.options.add(.echo, echo)
        return request
    }
}
