internal import Kernel
internal import SAL

/// The messages of the control channel (3GPP 27.010, 5.4.6.3).
extension CMUXSession {
    enum Message {
        static let test: UInt8 = 0x20
        static let flowOn: UInt8 = 0xA0
        static let flowOff: UInt8 = 0x60
        static let status: UInt8 = 0xE0
        static let closeDown: UInt8 = 0xC0
        static let powerSaving: UInt8 = 0x40
        static let parameters: UInt8 = 0x80
        static let lineStatus: UInt8 = 0x50
        static let notSupported: UInt8 = 0x10
        /// The bits EA and C/R.
        static let command: UInt8 = 3
        static let answer: UInt8 = 1
    }

    /// V.24 signals: EA, RTC, RTR and DV, and what stops the other side.
    static var signals: UInt8 { 0x8D }
    static var stopSignal: UInt8 { 0x02 }

    mutating func handleControl() -> Event? {
        // Answers are written meanwhile; there are few of these frames.
        let bytes = decoder.withInformation { span in span.indices.map { span[$0] } }
        var event: Event?
        var position = 0
        // A frame may hold several messages.
        while position + 1 < bytes.count {
            let type = bytes[position]
            guard type & 1 == 1, bytes[position + 1] & 1 == 1 else { break }
            let end = position + 2 + Int(bytes[position + 1] >> 1)
            guard end <= bytes.count else { break }
            let values = Array(bytes[(position + 2)..<end])
            position = end
            event = (type & 2 == 0 ? handleAnswer(type & ~3, values) : handleCommand(type, values)) ?? event
            if isOver { break }
        }
        return event
    }

    mutating func handleAnswer(_ type: UInt8, _ values: [UInt8]) -> Event? {
        switch type {
        case Message.status:
            guard let number = channel(of: values) else { return nil }
            channels[number].repeatsAt = Self.never
            return nil
        // One that does not know the test has answered it all the same.
        case Message.test, Message.notSupported: endTest()
        case Message.closeDown: if channels[0].state == .closing { return over(.closed) }
        default: break
        }
        return nil
    }

    mutating func handleCommand(_ type: UInt8, _ values: [UInt8]) -> Event? {
        if type & ~3 == Message.test, testTries > 0, values == Self.pattern { return over(.echo) }
        // Whoever asks faster than the line can carry the answers gets fewer.
        guard outgoing.count < 4 * (frameBytes + 64) else { return nil }
        switch type & ~3 {
        case Message.status:
            guard let number = channel(of: values), values.count > 1 else { return nil }
            reply(type, values)
            let wasStopped = channels[number].isStopped
            channels[number].isStopped = values[1] & Self.stopSignal != 0
            return wasStopped && !channels[number].isStopped ? .writable : nil
        case Message.flowOn:
            reply(type, [])
            isStopped = false
            return .writable
        case Message.flowOff:
            reply(type, [])
            isStopped = true
        case Message.test, Message.powerSaving, Message.lineStatus: reply(type, values)
        case Message.parameters:
            // What the modem suggests is what it has; frames that are sent stay as short as they are.
            reply(type, values)
        case Message.closeDown:
            reply(type, [])
            return over(.closed)
        default: put(control: Message.notSupported | Message.answer, [type])
        }
        return nil
    }

    /// The channel that a status is about.
    func channel(of values: [UInt8]) -> Int? {
        guard let first = values.first, first >> 2 > 0, Int(first >> 2) < channels.count,
            channels[Int(first >> 2)].state == .open
        else { return nil }
        return Int(first >> 2)
    }
}
