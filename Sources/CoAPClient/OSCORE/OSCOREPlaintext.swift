internal import Kernel

/// A message taken apart into what is encrypted and what proxies must see (RFC 8613, 4.1).
struct OSCOREPlaintext {
    /// The options of class U, and those that are in both parts.
    private(set) var outer = CoAPOptions()
    /// Whether the message has an Observe option, which decides about the outer code (RFC 8613, 4.2).
    private(set) var hasObserve = false
    /// Code, options of class E and payload (RFC 8613, 5.3).
    private(set) var bytes: [UInt8]

    /// The parts of a message to be protected.
    init(code: CoAPCode, options: CoAPOptions, payload: [UInt8]) throws(OSCOREError) {
        var inner = CoAPOptions()
        var cursor = CoAPOptions.Cursor()
        while let range = options.next(&cursor) {
            let number = CoAPOptionNumber(rawValue: cursor.number)
            let value = options.bytes.span.extracting(range)
            switch number {
            case .oscore, .proxyUri: throw .invalidOption(number)
            case .observe:
                // In notifications, who orders them is the Partial IV (RFC 8613, 4.1.3.5).
                hasObserve = true
                outer.add(number, value)
                inner.add(number, code.isRequest ? value : value.extracting(first: 0))
            case _ where number.isOuterOnly: outer.add(number, value)
            default: inner.add(number, value)
            }
        }
        bytes = [code.rawValue]
        bytes.append(inner.bytes.span)
        if !payload.isEmpty {
            bytes.append(0xFF)
            bytes.append(payload.span)
        }
    }

    /// The message of a plaintext that was decrypted, and of the options that it travelled with (RFC 8613, 8.2 and 8.4).
    ///
    /// The Observe option is the inner one, if it is outside too: a proxy that does not know it has removed it there.
    static func message(
        _ plaintext: Span<UInt8>,
        outer: CoAPOptions
    ) throws(OSCOREError) -> (code: CoAPCode, options: CoAPOptions, payload: [UInt8]) {
        guard plaintext.count > 0 else { throw .malformedPlaintext }
        let code = CoAPCode(rawValue: plaintext[0])
        var options = CoAPOptions()
        var end = 1
        do throws(CoAPFormatError) {
            var number: UInt16 = 0
            while let option = try CoAPOptions.read(plaintext, at: end, previous: number) {
                number = option.number
                end = option.value.upperBound
                let number = CoAPOptionNumber(rawValue: number)
                let isKept = number == .observe ? outer.contains(.observe) : number != .oscore
                if isKept { options.add(number, plaintext.extracting(option.value)) }
            }
        } catch { throw .malformedPlaintext }
        // Of the options outside only those of class U count, and only where there is none inside.
        var cursor = CoAPOptions.Cursor()
        let inner = options
        while let range = outer.next(&cursor) {
            let number = CoAPOptionNumber(rawValue: cursor.number)
            guard number.isOuterOnly, !inner.contains(number) else { continue }
            options.add(number, outer.bytes.span.extracting(range))
        }
        guard end < plaintext.count else { return (code, options, []) }
        guard end + 1 < plaintext.count else { throw .malformedPlaintext }
        return (code, options, [UInt8](copying: plaintext.extracting(droppingFirst: end + 1)))
    }
}

extension CoAPOptionNumber {
    /// Whether it is of class U only: proxies read it, and nothing protects it (RFC 8613, figure 5; RFC 8768, 3). Any option that is not known here is encrypted.
    fileprivate var isOuterOnly: Bool {
        switch self {
        case .uriHost, .uriPort, .proxyUri, .proxyScheme, .hopLimit: true
        default: false
        }
    }
}
