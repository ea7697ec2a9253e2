internal import SAL

extension ModemDriver {
    /// SIMCom's SIM800 and SIM900.
    public static var sim800: ModemDriver { ModemDriver { SIM800() } }
}

/// SIMCom's SIM800 and SIM900.
class SIM800: Cellular {
    private var isManual = false

    init() {
        var traits = ATTraits()
        traits.links = 0..<6
        traits.opensByName = false
        traits.pollsEachLink = true
        super.init(traits)
    }

    override init(_ traits: ATTraits) { super.init(traits) }

    override final var isPassive: Bool { isManual }

    override func command(_ request: ATRequest) -> StaticString? {
        switch request.kind {
        case .open where request.step > 0: nil
        case .open: request.isDatagram ? "80*AT+CIPSTART=#,\"UDP\",$,\"@\"" : "80*AT+CIPSTART=#,\"TCP\",$,\"@\""
        case .send: "60=AT+CIPSEND=#,%"
        case .read: "5!AT+CIPRXGET=2,#,%"
        case .close: "10=AT+CIPCLOSE=#"
        case .resolve: "20+AT+CDNSGIP=$"
        case .poll: "5?AT+CIPSTATUS=#"
        default: nil
        }
    }

    private static let receptionStep = 3

    override final func connectionStep(_ step: Int, _ configuration: ModemConfiguration) -> StaticString? {
        switch step {
        // This closes all sockets of an earlier run, too.
        case 0: "65=AT+CIPSHUT"
        case 1: "5!AT+CIPMUX=1"
        case 2: "5?AT+CIPQSEND=1"
        case Self.receptionStep: "5?AT+CIPRXGET=1"
        case 4:
            if configuration.apn.isEmpty {
                "5!AT+CSTT"
            } else if configuration.user.isEmpty {
                "5!AT+CSTT=&a"
            } else {
                "5!AT+CSTT=&a,&u,&p"
            }
        case 5: "85!AT+CIICR"
        case 6: "10=AT+CIFSR"
        default: nil
        }
    }

    override final func connectionStepEnded(_ step: Int, _ error: ATError?, isOptional: Bool) -> ATOutcome {
        if step == Self.receptionStep {
            // Without an answer nobody knows which it is.
            if error == .timedOut { return .failed(.timedOut) }
            isManual = error == nil
        }
        return super.connectionStepEnded(step, error, isOptional: isOptional)
    }

    // MARK: Lines

    /// Data that was read, and pushed data.
    override final func header(_ line: Span<UInt8>, isOver: Bool) -> ATHeader {
        guard isOver else { return .none }
        let match = ATMatch(line, in: "+CIPRXGET:2,#,#,#\n+RECEIVE,#,#:\n+RECEIVE*\n+IPD,#:")
        switch match.index {
        case 0: return .payload(link: ATHeader.ofRead, count: match[1])
        case 1: return .payload(link: match[0], count: match[1])
        case 2: return .malformed
        default: return .none
        }
    }

    private static let notices: StaticString = """
        DATA ACCEPT:#,#
        #,SEND OK
        #,SEND FAIL
        #,CLOSE OK
        SHUT OK
        #.#.#.#
        #,CONNECT OK
        #,CONNECT FAIL
        #,ALREADY CONNECT
        +CIPRXGET:1,#
        #,CLOSED
        +PDP:DEACT
        +CDNSGIP:1,%,%
        +CDNSGIP:1,%,%,%
        +CDNSGIP:0*
        Call Ready
        SMS Ready
        SMS READY
        CALL READY
        +CIPSTATUS:#,%,%,%,%,"CLOSED"
        +CIPSTATUS:*
        """

    override func familyNotice(_ line: Span<UInt8>, during request: ATRequest) -> ATNotice {
        let match = ATMatch(line, in: Self.notices)
        let isOurs = match[0] == request.link
        switch match.index {
        case 0: return request.kind == .send && isOurs ? .accepted(match[1]) : .ignored
        case 1: return request.kind == .send && isOurs ? .done : .ignored
        case 2: return request.kind == .send && isOurs ? .failed : .ignored
        case 3: return request.kind == .close && isOurs ? .done : .ignored
        case 4: return request.kind == .attach ? .done : .ignored
        case 5: return request.kind == .attach ? .done : .unknown
        case 6: return .opened(link: match[0])
        case 7: return .openFailed(link: match[0], .error(.refused(code: 0)))
        case 8: return .openFailed(link: match[0], .alreadyConnected)
        case 9:
            // Only then it says so.
            isManual = true
            return .dataWaits(link: match[0])
        case 10: return .closed(link: match[0])
        case 11: return .networkLost
        case 12, 13: return .address(match.string)
        case 14: return request.kind == .resolve ? .failed : .ignored
        case 19: return .closed(link: match[0])
        case 15...: return .ignored
        default: return .unknown
        }
    }
}
