// What the packages' byte arrays need beside the standard library, whose generic ways cost a Cortex-M a kilobyte.

extension [UInt8] {
    /// The bytes of `span`.
    package init(copying span: Span<UInt8>) {
        #if hasFeature(Embedded)
        self = []
        append(span)
        #else
        self = unsafe span.withUnsafeBufferPointer { unsafe Array($0) }
        #endif
    }

    /// Appends all of `span`.
    package mutating func append(_ span: Span<UInt8>) {
        #if hasFeature(Embedded)
        for index in span.indices { append(span[index]) }
        #else
        unsafe span.withUnsafeBufferPointer { unsafe append(contentsOf: $0) }
        #endif
    }

    /// Removes all bytes, and keeps the memory.
    package mutating func clear() {
        #if hasFeature(Embedded)
        while !isEmpty { removeLast() }
        #else
        removeAll(keepingCapacity: true)
        #endif
    }

    /// Appends the bytes of `text`.
    package mutating func append(_ text: StaticString) {
        for offset in 0..<text.utf8CodeUnitCount { append(unsafe text.utf8Start[offset]) }
    }
}
