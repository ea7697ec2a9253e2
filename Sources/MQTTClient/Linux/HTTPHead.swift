#if os(Linux)
internal import CHTTPParser
internal import Kernel

/// The head of an HTTP response (RFC 9112), as far as it has come.
@safe
final class HTTPHead {
    private let head: UnsafeMutablePointer<chttp_head> = .allocate(capacity: 1)

    init() { unsafe chttp_begin(head) }

    deinit { unsafe head.deallocate() }

    /// Takes bytes, at most to the end of the head. Returns how many; `nil` if they are no head.
    func take(_ bytes: Span<UInt8>) -> Int? {
        let count = unsafe bytes.withUnsafeBufferPointer { unsafe chttp_take(head, $0.baseAddress, $0.count) }
        return count < 0 ? nil : count
    }

    /// Whether all of it has come.
    var isComplete: Bool { unsafe head.pointee.is_complete != 0 }

    var status: Int { unsafe Int(chttp_status(head)) }

    /// The value of a field, whose name is in lower case.
    func value(_ name: String) -> String? { unsafe chttp_value(head, name).map { unsafe String(cString: $0) } }
}
#endif
