/// A request that has come whole.
struct HTTPRequest: Sendable {
    let method: String
    /// Without the query, and without escapes.
    let path: String
    let query: [String: String]
    /// By their names in small letters.
    let headers: [String: String]
    let body: [UInt8]
    let isSecure: Bool

    /// The host that the client named, without a port.
    var host: String {
        let name = headers["host"] ?? ""
        guard let colon = name.lastIndex(of: ":"), !name[colon...].contains("]") else { return name }
        return String(name[..<colon])
    }
}

/// What is answered.
struct HTTPResponse: Sendable {
    enum Body: Sendable {
        case bytes([UInt8])
        /// Bytes of a file from an offset on.
        case file(path: String, offset: Int, count: Int)

        var count: Int {
            switch self {
            case .bytes(let bytes): bytes.count
            case .file(_, _, let count): count
            }
        }
    }

    var status: Int
    var headers: [(name: String, value: String)] = []
    var body: Body
    /// The host that the request was signed with, for the record.
    var signedHost: String?
    /// How long it waits before it goes.
    var delay: Duration = .zero
    /// After how many bytes of the body the connection is closed.
    var isCutAfter: Int?
    /// How fast the body goes; `nil` for as fast as it can.
    var bytesPerSecond: Int?
    /// Whether the body goes in chunks, without a length.
    var isChunked = false

    init(_ status: Int, _ text: String = "") {
        self.status = status
        headers = [("Content-Type", "text/plain; charset=utf-8")]
        body = .bytes(Array(text.utf8))
    }

    init(_ status: Int = 200, json: HubJSON) {
        self.status = status
        headers = [("Content-Type", "application/json; charset=utf-8")]
        body = .bytes(json.text)
    }

    init(_ status: Int, body: Body, headers: [(name: String, value: String)]) {
        self.status = status
        self.body = body
        self.headers = headers
    }
}

/// Something that goes wrong with HTTP, on request.
public struct HTTPFault: Equatable, Sendable {
    /// What goes wrong.
    public enum Effect: Equatable, Sendable {
        /// The answer has this status and no body; nothing is done.
        case status(Int)
        /// The answer is an object `Error` with this code; nothing is done.
        case error(String)
        /// The answer comes so much later.
        case late(Duration)
        /// The connection is closed after so many bytes of the body.
        case cut(after: Int)
        /// The body comes so slowly.
        case slow(bytesPerSecond: Int)
        /// The body comes in chunks, without a length.
        case chunked
        /// A range that was asked for is ignored: everything comes.
        case ignoresRange
        /// The body is something else, as long as the right one.
        case wrongBytes
    }

    /// What goes wrong.
    public var effect: Effect
    /// What the request's path begins with.
    public var path: String
    /// How many requests it is about; then it ends.
    public var count: Int

    /// A fault of the next `count` requests whose path begins with `path`.
    public init(_ effect: Effect, path: String = "/", count: Int = 1) {
        self.effect = effect
        self.path = path
        self.count = count
    }
}

/// A request of a device by HTTP, as it was answered.
public struct HTTPRecord: Equatable, Sendable {
    /// GET, POST or PUT.
    public let method: String
    /// The path, without the query.
    public let path: String
    /// The bytes that were asked for, as the request has it.
    public let range: String?
    /// The answer's status.
    public let status: Int
    /// Whether it came by TLS.
    public let isSecure: Bool
    /// The host that the request was signed with, if the signature is right: the one that it was sent to, or one of the vendor's.
    public let signedHost: String?
}
