internal import Kernel
internal import CMbedTLS

/// Base64 with the standard alphabet (RFC 4648, section 4), computed by mbedTLS.
public enum Base64 {
    /// The text of `bytes`, with padding.
    public static func encode(_ bytes: Span<UInt8>) -> [UInt8] {
        var text = [UInt8](repeating: 0, count: (bytes.count + 2) / 3 * 4 + 1)
        var count = 0
        let result = unsafe bytes.withUnsafeBufferPointer {
            unsafe mbedtls_base64_encode(&text, text.count, &count, $0.baseAddress, $0.count)
        }
        precondition(result == 0, "the buffer is as large as the text")
        text.removeLast(text.count - count)
        return text
    }

    /// The bytes of `text`, whose padding may be missing; `nil` if it is not base64. White space is refused.
    public static func decode(_ text: Span<UInt8>) -> [UInt8]? {
        var padded: [UInt8] = []
        for index in text.indices {
            guard text[index] > 0x20 else { return nil }
            padded.append(text[index])
        }
        while padded.count % 4 != 0 { padded.append(UInt8(ascii: "=")) }
        guard !padded.isEmpty else { return [] }
        var bytes = [UInt8](repeating: 0, count: padded.count / 4 * 3)
        var count = 0
        let result = unsafe mbedtls_base64_decode(&bytes, bytes.count, &count, padded, padded.count)
        guard result == 0 else { return nil }
        return [UInt8](copying: bytes.span.extracting(first: count))
    }
}
