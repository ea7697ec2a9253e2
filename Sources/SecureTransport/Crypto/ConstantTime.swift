internal import CMbedTLS

/// Whether two byte strings are the same. The time that it takes depends on their lengths only, so that nobody can find a secret by trying.
public func constantTimeEqual(_ a: Span<UInt8>, _ b: Span<UInt8>) -> Bool {
    guard a.count == b.count else { return false }
    return unsafe a.withUnsafeBufferPointer { a in
        unsafe b.withUnsafeBufferPointer { b in
            unsafe a.isEmpty || mbedtls_ct_memcmp(a.baseAddress, b.baseAddress, a.count) == 0
        }
    }
}
