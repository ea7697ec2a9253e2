internal import SAL

/// Finds frames in the bytes of a line, however they are cut, and finds back to them behind garbage.
///
/// What is no frame costs one octet: the search goes on right behind its flag, so that a wrong length does not take the next frames with it.
struct CMUXDecoder: ~Copyable {
    let option: MultiplexerOption
    /// The most information that a frame may have.
    let maximumBytes: Int
    /// With the basic option what has come from a flag on; with the advanced one what stands behind it, without escapes.
    private var buffer = ByteQueue(keeping: 256)
    /// Where the information of the frame found last is; that frame is still in the buffer.
    private var information = 0..<0
    /// How much of the buffer belongs to it.
    private var used = 0
    private var isEscaped = false
    private var isOverlong = false

    /// Frames found; frames with a wrong checksum, length or end; bytes outside of frames.
    private(set) var frames = 0
    private(set) var damaged = 0
    private(set) var noise = 0

    init(_ option: MultiplexerOption, maximumBytes: Int) {
        self.option = option
        self.maximumBytes = maximumBytes
    }

    /// Whether a frame has begun and not ended.
    var isInside: Bool { buffer.count - used > (option == .basic ? 1 : 0) }

    /// Takes bytes, from `position` on, up to the end of the next frame; `nil` when all are taken.
    mutating func receive(_ bytes: Span<UInt8>, from position: inout Int) -> CMUXFrame? {
        drop(used)
        (information, used) = (0..<0, 0)
        switch option {
        case .basic:
            while true {
                if let frame = nextBasic() { return frame }
                guard position < bytes.count else { return nil }
                let count = min(bytes.count - position, maximumBytes + 8 - buffer.count)
                buffer.append(bytes.extracting(position..<position + count))
                position += count
            }
        case .advanced:
            while position < bytes.count {
                let byte = bytes[position]
                position += 1
                if let frame = take(byte) { return frame }
            }
            return nil
        }
    }

    /// Calls `body` with the information of the frame that was found last.
    func withInformation<Result>(_ body: (Span<UInt8>) -> Result) -> Result {
        buffer.withSpan { body($0.extracting(information)) }
    }

    /// What has begun does not go on: it was no frame. What had begun inside of it is found by the next ``receive(_:from:)``.
    mutating func abandon() {
        damaged += 1
        if option == .basic { drop(1) } else { buffer.removeAll() }
    }

    private mutating func drop(_ count: Int) { buffer.removeFirst(count) }

    // MARK: Basic

    private enum Candidate {
        case frame(CMUXFrame, information: Range<Int>, count: Int)
        case incomplete, damaged
    }

    private mutating func nextBasic() -> CMUXFrame? {
        while true {
            var start = 0
            while start < buffer.count, buffer[start] != option.flag { start += 1 }
            noise += start
            drop(start)
            // One flag may end a frame and begin the next; more of them are filler.
            while buffer.count > 1, buffer[1] == option.flag { drop(1) }
            switch candidate() {
            case .incomplete: return nil
            case .damaged:
                damaged += 1
                drop(1)
            case .frame(let frame, let range, let count):
                information = range
                // Its last flag may be the first of the next one.
                used = count - 1
                frames += 1
                return frame
            }
        }
    }

    /// The frame whose flag is the first byte of the buffer.
    private func candidate() -> Candidate {
        guard buffer.count > 1 else { return .incomplete }
        guard buffer[1] & 1 == 1 else { return .damaged }
        guard buffer.count > 2 else { return .incomplete }
        guard let frame = CMUXFrame(address: buffer[1], control: buffer[2]) else { return .damaged }
        guard buffer.count > 3 else { return .incomplete }
        var length = Int(buffer[3] >> 1)
        var start = 4
        if buffer[3] & 1 == 0 {
            guard buffer.count > 4 else { return .incomplete }
            length |= Int(buffer[4]) << 7
            start = 5
        }
        guard length <= maximumBytes else { return .damaged }
        let end = start + length
        guard buffer.count > end + 1 else { return .incomplete }
        guard buffer[end + 1] == option.flag else { return .damaged }
        var checksum = CMUXChecksum()
        for index in 1..<(frame.control == .uih ? start : end) { checksum.add(buffer[index]) }
        guard checksum.octet == buffer[end] else { return .damaged }
        return .frame(frame, information: start..<end, count: end + 2)
    }

    // MARK: Advanced

    private mutating func take(_ byte: UInt8) -> CMUXFrame? {
        if byte == option.flag {
            defer { (isEscaped, isOverlong) = (false, false) }
            return ended()
        }
        if isOverlong {
            noise += 1
        } else if byte == MultiplexerOption.escape, !isEscaped {
            isEscaped = true
        } else if buffer.count > maximumBytes + 2 {
            isOverlong = true
            noise += buffer.count + 1
            buffer.removeAll()
        } else {
            buffer.append(isEscaped ? byte ^ MultiplexerOption.turn : byte)
            isEscaped = false
        }
        return nil
    }

    private mutating func ended() -> CMUXFrame? {
        if buffer.isEmpty {
            if isOverlong { damaged += 1 }
            return nil
        }
        let count = buffer.count
        // An escape with a flag behind it breaks the frame off.
        if !isEscaped, count >= 3, let frame = CMUXFrame(address: buffer[0], control: buffer[1]) {
            var checksum = CMUXChecksum()
            for index in 0..<(frame.control == .uih ? 2 : count - 1) { checksum.add(buffer[index]) }
            if checksum.octet == buffer[count - 1] {
                information = 2..<(count - 1)
                used = count
                frames += 1
                return frame
            }
        }
        damaged += 1
        noise += count
        buffer.removeAll()
        return nil
    }
}
