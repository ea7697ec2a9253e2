internal import Kernel

// Messages of the hub's services: JSON objects.
extension JSONValue {
    /// The message that came; `nil` if it is none.
    init?(message payload: Span<UInt8>) {
        do throws(JSONError) { try self.init(parsing: payload) } catch { return nil }
        guard isObject else { return nil }
    }

    /// The text of a message that may have `limit` bytes.
    func message(limit: Int) throws(HubServiceError) -> [UInt8] {
        let text: [UInt8]
        do throws(JSONError) { text = try serialized() } catch { throw .json(error) }
        guard text.count <= limit else { throw .tooLarge(bytes: text.count, limit: limit) }
        return text
    }
}

/// What the hub limits for all.
enum HubLimits {
    /// The longest message, in bytes.
    static let messageBytes = 16_384
}
