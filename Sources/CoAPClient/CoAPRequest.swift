/// A request: a method, options and a payload (RFC 7252, 5.1).
public struct CoAPRequest: Equatable, Sendable {
    /// The method code, 0.01 to 0.31.
    public var method: CoAPCode
    /// Whether it is sent again until the peer acknowledges it.
    public var isConfirmable: Bool
    /// The options, such as the path.
    public var options: CoAPOptions
    /// The payload.
    public var payload: [UInt8]
    /// Whether a body that comes in blocks is put together. If not, the response is the block that ``CoAPOptions/block2`` asks for.
    public var collectsBlocks = true

    /// A request from its parts.
    public init(
        _ method: CoAPCode,
        options: CoAPOptions = CoAPOptions(),
        payload: [UInt8] = [],
        isConfirmable: Bool = true
    ) {
        self.method = method
        self.options = options
        self.payload = payload
        self.isConfirmable = isConfirmable
    }

    /// Throws unless the standard allows the method and the options; those that are not known here pass.
    func check() throws(CoAPError) {
        guard method.isRequest else { throw .invalidMethod(method) }
        if let number = options.firstInvalid { throw .invalidOption(number) }
    }
}

/// A response: its code, options and payload (RFC 7252, 5.2). An error code is as good a response as any.
public struct CoAPResponse: Equatable, Sendable {
    /// The response code: class 2, 4 or 5, registered or not.
    public var code: CoAPCode
    /// The options; elective ones that are not understood are among them.
    public var options: CoAPOptions
    /// The payload.
    public var payload: [UInt8]

    /// A response from its parts.
    public init(_ code: CoAPCode, options: CoAPOptions = CoAPOptions(), payload: [UInt8] = []) {
        self.code = code
        self.options = options
        self.payload = payload
    }
}
