internal import CMbedTLS

extension [UInt8] {
    /// Overwrites the bytes, in a way that the compiler does not leave out.
    mutating func wipe() {
        unsafe withUnsafeMutableBytes { unsafe mbedtls_platform_zeroize($0.baseAddress, $0.count) }
    }
}

/// Bytes that are never printed, and that are wiped when nobody uses them any more.
@safe
public final class SecretBytes: @unchecked Sendable {
    // @unchecked: the bytes are written once, in `init`, and wiped in `deinit`.
    private let bytes: UnsafeMutableBufferPointer<UInt8>

    /// Keeps a copy of `bytes`; the caller's own remain the caller's to wipe.
    public init(_ bytes: [UInt8]) {
        unsafe self.bytes = .allocate(capacity: bytes.count)
        for index in bytes.indices { unsafe self.bytes[index] = bytes[index] }
    }

    deinit {
        unsafe mbedtls_platform_zeroize(bytes.baseAddress, bytes.count)
        unsafe bytes.deallocate()
    }

    /// How many bytes there are.
    public var count: Int { unsafe bytes.count }

    /// Calls `body` with the bytes.
    public func withBytes<Result>(_ body: (Span<UInt8>) -> Result) -> Result {
        // Nothing but the pointer is used below, so without this the bytes could be wiped before they are read.
        withExtendedLifetime(self) { unsafe body(Span(_unsafeElements: UnsafeBufferPointer(bytes))) }
    }
}
