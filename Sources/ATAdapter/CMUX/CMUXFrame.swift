internal import SAL

/// The kinds of frames of the multiplexer (3GPP 27.010, 5.2.1.3), without their bit P/F.
enum CMUXControl: UInt8 {
    /// Opens a channel, and closes it.
    case sabm = 0x2F
    case disc = 0x43
    /// What answers both: yes, and no such channel.
    case ua = 0x63
    case dm = 0x0F
    /// Data, whose checksum covers the head only, or all of it.
    case uih = 0xEF
    case ui = 0x03

    static var pollFinal: UInt8 { 0x10 }
}

/// A frame without its information: for which channel it is (its DLCI), and what.
struct CMUXFrame: Equatable {
    var channel: Int
    var control: CMUXControl
    /// The bit C/R: this side's commands have it, and the modem's answers to them. Modems disagree about their own data.
    var isCommand = true
    /// The bit P/F: an answer is wanted, or this is one.
    var isPolling = false

    var address: UInt8 { UInt8(truncatingIfNeeded: channel) << 2 | (isCommand ? 2 : 0) | 1 }

    init(_ control: CMUXControl, channel: Int, isCommand: Bool = true) {
        self.control = control
        self.channel = channel
        self.isCommand = isCommand
        switch control {
        case .sabm, .disc, .ua, .dm: isPolling = true
        case .uih, .ui: break
        }
    }

    /// From the first two octets; `nil` if they begin no frame.
    init?(address: UInt8, control: UInt8) {
        guard address & 1 == 1, let kind = CMUXControl(rawValue: control & ~CMUXControl.pollFinal) else { return nil }
        channel = Int(address >> 2)
        self.control = kind
        isCommand = address & 2 != 0
        isPolling = control & CMUXControl.pollFinal != 0
    }
}

/// The frame check sequence (3GPP 27.010, 5.2.1.6): a CRC of 8 bits.
struct CMUXChecksum {
    private var register: UInt8 = 0xFF

    /// What a frame ends with.
    var octet: UInt8 { ~register }

    mutating func add(_ byte: UInt8) {
        register ^= byte
        for _ in 0..<8 { register = register & 1 == 0 ? register >> 1 : register >> 1 ^ 0xE0 }
    }

    mutating func add(_ bytes: Span<UInt8>) { for index in bytes.indices { add(bytes[index]) } }
}

/// What delimits frames: the two ways of 3GPP 27.010 without error recovery.
public enum MultiplexerOption: UInt8, Sendable {
    /// The basic option: a frame says its length (5.2.6).
    case basic
    /// The advanced option: flags inside a frame are escaped (5.2.7).
    case advanced

    var flag: UInt8 { self == .basic ? 0xF9 : 0x7E }
    static var escape: UInt8 { 0x7D }
    /// What turns an octet into another one behind ``escape``.
    static var turn: UInt8 { 0x20 }
}

extension ByteQueue {
    /// Appends a frame with its flags.
    mutating func append(_ frame: CMUXFrame, _ information: Span<UInt8>, _ option: MultiplexerOption) {
        let control = frame.control.rawValue | (frame.isPolling ? CMUXControl.pollFinal : 0)
        var checksum = CMUXChecksum()
        checksum.add(frame.address)
        checksum.add(control)
        append(option.flag)
        switch option {
        case .basic:
            append(frame.address)
            append(control)
            let low = UInt8(truncatingIfNeeded: information.count << 1)
            if information.count < 128 {
                append(low | 1)
                checksum.add(low | 1)
            } else {
                let high = UInt8(truncatingIfNeeded: information.count >> 7)
                append(low)
                append(high)
                checksum.add(low)
                checksum.add(high)
            }
            append(information)
            if frame.control != .uih { checksum.add(information) }
            append(checksum.octet)
        case .advanced:
            appendEscaped(frame.address)
            appendEscaped(control)
            for index in information.indices { appendEscaped(information[index]) }
            if frame.control != .uih { checksum.add(information) }
            appendEscaped(checksum.octet)
        }
        append(option.flag)
    }

    private mutating func appendEscaped(_ byte: UInt8) {
        switch byte {
        // The flag, the escape, and what software flow control takes for its own.
        case 0x7E, 0x7D, 0x11, 0x13:
            append(MultiplexerOption.escape)
            append(byte ^ MultiplexerOption.turn)
        default: append(byte)
        }
    }
}
