import QCloudIoTHub

/// What the device is told when it starts: words of the form `name=value`.
struct Settings {
    let host: [UInt8]
    let port: UInt16
    let identity: DeviceIdentity
    let interval: Int

    /// Settings from the line that holds them; `nil` if one is missing or wrong.
    init?(_ line: Span<UInt8>) {
        guard let host = Self.value(of: "host", in: line), let port = Self.number("port", in: line),
            let product = Self.value(of: "product", in: line), let name = Self.value(of: "device", in: line),
            let secret = Self.value(of: "secret", in: line), let interval = Self.number("interval", in: line),
            port > 0, port <= 65_535, interval > 0
        else { return nil }
        do throws(HubIdentityError) {
            identity = try DeviceIdentity(
                productID: product,
                deviceName: name,
                credential: .key(try DeviceSecret(base64: secret.span))
            )
        } catch { return nil }
        self.host = host
        self.port = UInt16(port)
        self.interval = interval
    }

    private static func number(_ name: StaticString, in line: Span<UInt8>) -> Int? {
        guard let text = value(of: name, in: line) else { return nil }
        return decimal(text.span, from: 0)
    }

    /// What stands behind `name=`, up to the next space.
    private static func value(of name: StaticString, in line: Span<UInt8>) -> [UInt8]? {
        guard var start = find(name, in: line) else { return nil }
        start += name.utf8CodeUnitCount
        guard start < line.count, line[start] == UInt8(ascii: "=") else { return nil }
        var end = start + 1
        while end < line.count, line[end] != 0x20 { end += 1 }
        return copy(line, start + 1, end)
    }
}

/// The bytes from `start` up to `end`: a slice would bring the library's generic way to copy one.
func copy(_ bytes: Span<UInt8>, _ start: Int, _ end: Int) -> [UInt8] {
    var copy: [UInt8] = []
    for index in start..<end { copy.append(bytes[index]) }
    return copy
}

/// Where `text` stands in `bytes`.
func find(_ text: StaticString, in bytes: Span<UInt8>) -> Int? {
    let count = text.utf8CodeUnitCount
    var start = 0
    while start + count <= bytes.count {
        var same = 0
        while same < count, bytes[start + same] == text.utf8Start[same] { same += 1 }
        if same == count { return start }
        start += 1
    }
    return nil
}

/// The decimal number in `bytes` at `start`, of at most eight digits.
func decimal(_ bytes: Span<UInt8>, from start: Int) -> Int? {
    var value = 0
    var index = start
    while index < bytes.count, index - start < 8, bytes[index] >= UInt8(ascii: "0"), bytes[index] <= UInt8(ascii: "9") {
        value = value * 10 + Int(bytes[index] - UInt8(ascii: "0"))
        index += 1
    }
    return index > start ? value : nil
}
