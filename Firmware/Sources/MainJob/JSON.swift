import Board

/// A JSON object, written member by member. Names and texts need no escapes.
struct JSON {
    private var text: [UInt8] = [UInt8(ascii: "{")]

    mutating func add(_ name: StaticString, _ number: Int) {
        add(name: name)
        append(number)
    }

    mutating func add(_ name: StaticString, _ value: [UInt8]) {
        add(name: name)
        text.append(UInt8(ascii: "\""))
        for byte in value { text.append(byte) }
        text.append(UInt8(ascii: "\""))
    }

    mutating func add(_ name: StaticString, _ value: StaticString) {
        add(name: name)
        text.append(UInt8(ascii: "\""))
        append(value)
        text.append(UInt8(ascii: "\""))
    }

    /// The whole text; nothing is added after it.
    mutating func finish() -> [UInt8] {
        text.append(UInt8(ascii: "}"))
        return text
    }

    private mutating func add(name: StaticString) {
        if text.count > 1 { text.append(UInt8(ascii: ",")) }
        text.append(UInt8(ascii: "\""))
        append(name)
        text.append(UInt8(ascii: "\""))
        text.append(UInt8(ascii: ":"))
    }

    private mutating func append(_ value: StaticString) {
        for index in 0..<value.utf8CodeUnitCount { text.append(value.utf8Start[index]) }
    }

    private mutating func append(_ number: Int) {
        if number < 0 { text.append(UInt8(ascii: "-")) }
        if number.magnitude >= 10 { append(Int(number.magnitude / 10)) }
        text.append(UInt8(ascii: "0") + UInt8(truncatingIfNeeded: number.magnitude % 10))
    }
}

/// What the hub tells the device: `{"token": TEXT, "interval": MILLISECONDS}`. A full JSON parser would be a fifth of the image.
struct Control {
    let token: [UInt8]
    let interval: Int

    /// A control message from its JSON; `nil` if it is none.
    init?(_ json: Span<UInt8>) {
        guard var start = Self.value(of: "\"token\"", in: json), start < json.count, json[start] == UInt8(ascii: "\"")
        else {
            return nil
        }
        start += 1
        var end = start
        while end < json.count, json[end] != UInt8(ascii: "\"") {
            // A token with escapes is not one of the hub's.
            guard json[end] != UInt8(ascii: "\\"), json[end] >= 0x20, end - start < 64 else { return nil }
            end += 1
        }
        guard end < json.count, let number = Self.value(of: "\"interval\"", in: json),
            let interval = decimal(json, from: number), (1...86_400_000).contains(interval)
        else { return nil }
        token = copy(json, start, end)
        self.interval = interval
    }

    /// Where the value of the member `name` starts.
    private static func value(of name: StaticString, in json: Span<UInt8>) -> Int? {
        guard var index = find(name, in: json) else { return nil }
        index += name.utf8CodeUnitCount
        while index < json.count, json[index] == 0x20 || json[index] == UInt8(ascii: ":") { index += 1 }
        return index < json.count ? index : nil
    }
}
