// Classes of characters in ASCII, as the grammars of URLs and links have them.

internal import Kernel

extension UInt8 {
    /// Whether it is one of `set`.
    func isOne(of set: StaticString) -> Bool {
        for index in 0..<set.utf8CodeUnitCount where unsafe set.utf8Start[index] == self { return true }
        return false
    }

    var lowercased: UInt8 { (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(self) ? self | 0x20 : self }

    var isDigit: Bool { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(self) }

    var isAlphanumeric: Bool { (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(self | 0x20) || isDigit }

    /// Whether it is a control character.
    var isControl: Bool { self < 0x20 || self == 0x7F }

    /// Whether every component of a URL may have it as it is: unreserved characters and sub-delims (RFC 3986, 2.2 and 2.3).
    var isPlain: Bool { isAlphanumeric || isOne(of: "-._~!$&'()*+,;=") }

    var hexValue: UInt8? {
        switch self {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): self - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): self - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): self - UInt8(ascii: "A") + 10
        default: nil
        }
    }
}

extension [UInt8] {
    /// Appends `bytes` with percent-encoding, but for plain characters that are not `excluded` and for the `allowed` ones.
    mutating func appendEscaped(_ bytes: Span<UInt8>, allowed: StaticString = "", excluded: StaticString = "") {
        for index in bytes.indices {
            let byte = bytes[index]
            if byte.isPlain && !byte.isOne(of: excluded) || byte.isOne(of: allowed) {
                append(byte)
            } else {
                append(UInt8(ascii: "%"))
                append(hexDigit(byte >> 4))
                append(hexDigit(byte & 0x0F))
            }
        }
    }

    /// Appends the digits of `number`.
    mutating func append(decimal number: UInt64) {
        if number >= 10 { append(decimal: number / 10) }
        append(UInt8(ascii: "0") + UInt8(number % 10))
    }
}

private func hexDigit(_ value: UInt8) -> UInt8 {
    value < 10 ? UInt8(ascii: "0") + value : UInt8(ascii: "A") + value - 10
}

extension StaticString {
    var bytes: [UInt8] {
        var bytes: [UInt8] = []
        bytes.append(self)
        return bytes
    }
}
