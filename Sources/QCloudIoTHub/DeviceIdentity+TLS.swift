#if os(Linux) || TLS
public import SecureTransport

extension DeviceIdentity {
    #if hasFeature(Embedded)
    /// How the device secures its connection with its key: the hub proves that it knows the key too. `nil` for a device with a
    /// certificate, which needs its files.
    public func preSharedKeyConfiguration(random: SecureRandom) -> TLSConfiguration? {
        guard case .key(let secret) = credential else { return nil }
        return TLSConfiguration(
            preSharedKey: secret.key,
            identity: clientID,
            suites: .legacyPreSharedKey,
            random: random
        )
    }
    #else
    /// How the device secures its connection with its key: the hub proves that it knows the key too. `nil` for a device with a
    /// certificate, which needs its files.
    public func preSharedKeyConfiguration() -> TLSConfiguration? {
        guard case .key(let secret) = credential else { return nil }
        return TLSConfiguration(
            identity: .preSharedKey(identity: clientID, key: secret.key),
            suites: .legacyPreSharedKey
        )
    }
    #endif
}
#endif
