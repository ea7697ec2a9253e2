#if !hasFeature(Embedded)
internal import CMbedTLS
internal import SAL

/// One TLS session of mbedTLS, driven by bytes: the only place that holds its context.
///
/// mbedTLS reads from the bytes that ``receive(_:_:)`` was given, and writes straight to the stream below.
@safe
final class TLSEngine {
    /// What came of a step.
    enum Outcome: Equatable {
        case done
        /// It goes on when there are bytes to read, or room to write.
        case blocked
        /// The peer has said goodbye.
        case ended
    }

    private let context: TLSContext
    private let ssl: UnsafeMutablePointer<mbedtls_ssl_context> = .allocate(capacity: 1)
    private let wantedName: [UInt8]
    private let wantedAddress: [UInt8]
    private var input = unsafe UnsafeBufferPointer<UInt8>(start: nil, count: 0)
    private var write: ((Span<UInt8>) -> Int)?
    /// How many bytes are in a record that waits for room below.
    private var blockedCount = 0
    fileprivate var rejectedNames: [String] = []

    /// A session with the server of the name `host`. `write` sends and returns how many bytes were taken.
    init(_ context: TLSContext, host: [UInt8], write: @escaping (Span<UInt8>) -> Int) throws(SecureTransportError) {
        self.context = context
        self.write = write
        wantedName = context.configuration.serverName ?? host
        wantedAddress = Self.octets(of: wantedName)
        unsafe mbedtls_ssl_init(ssl)
        let result = unsafe mbedtls_ssl_setup(ssl, context.config)
        guard result == 0 else { throw .outOfMemory }
        // An address is no server name (RFC 6066, 3), and mbedTLS would not look for it among the alternative names.
        if wantedAddress.isEmpty {
            guard !wantedName.contains(0) else { throw .badConfiguration(.serverName, code: 0) }
            let result = unsafe mbedtls_ssl_set_hostname(ssl, String(decoding: wantedName, as: UTF8.self))
            guard result == 0 else { throw .badConfiguration(.serverName, code: result) }
        }
        let me = unsafe Unmanaged.passUnretained(self).toOpaque()
        unsafe mbedtls_ssl_set_bio(ssl, me, sendBytes, receiveBytes, nil)
        unsafe mbedtls_ssl_set_verify(ssl, verifyCertificate, me)
    }

    deinit {
        unsafe mbedtls_ssl_free(ssl)
        unsafe ssl.deallocate()
    }

    /// Lets go of the stream below: nothing is written any more.
    func detach() { write = nil }

    /// Calls `body` while mbedTLS may read from `bytes`; returns how many it has read.
    func receive(_ bytes: Span<UInt8>, _ body: () -> Void) -> Int {
        unsafe bytes.withUnsafeBufferPointer { buffer in
            unsafe input = buffer
            body()
            let taken = unsafe buffer.count - input.count
            unsafe input = UnsafeBufferPointer(start: nil, count: 0)
            return taken
        }
    }

    func handshake() throws(SecureTransportError) -> Outcome { try outcome(unsafe mbedtls_ssl_handshake(ssl)) }

