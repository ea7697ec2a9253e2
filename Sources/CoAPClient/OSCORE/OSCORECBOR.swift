internal import Kernel

/// The few values of CBOR (RFC 8949) that OSCORE hashes and authenticates; nothing is ever read.
struct OSCORECBOR {
    private(set) var bytes: [UInt8] = []

    /// Appends the head of an item: its major type and its argument.
    private mutating func head(_ major: UInt8, _ argument: Int) {
        switch argument {
        case ..<24: bytes.append(major << 5 | UInt8(argument))
        case ..<256:
            bytes.append(major << 5 | 24)
            bytes.append(UInt8(argument))
        default:
            bytes.append(major << 5 | 25)
            bytes.append(UInt8(argument >> 8))
            bytes.append(UInt8(argument & 0xFF))
        }
    }

    mutating func array(count: Int) { head(4, count) }

    mutating func null() { bytes.append(0xF6) }

    mutating func integer(_ value: Int) {
        if value >= 0 { head(0, value) } else { head(1, -1 - value) }
    }

    mutating func byteString(_ value: [UInt8]) {
        head(2, value.count)
        bytes.append(value.span)
    }

    mutating func text(_ value: StaticString) {
        head(3, value.utf8CodeUnitCount)
        bytes.append(value)
    }
}

extension OSCOREContext {
    /// What the keys are derived with (RFC 8613, 3.2.1). The common IV is of the ID without bytes.
    static func info(
        id: [UInt8],
        idContext: [UInt8]?,
        algorithm: OSCOREAlgorithm,
        type: StaticString,
        count: Int
    ) -> [UInt8] {
        var info = OSCORECBOR()
        info.array(count: 5)
        info.byteString(id)
        if let idContext { info.byteString(idContext) } else { info.null() }
        info.integer(algorithm.rawValue)
        info.text(type)
        info.integer(count)
        return info.bytes
    }

    /// What is authenticated beside the plaintext (RFC 8613, 5.4): no option is of class I. Of a response it is the request's `kid` and Partial IV.
    static func additionalData(algorithm: OSCOREAlgorithm, kid: [UInt8], partialIV: UInt64) -> [UInt8] {
        var external = OSCORECBOR()
        external.array(count: 5)
        external.integer(1)
        external.array(count: 1)
        external.integer(algorithm.rawValue)
        external.byteString(kid)
        external.byteString(OSCOREOption.bytes(of: partialIV))
        external.byteString([])
        var data = OSCORECBOR()
        data.array(count: 3)
        data.text("Encrypt0")
        data.byteString([])
        data.byteString(external.bytes)
        return data.bytes
    }

    /// The nonce of a message whose Partial IV was chosen by who has the ID `id` (RFC 8613, 5.2).
    static func nonce(commonIV: Span<UInt8>, id: [UInt8], partialIV: UInt64) -> [UInt8] {
        var nonce = [UInt8](copying: commonIV)
        nonce[0] ^= UInt8(id.count)
        let idStart = nonceBytes - 5 - id.count
        for index in id.indices { nonce[idStart + index] ^= id[index] }
        for index in 0..<5 {
            nonce[nonceBytes - 1 - index] ^= UInt8(truncatingIfNeeded: partialIV >> UInt64(8 * index))
        }
        return nonce
    }
}
