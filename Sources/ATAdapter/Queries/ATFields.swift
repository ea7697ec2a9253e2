internal import Kernel

/// The fields of an answer, read one after the other: those behind `+NAME:`, separated by commas.
struct ATFields {
    private let text: [UInt8]
    private var position: Int

    /// The fields of the first line with that name; `nil` if there is none.
    init?(_ answer: [UInt8], of name: StaticString) {
        var start = 0
        while start < answer.count {
            let line = answer.line(at: start)
            var end = start
            while end - start < name.utf8CodeUnitCount, end < line.upperBound, answer[end] == name.byte(end - start) {
                end += 1
            }
            if end - start == name.utf8CodeUnitCount, end < line.upperBound, answer[end] == UInt8(ascii: ":") {
                text = Array(answer[(end + 1)..<line.upperBound])
                position = 0
                return
            }
            start = line.upperBound + 1
        }
        return nil
    }

    /// The next field as a number; `nil` if it is none.
    mutating func number() -> Int? {
        let field = string()
        var position = 0
        guard let number = field.span.number(at: &position), position == field.count else { return nil }
        return number
    }

    /// The next field as it is, without quotes and the spaces around it; empty beyond the last.
    mutating func string() -> [UInt8] {
        while position < text.count, text[position] == UInt8(ascii: " ") { position += 1 }
        var end = position
        guard let range = text.span.string(at: &end) else {
            position = text.count
            return []
        }
        position = end
        while position < text.count, text[position] != UInt8(ascii: ",") { position += 1 }
        position = min(position + 1, text.count)
        return Array(text[range]).withoutSpaces
    }

    /// What an answer says in free text: behind `+NAME:` if it says that, or else its first line that is no notice.
    static func text(of answer: [UInt8], named name: StaticString) -> [UInt8] {
        if var fields = ATFields(answer, of: name) { return fields.string() }
        var start = 0
        while start < answer.count {
            let line = answer.line(at: start)
            if !line.isEmpty, answer[start] != UInt8(ascii: "+"), answer[start] != UInt8(ascii: "^") {
                return Array(answer[line]).withoutSpaces
            }
            start = line.upperBound + 1
        }
        return []
    }
}

extension [UInt8] {
    /// From `start` up to the next line feed.
    fileprivate func line(at start: Int) -> Range<Int> {
        var end = start
        while end < count, self[end] != 0x0A { end += 1 }
        return start..<end
    }

    /// Without spaces and quotes at both ends.
    fileprivate var withoutSpaces: [UInt8] {
        var range = indices
        while let first = range.first, self[first] == 0x20 || self[first] == 0x22 { range.removeFirst() }
        while let last = range.last, self[last] <= 0x20 || self[last] == 0x22 { range.removeLast() }
        return Array(self[range])
    }

    /// Whether these bytes begin with `text`, and perhaps go on.
    func begins(with text: StaticString) -> Bool {
        guard count >= text.utf8CodeUnitCount else { return false }
        for index in 0..<text.utf8CodeUnitCount where self[index] != text.byte(index) { return false }
        return true
    }
}
