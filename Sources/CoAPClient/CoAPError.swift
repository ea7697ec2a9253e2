public import SAL

/// Every way in which a CoAP request can fail. A response is not among them, whatever its code says.
@nonexhaustive
public enum CoAPError: Error, Equatable, Sendable {
    /// The peer neither acknowledged the request nor answered it, after so many transmissions.
    case notAcknowledged(transmissions: Int)
    /// The request was acknowledged, or is one that is not, and no response came in time.
    case noResponse
    /// The request never left in its time: those before it had not ended yet, or there was no transport.
    case notSent
    /// The peer rejected the request with a Reset message: it lacks the context for it (RFC 7252, 4.2).
    case reset
    /// The response carried a critical option that is not understood, has a length that it must not have, or comes too
    /// often (RFC 7252, 5.4).
    case unacceptableOption(CoAPOptionNumber)
    /// The response is longer than the network below delivers, so that its end is missing.
    case responseTruncated
    /// A block of a body is not the one that was expected: another offset, another length, or one too many (RFC 7959, 2.3 to 2.5).
    case unexpectedBlock
    /// The resource changes faster than its representation can be fetched block by block (RFC 7959, 2.4).
    case representationChanged
    /// The server has answered with this code, and this diagnostic text, where only success is of use.
    case refused(CoAPCode, diagnostic: [UInt8])
    /// A body is, or by its Size2 option will be, over the limit of the configuration.
    case bodyTooLarge(bytes: Int, limit: Int)
    /// What an upload was given as the part of its body at `offset` has so many bytes, and not those it asked for: the body has become shorter, say.
    case bodyPartLength(bytes: Int, expected: Int, offset: Int)
    /// An option of the request has a value that the standard does not allow (RFC 7252, 5.10).
    case invalidOption(CoAPOptionNumber)
    /// The code of the request is not a method code, 0.01 to 0.31 (RFC 7252, 12.1).
    case invalidMethod(CoAPCode)
    /// The encoded request would be longer than the configuration or the network allows.
    case messageTooLarge(bytes: Int, limit: Int)
    /// So many requests are unfinished that no more are taken.
    case tooManyRequests(limit: Int)
    /// A URL that is not one of CoAP; `offset` is the byte where it goes wrong (RFC 7252, 6.1).
    case invalidURL(offset: Int)
    /// The request was cancelled on this side. It may still have reached the peer.
    case cancelled
    /// The client was closed on this side.
    case closed
    /// The socket below failed.
    case transport(SocketError)
    /// The connection ended between the request, or a registration that is protected, and its response; whether the server has acted on it is not known.
    case connectionLost
    /// The peer aborted the connection, with this diagnostic text (RFC 8323, 5.6).
    case aborted(diagnostic: [UInt8])
    /// The connection was aborted because the peer does not keep to the protocol of streams (RFC 8323): what it sends is no message, is
    /// too long, or has an option that must be understood and is not.
    case protocolViolation
}

/// What makes a datagram not a CoAP message (RFC 7252, 3). The peer is told by a Reset message where that is due.
@nonexhaustive
public enum CoAPFormatError: Error, Equatable, Sendable {
    /// Fewer than the four bytes of the header, or than the token needs.
    case truncatedHeader
    /// A version other than 1.
    case unknownVersion(UInt8)
    /// A token length of 9 to 15.
    case reservedTokenLength(UInt8)
    /// Code 0.00 with a token, options or a payload behind it.
    case emptyMessageWithContent
    /// A code of the reserved classes 1, 6 and 7.
    case reservedCodeClass(CoAPCode)
    /// Option delta or length 15 in a byte that is not the payload marker; `offset` is that byte's.
    case reservedOptionNibble(offset: Int)
    /// An option that goes on beyond the end of the datagram; `offset` is that of its first byte.
    case truncatedOption(offset: Int)
    /// An option number over 65,535; `offset` is that of the option's first byte.
    case optionNumberTooLarge(offset: Int)
    /// A payload marker without a payload.
    case emptyPayload
    /// A message of a byte stream that is longer than what is taken.
    case messageTooLong(bytes: Int)
}

/// What makes a document not one of links, or a link one that cannot be written (RFC 6690, 2). Offsets count bytes.
@nonexhaustive
public enum CoAPLinkError: Error, Equatable, Sendable {
    /// A byte that cannot be at its place in the document.
    case unexpectedByte(UInt8, offset: Int)
    /// The document ends where it cannot: within a link, or behind a comma. It may have been cut off.
    case unexpectedEnd(offset: Int)
    /// The document has more links than are taken; `offset` is where the first of these begins.
    case tooManyLinks(limit: Int, offset: Int)
    /// A target that no URL has this character in; `offset` is its place in the target.
    case invalidTarget(offset: Int)
    /// A name with a character that no attribute's has, or without any; `offset` is the place in the name.
    case invalidAttributeName(offset: Int)
    /// A value that the attribute's name does not allow; `offset` is the place in the value.
    case invalidAttributeValue(offset: Int)
}
