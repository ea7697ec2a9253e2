internal import CCoAP

/// The keys of DTLS sessions, which libcoap asks for on the endpoint's thread.
final class DTLSKeys {
    private let keyOf: CoAPEndpoint.KeyOf
    /// The key that libcoap was told last. It copies the bytes before it asks again.
    private var key = UnsafeMutableBufferPointer<UInt8>.allocate(capacity: 0)
    private let answer = UnsafeMutablePointer<coap_bin_const_t>.allocate(capacity: 1)

    init(_ keyOf: @escaping CoAPEndpoint.KeyOf) { self.keyOf = keyOf }

    deinit {
        key.deallocate()
        answer.deallocate()
    }

    /// Makes `context` ask here; these keys must live as long as it does.
    func install(in context: OpaquePointer) -> Bool {
        var setUp = coap_dtls_spsk_t()
        setUp.version = UInt8(COAP_DTLS_SPSK_SETUP_VERSION)
        setUp.validate_id_call_back = { identity, _, keys in
            guard let identity, let keys else { return nil }
            return Unmanaged<DTLSKeys>.fromOpaque(keys).takeUnretainedValue().find(identity.pointee)
        }
        setUp.id_call_back_arg = Unmanaged.passUnretained(self).toOpaque()
        return coap_context_set_psk2(context, &setUp) == 1
    }

    /// The identity that the device has proven with its key; `nil` without DTLS.
    static func identity(of session: OpaquePointer) -> String? {
        guard coap_session_get_proto(session) == COAP_PROTO_DTLS else { return nil }
        return coap_session_get_psk_identity(session).map { text($0.pointee) } ?? ""
    }

    private func find(_ identity: coap_bin_const_t) -> UnsafePointer<coap_bin_const_t>? {
        guard let bytes = keyOf(Self.text(identity)), !bytes.isEmpty else { return nil }
        key.deallocate()
        key = .allocate(capacity: bytes.count)
        _ = key.initialize(from: bytes)
        answer.initialize(to: coap_bin_const_t(length: bytes.count, s: UnsafePointer(key.baseAddress)))
        return UnsafePointer(answer)
    }

    private static func text(_ bytes: coap_bin_const_t) -> String {
        String(decoding: UnsafeBufferPointer(start: bytes.s, count: bytes.length), as: UTF8.self)
    }
}
