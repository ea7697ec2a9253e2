/// Why JSON could not be read or written.
@nonexhaustive
public enum JSONError: Error, Equatable, Sendable {
    /// The text is no JSON (RFC 8259), or not UTF-8; this byte, from 0, is the first that does not fit. At the text's length, more is missing.
    case malformed(at: Int)
    /// The text is longer than ``JSONLimits/bytes``.
    case tooLarge(limit: Int)
    /// Arrays and objects are inside each other deeper than ``JSONLimits/depth``.
    case tooDeep(limit: Int)
    /// There are more values than ``JSONLimits/values``.
    case tooManyValues(limit: Int)
    /// A number is over what a 64-bit float holds, or is not finite, or has more than 63 characters.
    case numberOutOfRange
    /// A text holds the character U+0000, which cJSON cannot keep.
    case nullCharacter
    /// A text that was to be written is not UTF-8.
    case notUTF8
    /// There is no memory left for it.
    case outOfMemory
}

/// How much JSON may be, found out before any memory is taken for it.
public struct JSONLimits: Equatable, Sendable {
    /// The longest text, in bytes; the hub sends messages of up to 16 KiB, IoT Explorer of up to 64 KiB.
    public var bytes = 65_536
    /// How deep arrays and objects may be inside each other, up to 64; each level needs stack.
    public var depth = 32
    /// How many values there may be, each of some 100 bytes of heap while it is read.
    public var values = 8_192

    /// The limits as they are described.
    public init() {}
}
