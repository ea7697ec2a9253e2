#if os(Linux) || TLS
internal import CMbedTLS
internal import Kernel

/// Sessions that a client may resume, one per server and configuration: a handshake then takes a fortieth of the time, and one round trip less.
///
/// A session is a secret: who has it can be taken for the client, and read what is sent.
public final class TLSSessionStore: Sendable {
    /// How many sessions are kept at most; the oldest is dropped for a new one.
    public let limit: Int

    private struct Entry {
        let key: [UInt8]
        let session: TLSSession
    }

    private let entries = Guarded<[Entry]>([])

    /// An empty store for up to `limit` sessions.
    public init(limit: Int = 64) { self.limit = max(1, limit) }

    /// How many sessions it has.
    public var count: Int { entries.withLock { $0.count } }

    /// Forgets all sessions.
    public func removeAll() { entries.withLock { $0 = [] } }

    /// All sessions, for ``load(_:)`` after a restart. Keep them as secret as a key.
    public func save() -> SecretBytes {
        entries.withLock { entries in
            let sessions = entries.map { (key: $0.key, bytes: $0.session.save()) }
            var bytes: [UInt8] = [1]
            // At once, so that no copy is left behind by growing.
            bytes.reserveCapacity(1 + sessions.reduce(0) { $0 + 8 + $1.key.count + $1.bytes.count })
            for session in sessions {
                Self.append(session.key.span, to: &bytes)
                session.bytes.withBytes { Self.append($0, to: &bytes) }
            }
            defer { bytes.wipe() }
            return SecretBytes(bytes)
        }
    }

    /// Adds the sessions that ``save()`` returned; `false` if the bytes are not such, or of another mbedTLS. Whether a session is good the server decides.
    @discardableResult
    public func load(_ saved: SecretBytes) -> Bool {
        var loaded: [Entry] = []
        let isGood = saved.withBytes { bytes in
            guard !bytes.isEmpty, bytes[0] == 1 else { return false }
            var position = 1
            while position < bytes.count {
                guard let key = Self.take(bytes, &position), var saved = Self.take(bytes, &position) else {
                    return false
                }
                defer { saved.wipe() }
                guard let session = TLSSession(saved: saved) else { return false }
                loaded.append(Entry(key: key, session: session))
            }
            return true
        }
        if isGood { for entry in loaded { set(entry.session, for: entry.key) } }
        return isGood
    }

    func session(for key: [UInt8]) -> TLSSession? { entries.withLock { $0.first { $0.key == key }?.session } }

    func set(_ session: TLSSession?, for key: [UInt8]) {
        entries.withLock { entries in
            entries.removeAll { $0.key == key }
            guard let session else { return }
            if entries.count >= limit { entries.removeFirst() }
            entries.append(Entry(key: key, session: session))
        }
    }

    private static func append(_ part: Span<UInt8>, to bytes: inout [UInt8]) {
        for shift in [24, 16, 8, 0] { bytes.append(UInt8(truncatingIfNeeded: part.count >> shift)) }
        bytes.append(part)
    }

    private static func take(_ bytes: Span<UInt8>, _ position: inout Int) -> [UInt8]? {
        guard position + 4 <= bytes.count else { return nil }
        var count = 0
        for offset in 0..<4 { count = count << 8 | Int(bytes[position + offset]) }
        guard count <= bytes.count - position - 4 else { return nil }
        defer { position += 4 + count }
        return [UInt8](copying: bytes.extracting(position + 4..<position + 4 + count))
    }
}

/// A session of mbedTLS that can be resumed.
@safe
final class TLSSession: @unchecked Sendable {
    // @unchecked: nothing changes after `init`.
    private let session: UnsafeMutablePointer<mbedtls_ssl_session> = .allocate(capacity: 1)

    /// The session that `ssl` has agreed on; `nil` if there is none.
    init?(of ssl: UnsafeMutablePointer<mbedtls_ssl_context>) {
        unsafe mbedtls_ssl_session_init(session)
        guard unsafe mbedtls_ssl_get_session(ssl, session) == 0 else { return nil }
    }

    /// A session from what ``save()`` returned.
    init?(saved: [UInt8]) {
        unsafe mbedtls_ssl_session_init(session)
        guard unsafe mbedtls_ssl_session_load(session, saved, saved.count) == 0 else { return nil }
    }

    deinit {
        unsafe mbedtls_ssl_session_free(session)
        unsafe session.deallocate()
    }

    func save() -> SecretBytes {
        var count = 0
        _ = unsafe mbedtls_ssl_session_save(session, nil, 0, &count)
        var bytes = [UInt8](repeating: 0, count: count)
        defer { bytes.wipe() }
        let result = unsafe mbedtls_ssl_session_save(session, &bytes, bytes.count, &count)
        return SecretBytes(result == 0 ? bytes : [])
    }

    func offer(to ssl: UnsafeMutablePointer<mbedtls_ssl_context>) -> Bool {
        unsafe mbedtls_ssl_set_session(ssl, session) == 0
    }

    func isSame(as other: TLSSession) -> Bool { unsafe cmbedtls_same_session(session, other.session) == 1 }
}
#endif
