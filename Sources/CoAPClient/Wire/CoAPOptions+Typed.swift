extension CoAPOptions {
    // MARK: The resource

    /// Adds a Uri-Path option for each segment of `path`, which are separated by slashes; one at its start adds nothing. Bytes are
    /// taken as they are: no percent-encoding. For a segment with slashes inside, add ``CoAPOptionNumber/uriPath`` itself.
    public mutating func addPath(_ path: Span<UInt8>) {
        let rooted = path.count > 0 && path[0] == UInt8(ascii: "/")
        let path = path.extracting(droppingFirst: rooted ? 1 : 0)
        if path.count == 0 { return }
        // A byte before each segment, where its slash was, if it is not a long one.
        reserve(path.count + 1)
        var start = 0
        for index in 0...path.count where index == path.count || path[index] == UInt8(ascii: "/") {
            add(.uriPath, path.extracting(start..<index))
            start = index + 1
        }
    }

    /// The segments of the path, one per Uri-Path option.
    public var pathSegments: [[UInt8]] { all(.uriPath) }

    /// Adds a Uri-Query option, such as `unit=C`.
    public mutating func addQuery(_ argument: Span<UInt8>) { add(.uriQuery, argument) }

    /// The arguments of the query, one per Uri-Query option.
    public var queryArguments: [[UInt8]] { all(.uriQuery) }

    // MARK: The payload

    /// What the payload is (RFC 7252, 5.10.3).
    public var contentFormat: CoAPContentFormat? {
        get { format(.contentFormat) }
        set { set(.contentFormat, newValue.map { UInt32($0.rawValue) }) }
    }

    /// What the response's payload shall be (RFC 7252, 5.10.4).
    public var accept: CoAPContentFormat? {
        get { format(.accept) }
        set { set(.accept, newValue.map { UInt32($0.rawValue) }) }
    }

    /// For how many seconds a response may be cached; without the option the standard's default is 60 (RFC 7252, 5.10.5).
    public var maxAge: UInt32? {
        get { uint(.maxAge) }
        set { set(.maxAge, newValue) }
    }

    /// The first ETag: that of the representation in a response (RFC 7252, 5.10.6).
    public var eTag: [UInt8]? {
        get { first(.eTag) }
        set {
            remove(.eTag)
            if let newValue { add(.eTag, newValue) }
        }
    }

    /// The number of an Observe option, as it is (RFC 7641, 2).
    public var observe: UInt32? {
        get { uint(.observe) }
        set { set(.observe, newValue) }
    }

    /// Which responses a request can do without (RFC 7967): the sum of 2 for those of success, 8 for errors of the client, and 16 for those of the server. To a request that is not
    /// confirmable and can do without all, 26, none is waited for.
    public var noResponse: UInt32? {
        get { uint(.noResponse) }
        set { set(.noResponse, newValue) }
    }

    private func format(_ number: CoAPOptionNumber) -> CoAPContentFormat? {
        uint(number).flatMap { UInt16(exactly: $0) }.map { CoAPContentFormat(rawValue: $0) }
    }

    private mutating func set(_ number: CoAPOptionNumber, _ value: UInt32?) {
        remove(number)
        if let value { add(number, uint: value) }
    }

    // MARK: The rules

    /// The first option of a request with a value that the standard does not allow.
    var firstInvalid: CoAPOptionNumber? {
        var cursor = Cursor()
        var previous: UInt16?
        while let value = next(&cursor) {
            let number = CoAPOptionNumber(rawValue: cursor.number)
            if let rule = number.rule, !rule.allows(value.count, isRepeated: previous == cursor.number) {
                return number
            }
            // A segment is never "." or ".." (RFC 7252, 5.10.1).
            if number == .uriPath, value.count == 1 || value.count == 2 {
                if bytes[value.lowerBound] == UInt8(ascii: "."), bytes[value.upperBound - 1] == UInt8(ascii: ".") {
                    return number
                }
            }
            previous = cursor.number
        }
        return nil
    }

    /// The first critical option of a response that must have it rejected: not understood, or of a length or repetition
    /// that makes it count as such (RFC 7252, 5.4.1, 5.4.3 and 5.4.5). `understood` are the numbers that the user handles.
    func firstUnacceptable(understood: [CoAPOptionNumber]) -> CoAPOptionNumber? {
        var cursor = Cursor()
        var previous: UInt16?
        while let value = next(&cursor) {
            let number = CoAPOptionNumber(rawValue: cursor.number)
            let isRepeated = previous == cursor.number
            previous = cursor.number
            guard number.isCritical, !understood.contains(number) else { continue }
            guard let rule = number.rule, rule.allows(value.count, isRepeated: isRepeated) else { return number }
        }
        return nil
    }
}
