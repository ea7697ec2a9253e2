internal import Kernel
public import SecureTransport

/// A security context of OSCORE (RFC 8613, 3): the keys of two ends, and what was used of them. Messages are protected end to end with it, whatever proxies are between.
///
/// A client calls ``protect(_:)-(CoAPRequest)`` and ``unprotect(_:for:)``, a server ``unprotect(_:)`` and ``protect(_:for:)``; one context can be both.
///
/// It cannot be copied: a copy would encrypt with the same nonces. The keys are wiped when it ends.
public struct OSCOREContext: ~Copyable, Sendable {
    /// The last sequence number, 2^40 - 1: it has five bytes at most (RFC 8613, 7.2.1).
    public static let lastSequenceNumber: UInt64 = (1 << 40) - 1
    static let keyBytes = 16
    static let nonceBytes = 13
    static let tagBytes = 8
    /// What the cipher takes, with a nonce of 13 bytes.
    static let plaintextLimit = 65_535

    /// This end's name in the context.
    public let senderID: [UInt8]
    /// The other end's name in the context.
    public let recipientID: [UInt8]
    /// What tells contexts apart that have the same IDs, if there is such.
    public let idContext: [UInt8]?
    /// The algorithm that encrypts.
    public let algorithm: OSCOREAlgorithm
    let senderKey: SecretBytes
    let recipientKey: SecretBytes
    let commonIV: SecretBytes
    private var sequence: OSCORESequence
    var replay: OSCOREReplayProtection
    /// The requests whose nonce has been used for a response.
    var answered = OSCOREReplayWindow()
    /// Whether that is all of them: not so after a restart from a window that may have been kept too early.
    let mayReuseNonces: Bool

    /// Derives a context from a secret that both ends have, and nobody else (RFC 8613, 3.2).
    ///
    /// - Parameters:
    ///   - masterSecret: The secret, of 16 random bytes or more.
    ///   - masterSalt: A salt, if both ends have one.
    ///   - senderID: This end's ID: 0 to 7 bytes, another than the other end's. With the same secret, salt and ID context none may be used twice.
    ///   - recipientID: The other end's ID.
    ///   - idContext: What tells contexts apart beside the IDs: 0 to 255 bytes. Requests carry it.
    ///   - algorithm: The algorithm that encrypts; there is one.
    ///   - sequence: Where the sequence numbers outlive this process.
    ///   - sequenceStep: How many numbers the store is asked for at once, and a restart costs at most.
    ///   - replayProtection: What is known of the requests that were received before.
    /// - Throws: What is wrong with the parameters, or the store's error.
    public init(
        masterSecret: SecretBytes,
        masterSalt: [UInt8] = [],
        senderID: [UInt8],
        recipientID: [UInt8],
        idContext: [UInt8]? = nil,
        algorithm: OSCOREAlgorithm = .aesCCM16_64_128,
        sequence: any OSCORESequenceStore,
        sequenceStep: UInt64 = 64,
        replayProtection: OSCOREReplayProtection = .takesNoRequests
    ) throws(OSCOREError) {
        guard algorithm == .aesCCM16_64_128 else { throw .unsupportedAlgorithm(algorithm) }
        let longest = max(senderID.count, recipientID.count)
        guard longest <= Self.nonceBytes - 6 else { throw .identifierTooLong(bytes: longest) }
        guard senderID != recipientID else { throw .identifiersAreEqual }
        if let count = idContext?.count, count > 255 { throw .identifierContextTooLong(bytes: count) }
        if case .lost(let challenge) = replayProtection {
            precondition((1...40).contains(challenge.count), "an Echo option has 1 to 40 bytes")
        }
        self.sequence = try OSCORESequence(sequence, step: sequenceStep)
        self.senderID = senderID
        self.recipientID = recipientID
        self.idContext = idContext
        self.algorithm = algorithm
        replay = replayProtection
        if case .restored = replayProtection { mayReuseNonces = false } else { mayReuseNonces = true }
        let key = HKDF.extract(masterSecret, salt: masterSalt.span)
        func derive(_ id: [UInt8], _ type: StaticString, _ count: Int) -> SecretBytes {
            let info = Self.info(id: id, idContext: idContext, algorithm: algorithm, type: type, count: count)
            return HKDF.expand(key, info: info.span, count: count)
        }
        senderKey = derive(senderID, "Key", Self.keyBytes)
        recipientKey = derive(recipientID, "Key", Self.keyBytes)
        commonIV = derive([], "IV", Self.nonceBytes)
    }

    /// The sequence number that the next message is protected with.
    public var nextSequenceNumber: UInt64 { sequence.next }

    /// The window of the requests that were received, to be kept for ``OSCOREReplayProtection/restored(_:)``; `nil` while there is none.
    public var replayWindow: OSCOREReplayWindow? {
        switch replay {
        case .takesNoRequests, .lost: nil
        case .new: OSCOREReplayWindow()
        case .restored(let window): window
        }
    }

    // MARK: The cipher

    mutating func takeSequenceNumber() throws(OSCOREError) -> UInt64 { try sequence.take() }

    /// Where a message's nonce comes from, and what else is authenticated.
    struct Binding {
        /// Who chose the Partial IV of the nonce, and that.
        let id: [UInt8]
        let partialIV: UInt64
        /// Those of the request.
        let requestKID: [UInt8]
        let requestPartialIV: UInt64
    }

    func encrypt(_ plaintext: [UInt8], _ binding: Binding) throws(OSCOREError) -> [UInt8] {
        let (nonce, data) = inputs(binding)
        do throws(CipherError) {
            return try AESCCM.seal(
                plaintext.span,
                key: senderKey,
                nonce: nonce.span,
                additionalData: data.span,
                tagBytes: Self.tagBytes
            )
        } catch { throw .messageTooLarge(bytes: plaintext.count, limit: Self.plaintextLimit) }
    }

    func decrypt(_ ciphertext: [UInt8], _ binding: Binding) throws(OSCOREError) -> [UInt8] {
        let (nonce, data) = inputs(binding)
        do throws(CipherError) {
            return try AESCCM.open(
                ciphertext.span,
                key: recipientKey,
                nonce: nonce.span,
                additionalData: data.span,
                tagBytes: Self.tagBytes
            )
        } catch { throw .notAuthentic }
    }

    private func inputs(_ binding: Binding) -> (nonce: [UInt8], data: [UInt8]) {
        let nonce = commonIV.withBytes { Self.nonce(commonIV: $0, id: binding.id, partialIV: binding.partialIV) }
        let data = Self.additionalData(
            algorithm: algorithm,
            kid: binding.requestKID,
            partialIV: binding.requestPartialIV
        )
        return (nonce, data)
    }

    /// Checked before a sequence number is taken.
    func checkSize(_ plaintext: OSCOREPlaintext) throws(OSCOREError) {
        guard plaintext.bytes.count <= Self.plaintextLimit else {
            throw .messageTooLarge(bytes: plaintext.bytes.count, limit: Self.plaintextLimit)
        }
    }
}
