extension [UInt8] {
    /// The bytes of `span`.
    init(copying span: Span<UInt8>) {
        self = []
        append(span)
    }

    mutating func append(_ span: Span<UInt8>) {
        unsafe span.withUnsafeBufferPointer { unsafe append(contentsOf: $0) }
    }
}
