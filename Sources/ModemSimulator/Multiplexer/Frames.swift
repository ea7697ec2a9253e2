/// A frame of the multiplexer (3GPP 27.010, 5.2), as the modem's side sees it.
///
/// All of this is written apart from the stack that the simulator is there to test, so that the two cannot be wrong alike.
struct Frame: Equatable {
    /// The control octet without P/F.
    enum Kind: UInt8 { case sabm = 0x2F, ua = 0x63, dm = 0x0F, disc = 0x43, uih = 0xEF, ui = 0x03 }

    var dlci: Int
    var kind: Kind
    var carriesCR = false
    var hasFinal = false
    var information: [UInt8] = []

    /// The reversed CRC of the standard's annex B.3.5, a table of 256.
    private static let table: [UInt8] = (0...255).map { number in
        (0..<8).reduce(UInt8(number)) { value, _ in value % 2 == 1 ? (value / 2) ^ 0b1110_0000 : value / 2 }
    }

    static func sequence(over bytes: [UInt8]) -> UInt8 {
        0xFF - bytes.reduce(0xFF) { table[Int($0 ^ $1)] }
    }

    /// The octets between the flags.
    func body(isAdvanced: Bool) -> [UInt8] {
        let address = UInt8(dlci * 4 + (carriesCR ? 2 : 0) + 1)
        var head = [address, kind.rawValue + (hasFinal ? 0x10 : 0)]
        let count = information.count
        if !isAdvanced { head += count < 128 ? [UInt8(count * 2 + 1)] : [UInt8(count % 128 * 2), UInt8(count / 128)] }
        return head + information + [Self.sequence(over: kind == .uih ? head : head + information)]
    }

    func octets(isAdvanced: Bool) -> [UInt8] {
        if !isAdvanced { return [0xF9] + body(isAdvanced: false) + [0xF9] }
        let escaped = body(isAdvanced: true).flatMap { byte in
            [0x7D, 0x7E, 0x11, 0x13].contains(byte) ? [0x7D, byte ^ 0x20] : [byte]
        }
        return [0x7E] + escaped + [0x7E]
    }
}

/// Takes the host's bytes apart, a state per field.
struct FrameReader {
    private enum State { case hunting, address, control, length, longLength, information, sequence, flag, stuffed }

    let isAdvanced: Bool
    private var state = State.hunting
    private var head: [UInt8] = []
    private var information: [UInt8] = []
    private var length = 0
    private var isEscaped = false
    /// Frames with a wrong head, sequence or end.
    private(set) var damaged = 0

    init(isAdvanced: Bool) { self.isAdvanced = isAdvanced }

    /// The frame that ends with `byte`.
    mutating func take(_ byte: UInt8) -> Frame? { isAdvanced ? takeAdvanced(byte) : takeBasic(byte) }

    private mutating func spoil() {
        damaged += 1
        state = .hunting
    }

    private mutating func takeBasic(_ byte: UInt8) -> Frame? {
        switch state {
        case .hunting, .stuffed: if byte == 0xF9 { state = .address }
        case .address:
            if byte == 0xF9 { break }
            head = [byte]
            byte % 2 == 1 ? state = .control : spoil()
        case .control:
            head.append(byte)
            Frame.Kind(rawValue: byte & 0xEF) == nil ? spoil() : (state = .length)
        case .length:
            head.append(byte)
            information = []
            length = Int(byte / 2)
            state = byte % 2 == 0 ? .longLength : length == 0 ? .sequence : .information
        case .longLength:
            head.append(byte)
            length += Int(byte) * 128
            length > 4_096 ? spoil() : (state = length == 0 ? .sequence : .information)
        case .information:
            information.append(byte)
            if information.count == length { state = .sequence }
        case .sequence:
            head.append(byte)
            state = .flag
        case .flag:
            guard byte == 0xF9, let frame = frame(head: Array(head.dropLast()), head.last ?? 0) else {
                spoil()
                break
            }
            state = .address
            return frame
        }
        return nil
    }

    private mutating func takeAdvanced(_ byte: UInt8) -> Frame? {
        if byte == 0x7E {
            defer { (state, information, isEscaped) = (.stuffed, [], false) }
            guard state == .stuffed, !information.isEmpty else { return nil }
            let all = information
            guard all.count >= 3 else {
                damaged += 1
                return nil
            }
            information = Array(all[2..<(all.count - 1)])
            let found = frame(head: Array(all[..<2]), all[all.count - 1])
            if found == nil { damaged += 1 }
            return found
        }
        guard state == .stuffed else { return nil }
        if byte == 0x7D {
            isEscaped = true
        } else {
            information.append(isEscaped ? byte ^ 0x20 : byte)
            isEscaped = false
            if information.count > 4_096 { spoil() }
        }
        return nil
    }

    private func frame(head: [UInt8], _ sequence: UInt8) -> Frame? {
        guard let kind = Frame.Kind(rawValue: head[1] & 0xEF), head[0] % 2 == 1,
            Frame.sequence(over: kind == .uih ? head : head + information) == sequence
        else { return nil }
        return Frame(
            dlci: Int(head[0] / 4),
            kind: kind,
            carriesCR: head[0] & 2 != 0,
            hasFinal: head[1] & 0x10 != 0,
            information: information
        )
    }
}
