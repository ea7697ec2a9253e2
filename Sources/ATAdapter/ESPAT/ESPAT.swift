/// The dialect of Espressif's ESP-AT firmware, from 1.7 to 3.x.
enum ESPAT: ATDialect {
    /// What an unsolicited line, or a line of an answer, says.
    enum Notice: Equatable {
        case opened(link: Int)
        case closed(link: Int)
        /// Passive reception: data waits.
        case dataWaiting(link: Int)
        case networkUp
        case networkDown
        case alreadyConnected
        case nameNotFound
        case noNetwork
        case linkNotValid
        case other
    }

    static let maximumPayloadBytes = 8_192
    static let linkCount = 5

    static func payloadLength(after line: [UInt8]) -> Int? {
        if line.starts(with: "+IPD,") {
            // Push: "+IPD,link,length:" and with the peer's address "+IPD,link,length,"ip",port:".
            guard line.last == UInt8(ascii: ":") else { return nil }
            var index = 5
            guard line.number(at: &index) != nil, line.skip(UInt8(ascii: ","), at: &index),
                let length = line.number(at: &index)
            else { return -1 }
            return length
        }
        guard line.starts(with: "+CIPRECVDATA"), line.count > 13 else { return nil }
        // From 2.0: "+CIPRECVDATA:length,"; 1.7: "+CIPRECVDATA,length:".
        let isOld = line[12] == UInt8(ascii: ",")
        guard line.last == (isOld ? UInt8(ascii: ":") : UInt8(ascii: ",")) else { return nil }
        var index = 13
        return line.number(at: &index) ?? -1
    }

    /// The link that a payload header names; `nil` for the answer to a read.
    static func link(ofPayload header: [UInt8]) -> Int? {
        var index = 5
        return header.starts(with: "+IPD,") ? header.number(at: &index) : nil
    }

    static func notice(_ line: [UInt8]) -> Notice {
        if line.starts(with: "+IPD,") {
            var index = 5
            guard let link = line.number(at: &index), link < linkCount else { return .other }
            return .dataWaiting(link: link)
        }
        if line.count > 2, line[1] == UInt8(ascii: ","), line[0] >= UInt8(ascii: "0"), line[0] <= UInt8(ascii: "4") {
            let link = Int(line[0] - UInt8(ascii: "0"))
            let rest = Array(line[2...])
            if rest.isLine("CONNECT") { return .opened(link: link) }
            if rest.isLine("CLOSED") || rest.isLine("CONNECT FAIL") { return .closed(link: link) }
            return .other
        }
        if line.isLine("WIFI GOT IP") { return .networkUp }
        if line.isLine("WIFI DISCONNECT") { return .networkDown }
        if line.isLine("ALREADY CONNECTED") { return .alreadyConnected }
        if line.isLine("DNS Fail") { return .nameNotFound }
        if line.isLine("no ip") { return .noNetwork }
        if line.isLine("link is not valid") { return .linkNotValid }
        return .other
    }

    /// The signal strength in dBm in `+CWJAP:"ssid","bssid",channel,rssi,…`.
    static func signal(_ line: [UInt8]) -> Int? {
        guard line.starts(with: "+CWJAP:") else { return nil }
        // The network's name may hold anything, with quotes escaped; what counts comes behind the second string.
        var index = 7
        for _ in 0..<2 {
            guard line.skip(UInt8(ascii: "\""), at: &index) else { return nil }
            while index < line.count, line[index] != UInt8(ascii: "\"") {
                index += line[index] == UInt8(ascii: "\\") ? 2 : 1
            }
            guard line.skip(UInt8(ascii: "\""), at: &index), line.skip(UInt8(ascii: ","), at: &index) else {
                return nil
            }
        }
        guard line.number(at: &index) != nil, line.skip(UInt8(ascii: ","), at: &index) else { return nil }
        let isNegative = line.skip(UInt8(ascii: "-"), at: &index)
        guard let value = line.number(at: &index) else { return nil }
        return isNegative ? -value : value
    }

    /// Appends `text` as a string parameter.
    static func append(string text: [UInt8], to command: inout [UInt8]) {
        command.append(UInt8(ascii: "\""))
        for byte in text {
            if byte == UInt8(ascii: "\\") || byte == UInt8(ascii: "\"") || byte == UInt8(ascii: ",") {
                command.append(UInt8(ascii: "\\"))
            }
            command.append(byte)
        }
        command.append(UInt8(ascii: "\""))
    }

    /// Whether a string may stand in a command: no control characters, and short enough.
    static func isAllowed(_ text: [UInt8]) -> Bool {
        for byte in text where byte < 0x20 || byte == 0x7F { return false }
        return !text.isEmpty && text.count <= 64
    }
}
