/// ESP-AT, the firmware of Espressif's modules: 1.7 on ESP8266, 2.0 to 3.2, and 3.3 and later.
final class ESPAT: ATDialect {
    let linkCount = 5
    let maximumCommandBytes = 256
    let escape: StaticString = "+++"
    let reset: StaticString = "AT+RST\r\n"
    private(set) var isPassive = false
    private var isOld = false
    /// Reception is set per link, which is so from 3.3 on.
    private var hasReceiveType = false

    // MARK: Commands

    /// By the kind of request, and then by the step of the bring-up: seconds for an answer, and the line, where `#` is the
    /// link, `%` the count, `$` the host, `@` the port, `&` the network's name and password.
    private static let templates: StaticString = """
        75AT+CIPSTART=#,"TCP",$,@
        75AT+CIPSTART=#,"UDP",$,@
        10AT+CIPSEND=#,%
        5AT+CIPRECVDATA=#,%
        10AT+CIPCLOSE=#
        15AT+CIPDOMAIN=$
        5AT+CIPRECVLEN?
        5AT+CWJAP?
        2AT
        2ATE0
        2AT+GMR
        5AT+CWMODE=1
        60AT+CWJAP=&
        5AT+CIPCLOSE=5
        5AT+CIPCLOSE
        5AT+CIPMUX=1
        5AT+CIPDINFO=0
        5AT+CIPRECVMODE=1
        5AT+CIPRECVTYPE=5,1
        60AT+CWJAP_CUR=&
        """
    private static let joinStep = 3
    private static let multiplexStep = 6
    private static let receptionStep = 8

    func command(for request: ATRequest, host: [UInt8], port: UInt16, configuration: ModemConfiguration) -> ATCommand? {
        var row = Int(request.kind.rawValue)
        if request.kind == .attach {
            if request.count > Self.receptionStep { return nil }
            row += request.count
            if request.count == Self.receptionStep, hasReceiveType { row += 1 }
            if request.count == Self.joinStep {
                if isOld { row += 7 }
                if configuration.accessPoint == nil { row = Int(ATRequest.Kind.signal.rawValue) }
            }
        }
        var position = 0
        for _ in 0..<row { position = Self.templates.end(ofLineAt: position) + 1 }
        var command = ATCommand()
        var seconds = 0
        let end = Self.templates.end(ofLineAt: position)
        while position < end {
            let byte = Self.templates.byte(position)
            position += 1
            switch byte {
            case UInt8(ascii: "#"): command.line.append(number: request.link)
            case UInt8(ascii: "%"): command.line.append(number: request.count)
            case UInt8(ascii: "@"): command.line.append(number: Int(port))
            case UInt8(ascii: "$"): command.line.append(quoted: host)
            case UInt8(ascii: "&"):
                guard let (name, password) = configuration.accessPoint else { return nil }
                command.line.append(quoted: name)
                command.line.append(UInt8(ascii: ","))
                command.line.append(quoted: password)
            default:
                if command.line.isEmpty, byte < UInt8(ascii: "A") {
                    seconds = seconds * 10 + Int(byte - 0x30)
                } else {
                    command.line.append(byte)
                }
            }
        }
        command.timeout = seconds * 1_000
        if request.kind == .send { command.payloadBytes = request.count }
        return command
    }

    func attachStepEnded(_ step: Int, isSuccess: Bool) -> Bool {
        if step == Self.receptionStep { isPassive = isSuccess }
        return isSuccess || step != 0 && step != Self.joinStep && step != Self.multiplexStep
    }

    // MARK: Lines

    /// Pushed data: `+IPD,link,length:`, or with the peer's address behind the length. Data that was read:
    /// `+CIPRECVDATA:length,` from 2.0 on, `+CIPRECVDATA,length:` in 1.7.
    func header(_ line: Span<UInt8>) -> ATHeader {
        let match = ATMatch(line, in: "+IPD,#,#:\n+IPD,#,#,*\n+IPD,*\n+CIPRECVDATA:#,\n+CIPRECVDATA,#:\n+CIPRECVDATA*")
        let isColon = line[line.count - 1] == UInt8(ascii: ":")
        var link = -1
        switch match.index {
        case 0: link = match.first
        case 1:
            // A colon inside the quotes of an address is not the end.
            var isQuoted = !isColon
            for index in line.indices where line[index] == UInt8(ascii: "\"") { isQuoted.toggle() }
            if isQuoted { return .none }
            link = match.first
        case 2: return isColon ? .malformed : .none
        case 3, 4: break
        case 5: return line.count > 13 ? .malformed : .none
        default: return .none
        }
        return match.second >= 0 && match.second <= 8_192 ? .payload(link: link, count: match.second) : .malformed
    }

    private static let notices: StaticString = """
        #,CLOSED
        +IPD,#,#
        ready
        WIFI DISCONNECT
        link is not valid
        ALREADY CONNECTED
        DNS Fail
        no ip
        No AP
        +CIPRECVLEN:*
        +CWJAP:#
        +CWJAP:*
        +CIPDOMAIN:*
        AT version:#.#*
        #,CONNECT
        #,CONNECT FAIL
        Recv # bytes
        WIFI *
        UNLINK
        """

    func notice(_ line: Span<UInt8>) -> ATNotice {
        let match = ATMatch(line, in: Self.notices)
        switch match.index {
        case 0: return .closed(link: match.second)
        case 1: return .dataWaits(link: match.first)
        case 2: return .restarted
        case 3: return .networkLost
        case 4: return .reason(.linkNotValid)
        case 5: return .reason(.alreadyConnected)
        case 6: return .reason(.nameNotFound)
        case 7, 8: return .reason(.noNetwork)
        case 9: return .lengths(position: match.position)
        case 10: return .joinFailed(code: match.second)
        case 11: return signal(line, match.position)
        case 12:
            // Quoted from 2.0 on.
            let isQuoted = line[line.count - 1] == UInt8(ascii: "\"")
            return .address(start: match.position + (isQuoted ? 1 : 0), end: line.count - (isQuoted ? 1 : 0))
        case 13:
            isOld = match.first < 2
            hasReceiveType = match.first > 3 || match.first == 3 && match.second > 2
            return .ignored
        case 14...: return .ignored
        default: return .unknown
        }
    }

    /// `"name","bssid",channel,signal,…`, where the name may hold anything, with quotes escaped.
    private func signal(_ line: Span<UInt8>, _ start: Int) -> ATNotice {
        var position = start
        var fields = 0
        var isQuoted = false
        while position < line.count, fields < 3 {
            switch line[position] {
            case UInt8(ascii: "\\"): position += 1
            case UInt8(ascii: "\""): isQuoted.toggle()
            case UInt8(ascii: ","): if !isQuoted { fields += 1 }
            default: break
            }
            position += 1
        }
        guard let value = line.number(at: &position) else { return .unknown }
        return .signal(value)
    }
}
