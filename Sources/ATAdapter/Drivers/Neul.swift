internal import SAL

extension ModemDriver {
    /// Quectel's BC28, BC35 and BC95.
    public static var bc28: ModemDriver { ModemDriver { BC28() } }
    /// China Mobile's M5310A.
    public static var m5310a: ModemDriver { ModemDriver { M5310A() } }
}

/// The commands that Neul's NB-IoT chips brought: Quectel's BC28, BC35 and BC95. Payload is in the lines as hexadecimal digits, and the modem
/// gives the sockets their numbers.
class Neul: Cellular {
    /// A modem that takes so many bytes at once. What it gives at once is the same for all.
    init(bytes: Int) {
        var traits = ATTraits()
        traits.links = 0..<7
        traits.choosesLinks = true
        (traits.sendBytes, traits.datagramBytes, traits.readBytes) = (bytes, bytes, 1_358)
        traits.sendsDigits = true
        traits.opensByName = false
        traits.hasMultiplexer = false
        (traits.hangUp, traits.reset) = ("+++", "AT+NRB\r")
        super.init(traits)
    }

    override func command(_ request: ATRequest) -> StaticString? {
        switch (request.kind, request.step, request.isDatagram) {
        case (.open, 0, false): "10!AT+NSOCR=STREAM,6,0,1"
        case (.open, 0, true): "10!AT+NSOCR=DGRAM,17,0,1"
        case (.open, 1, false): "60!AT+NSOCO=#,~,@"
        case (.send, _, false): "60!AT+NSOSD=#,%,"
        case (.send, _, true): "60!AT+NSOST=#,~,@,%,"
        case (.read, _, _): "10!AT+NSORF=#,%"
        case (.close, _, _): "10!AT+NSOCL=#"
        case (.resolve, _, _): "60+AT+QDNS=0,~"
        case (.poll, _, _): "5?AT+CGATT?"
        default: nil
        }
    }

    override func connectionStep(_ step: Int, _ configuration: ModemConfiguration) -> StaticString? {
        switch step {
        case 0: "140?AT+CGATT=1"
        case 1: attaching()
        case 2: "5?AT+NSONMI=1"
        // Sockets of an earlier run.
        case 3: "10?AT+NSOCL=0"
        case 4: "10?AT+NSOCL=1"
        case 5: "10?AT+NSOCL=2"
        case 6: "10?AT+NSOCL=3"
        case 7: "10?AT+NSOCL=4"
        case 8: "10?AT+NSOCL=5"
        case 9: "10?AT+NSOCL=6"
        default: nil
        }
    }

    override func connectionStepEnded(_ step: Int, _ error: ATError?, isOptional: Bool) -> ATOutcome {
        step == 1 ? attachAnswered(step) : super.connectionStepEnded(step, error, isOptional: isOptional)
    }

    // MARK: Lines

    private static let headers: StaticString = """
        #,%,#,#,
        +NSORF:#,%,#,#,
        +NSONMI:#,%,#,#,
        """

    /// Data that was read, `link,address,port,length,digits,left`, with or without its name; and data that comes by itself.
    override func header(_ line: Span<UInt8>, isOver: Bool) -> ATHeader {
        if isOver || line[line.count - 1] != UInt8(ascii: ",") { return .none }
        let match = ATMatch(line, in: Self.headers)
        let sender = ATSender(address: match.string, port: match[1])
        switch match.index {
        case 0, 1: return .digits(link: ATHeader.ofRead, count: match[2], sender: sender)
        case 2: return .digits(link: match[0], count: match[2], sender: sender)
        default: return .none
        }
    }

    private static let notices: StaticString = """
        #
        +NSOCR:#
        #,#
        +NSOSD:#,#
        +NSOST:#,#
        +NSONMI:#,#
        +NSOCLI:#
        CONNECT OK
        CONNECT FAIL
        +QDNS:FAIL
        +QDNS:%
        +CMDNS:FAIL
        +CMDNS:%
        REBOOTING
        Neul
        Boot:*
        M5310*
        +NSO*
        """

    override func familyNotice(_ line: Span<UInt8>, during request: ATRequest) -> ATNotice {
        let match = ATMatch(line, in: Self.notices)
        switch match.index {
        case 0, 1: return request.kind == .open ? .link(match[0]) : .unknown
        case 2...4: return request.kind == .send && request.link == match[0] ? .accepted(match[1]) : .ignored
        case 5: return .dataWaits(link: match[0], bytes: match[1])
        case 6: return .closed(link: match[0])
        case 7: return request.kind == .open ? .done : .ignored
        case 8: return request.kind == .open ? .failed : .ignored
        case 9, 11: return request.kind == .resolve ? .failed : .ignored
        case 10, 12: return .address(match.string)
        case 13...16: return request.kind == .user ? .unknown : .restarted
        case 17...: return .ignored
        default: return .unknown
        }
    }
}

/// Quectel's BC28, BC35 and BC95.
final class BC28: Neul {
    init() { super.init(bytes: 1_358) }
}

/// China Mobile's M5310A.
final class M5310A: Neul {
    init() { super.init(bytes: 200) }

    override func command(_ request: ATRequest) -> StaticString? {
        switch (request.kind, request.step, request.isDatagram) {
        case (.open, 0, false): "10!AT+NSOCR=STREAM,6"
        case (.open, 0, true): "10!AT+NSOCR=DGRAM,17"
        case (.open, 1, false): "60+AT+NSOCO=#,~,@"
        case (.resolve, _, _): "60+AT+CMDNS=$"
        default: super.command(request)
        }
    }
}
