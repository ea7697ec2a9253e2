internal import Kernel

/// What the firmware's lines mean.
extension ModemMQTTSession {
    private static var notices: StaticString {
        """
        +TCMQTTDISCON,#
        +TCMQTTDISCON:#
        +TCMQTTDISCON
        +TCMQTTRECONNECTING
        +TCMQTTRECONNECTED
        +TCMQTTSTATE:#
        +TCOTASTATUS:ENTERUPDATE
        +TCOTASTATUS:UPDATESUCCESS
        +TCOTASTATUS:UPDATERESET
        +TCOTASTATUS:UPDATEFAIL,#
        +TCOTASTATUS:UPDATEFAIL
        """
    }

    mutating func notice(_ line: Span<UInt8>, at now: Duration) -> ModemServiceNotice {
        guard line.has("+TC", at: 0) else { return .unknown }
        let match = ATMatch(line, in: Self.notices)
        let code = ModemMQTTCode(rawValue: Int32(truncatingIfNeeded: match[0]))
        switch match.index {
        case 0, 1: connectionEnded(code, at: now)
        case 2: connectionEnded(.unknown, at: now)
        case 3, 4: reconnect(isDone: match.index == 4, at: now)
        case 5: if work == .state { isConnected = match[0] == 1 }
        case 6: outputs.append(.firmware(.downloading))
        case 7: outputs.append(.firmware(.ready))
        case 8: outputs.append(.firmware(.restarting))
        case 9, 10: outputs.append(.firmware(.failed(code)))
        default:
            if work != nil {
                if line.has("+TCFWINFO:", at: 0) { return info(line) }
                return result(line)
            }
            return .unknown
        }
        return .ignored
    }

    /// `+NAME:OK` or `+NAME:FAIL,code` of the command in flight. The long forms of a publish may end with the name of the short one.
    private mutating func result(_ line: Span<UInt8>) -> ModemServiceNotice {
        // Behind `AT`.
        var position = 0
        while position < line.count, line[position] != UInt8(ascii: ":") {
            guard position + 2 < self.line.count, self.line[position + 2] == line[position] else { return .unknown }
            position += 1
        }
        guard position > 8, position < line.count else { return .unknown }
        let next = position + 2 < self.line.count ? self.line[position + 2] : UInt8(ascii: "=")
        guard next == UInt8(ascii: "=") || line.has("+TCMQTTPUB:", at: 0) else { return .unknown }
        position += 1
        while position < line.count, line[position] == UInt8(ascii: " ") { position += 1 }
        if line.has("OK", at: position) {
            outcome = .done
            return .done
        }
        guard line.has("FAIL", at: position) else { return .unknown }
        position += 4
        if position < line.count, line[position] == UInt8(ascii: ",") { position += 1 }
        outcome = .failed(ModemMQTTCode(rawValue: Int32(truncatingIfNeeded: line.number(at: &position) ?? 0)))
        return .failed
    }

    /// `+TCFWINFO:"version",bytes,"md5"`, and perhaps how much the modem can hold.
    private mutating func info(_ line: Span<UInt8>) -> ModemServiceNotice {
        let command = self.line
        guard case .request(let id) = work, command.span.has("AT+TCFWINFO?", at: 0) else { return .unknown }
        var position = 10
        while position < line.count, line[position] == UInt8(ascii: " ") { position += 1 }
        guard let version = line.string(at: &position), position < line.count else { return .unknown }
        position += 1
        guard let bytes = line.number(at: &position), bytes >= 0, position < line.count else { return .unknown }
        position += 1
        guard let md5 = line.string(at: &position) else { return .unknown }
        outputs.append(
            .firmwareInfo(
                id,
                ModemFirmwareInfo(
                    version: [UInt8](copying: line.extracting(version)),
                    bytes: bytes,
                    md5: [UInt8](copying: line.extracting(md5))
                )
            )
        )
        outcome = .done
        return .done
    }
}