    /// Reads decrypted bytes, one record at most, and gives them to `body`.
    func read(_ body: (Span<UInt8>) -> Void) throws(SecureTransportError) -> Outcome {
        let result: Int32 = unsafe withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 16_384) { buffer in
            let count = unsafe mbedtls_ssl_read(ssl, buffer.baseAddress, buffer.count)
            if count > 0 {
                body(unsafe Span(_unsafeElements: UnsafeBufferPointer(rebasing: buffer[..<Int(count)])))
            }
            unsafe mbedtls_platform_zeroize(buffer.baseAddress, max(0, Int(count)))
            return count
        }
        // 0 is the end of the stream below, which is told to the owner of this in another way.
        return result >= 0 ? (result > 0 ? .done : .blocked) : try outcome(result)
    }

    /// Encrypts up to a record of `bytes` and returns how many; 0 if there was no room below: then `bytes` must start with
    /// the same bytes in the next call, in which mbedTLS sends the record that it has already made of them.
    func write(_ bytes: Span<UInt8>) throws(SecureTransportError) -> Int {
        let count = blockedCount > 0 ? blockedCount : min(bytes.count, 16_384)
        let result = unsafe bytes.withUnsafeBufferPointer { unsafe mbedtls_ssl_write(ssl, $0.baseAddress, count) }
        blockedCount = 0
        if result >= 0 { return Int(result) }
        _ = try outcome(result)
        blockedCount = count
        return 0
    }

    func closeNotify() throws(SecureTransportError) -> Outcome { try outcome(unsafe mbedtls_ssl_close_notify(ssl)) }

    private func outcome(_ result: Int32) throws(SecureTransportError) -> Outcome {
        switch result {
        case 0: return .done
        case MBEDTLS_ERR_SSL_WANT_READ, MBEDTLS_ERR_SSL_WANT_WRITE: return .blocked
        case MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY: return .ended
        case MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE:
            let alert = unsafe cmbedtls_last_alert(ssl)
            throw alert >= 0
                ? .alertReceived(TLSAlert(rawValue: UInt8(truncatingIfNeeded: alert))) : .protocolFailure(code: result)
        case MBEDTLS_ERR_X509_CERT_VERIFY_FAILED:
            throw .certificateRejected(
                CertificateProblems(rawValue: unsafe mbedtls_ssl_get_verify_result(ssl)),
                names: rejectedNames,
                wanted: String(decoding: wantedName, as: UTF8.self)
            )
        case MBEDTLS_ERR_SSL_ALLOC_FAILED, MBEDTLS_ERR_X509_ALLOC_FAILED: throw .outOfMemory
        default: throw .protocolFailure(code: result)
        }
    }

    // MARK: What mbedTLS calls

    fileprivate func send(_ bytes: UnsafeBufferPointer<UInt8>) -> Int32 {
        let count = unsafe write?(Span(_unsafeElements: bytes)) ?? 0
        return count > 0 ? Int32(count) : MBEDTLS_ERR_SSL_WANT_WRITE
    }

    fileprivate func takeInput(_ buffer: UnsafeMutableBufferPointer<UInt8>) -> Int32 {
        let count = unsafe min(buffer.count, input.count)
        guard count > 0, let source = unsafe input.baseAddress, let target = buffer.baseAddress else {
            return MBEDTLS_ERR_SSL_WANT_READ
        }
        unsafe target.update(from: source, count: count)
        unsafe input = UnsafeBufferPointer(rebasing: input[count...])
        return Int32(count)
    }

    fileprivate func verify(_ certificate: UnsafeMutablePointer<mbedtls_x509_crt>, _ flags: inout UInt32) {
        if !wantedAddress.isEmpty, unsafe cmbedtls_has_address(certificate, wantedAddress, wantedAddress.count) == 0 {
            flags |= CertificateProblems.wrongName.rawValue
        }
        var names: [String] = []
        while names.count < 16 {
            var name = [CChar](repeating: 0, count: 256)
            let count = unsafe cmbedtls_name(certificate, Int32(names.count), &name, name.count)
            guard count > 0 else { break }
            names.append(String(decoding: name[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self))
        }
        rejectedNames = names
    }

    /// The octets of an address in text form; none for a name.
    private static func octets(of host: [UInt8]) -> [UInt8] {
        switch IPAddress(String(decoding: host, as: UTF8.self)) {
        case nil: []
        case .v4(let value): (0..<4).map { UInt8(truncatingIfNeeded: value >> (24 - 8 * UInt32($0))) }
        case .v6(let high, let low, _):
            (0..<16).map { UInt8(truncatingIfNeeded: ($0 < 8 ? high : low) >> (56 - 8 * UInt64($0 % 8))) }
        }
    }
}

private func engine(_ context: UnsafeMutableRawPointer?) -> TLSEngine? {
    unsafe context.map { unsafe Unmanaged<TLSEngine>.fromOpaque($0).takeUnretainedValue() }
}

private func sendBytes(_ context: UnsafeMutableRawPointer?, _ bytes: UnsafePointer<UInt8>?, _ count: Int) -> Int32 {
    unsafe engine(context)?.send(UnsafeBufferPointer(start: bytes, count: count)) ?? MBEDTLS_ERR_SSL_INTERNAL_ERROR
}

private func receiveBytes(
    _ context: UnsafeMutableRawPointer?,
    _ bytes: UnsafeMutablePointer<UInt8>?,
    _ count: Int
) -> Int32 {
    unsafe engine(context)?.takeInput(UnsafeMutableBufferPointer(start: bytes, count: count))
        ?? MBEDTLS_ERR_SSL_INTERNAL_ERROR
}

private func verifyCertificate(
    _ context: UnsafeMutableRawPointer?,
    _ certificate: UnsafeMutablePointer<mbedtls_x509_crt>?,
    _ depth: Int32,
    _ flags: UnsafeMutablePointer<UInt32>?
) -> Int32 {
    // Only the server's own certificate has a name to compare.
    if depth == 0, let certificate = unsafe certificate, let flags = unsafe flags {
        unsafe engine(context)?.verify(certificate, &flags.pointee)
    }
    return 0
}
#endif
