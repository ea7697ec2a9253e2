internal import SAL

extension ModemDriver {
    /// Quectel's EC2x, EG9x and BG9x.
    public static var quectel: ModemDriver { ModemDriver { Quectel() } }
}

/// Quectel's EC2x, EG9x and BG9x, in the buffer access mode.
class Quectel: Cellular {
    init() {
        var traits = ATTraits()
        traits.links = 0..<12
        traits.readBytes = 1_500
        traits.repeatsFailedSends = true
        traits.pollsEachLink = true
        super.init(traits)
    }

    override init(_ traits: ATTraits) { super.init(traits) }

    override func command(_ request: ATRequest) -> StaticString? {
        switch request.kind {
        // The number may still be taken, by an earlier run or by an opening that has failed.
        case .open where request.step == 0: "10?AT+QICLOSE=#"
        case .open where request.step == 1:
            request.isDatagram ? "150*AT+QIOPEN=1,#,\"UDP\",$,@,0,0" : "150*AT+QIOPEN=1,#,\"TCP\",$,@,0,0"
        case .send: "30=AT+QISEND=#,%"
        case .read: "5!AT+QIRD=#,%"
        case .close: "15!AT+QICLOSE=#"
        case .resolve: resolving()
        case .poll: "5?AT+QISTATE=1,#"
        #if !hasFeature(Embedded)
        case .transparent where request.step == 0: "10?AT+QICLOSE=0"
        case .transparent where request.step == 1: "150=AT+QIOPEN=1,0,\"TCP\",$,@,0,2"
        case .leave where request.step == 0: "15?AT+QICLOSE=0"
        #endif
        default: nil
        }
    }

    override func connectionStep(_ step: Int, _ configuration: ModemConfiguration) -> StaticString? {
        switch step {
        // This closes all sockets of an earlier run, too.
        case 0: "40?AT+QIDEACT=1"
        case 1: "5?AT+QICSGP=1,1,&a,&u,&p,&t"
        case 2: "5?AT+QISDE=0"
        case 3: "150?AT+QIACT=1"
        case 4: activeContext()
        default: nil
        }
    }

    // MARK: State of a command

    /// An address was shown, so that the context is active.
    private var isActive = false
    /// The answer to the resolving in flight has begun: earlier addresses are those of another name.
    private var hasResolved = false

    private func resolving() -> StaticString {
        hasResolved = false
        return "60+AT+QIDNSGIP=1,$"
    }

    private func activeContext() -> StaticString {
        isActive = false
        return "5!AT+QIACT?"
    }

    override func connectionStepEnded(_ step: Int, _ error: ATError?, isOptional: Bool) -> ATOutcome {
        if step == 4, !isActive { return .failed(.noDataConnection) }
        return super.connectionStepEnded(step, error, isOptional: isOptional)
    }

    // MARK: Lines

    private static let headers: StaticString = """
        +QIRD:#
        +QIRD:#,%,#
        +QIURC:"recv",#,#
        +QIURC:"recv",#,#,%,#
        """

    /// Data that was read, or pushed; it begins on the next line.
    override func header(_ line: Span<UInt8>, isOver: Bool) -> ATHeader {
        guard isOver else { return .none }
        let match = ATMatch(line, in: Self.headers)
        switch match.index {
        case 0, 1: return .payload(link: ATHeader.ofRead, count: match[0])
        case 2, 3: return .payload(link: match[0], count: match[1])
        default: return .none
        }
    }

    private static let notices: StaticString = """
        SEND OK
        SEND FAIL
        +QIOPEN:#,#
        +QIURC:"recv",#
        +QIURC:"closed",#
        +QIURC:"pdpdeact",#
        +QIURC:"dnsgip",#*
        +QIURC:"dnsgip",%
        +QIACT:1,1,#,%
        CLOSE OK
        +QISTATE:#,%,%,#,#,#,*
        +QI*
        +QUSIM:#
        APP RDY
        NO CARRIER
        CONNECT
        CONNECT #
        """

    #if !hasFeature(Embedded)
    override var transparency: ATTransparency? { ATTransparency() }
    #endif

    override func familyNotice(_ line: Span<UInt8>, during request: ATRequest) -> ATNotice {
        let match = ATMatch(line, in: Self.notices)
        switch match.index {
        case 0: return .done
        case 1: return .failed
        case 2:
            return match[1] == 0 ? .opened(link: match[0]) : .openFailed(link: match[0], Self.reason(match[1]))
        case 3: return .dataWaits(link: match[0])
        case 4: return .closed(link: match[0])
        case 5: return .networkLost
        case 6:
            // An error, or 0 with the number of addresses, which follow.
            guard request.kind == .resolve else { return .ignored }
            hasResolved = match[0] == 0
            return hasResolved ? .ignored : .failed
        case 7: return hasResolved ? .address(match.string) : .ignored
        case 8:
            isActive = true
            return .ignored
        // 4 is closing.
        case 10: return match[3] == 4 ? .closed(link: match[0]) : .ignored
        case 15, 16: return request.kind == .transparent ? .done : .unknown
        case 9...: return .ignored
        default: return .unknown
        }
    }

    /// Why an opening failed, in Quectel's own numbers.
    private static func reason(_ number: Int) -> ATReason {
        let code = Int32(truncatingIfNeeded: number)
        switch number {
        case 563: return .alreadyConnected
        case 561, 570: return .error(.noNetwork)
        case 564, 565: return .error(.nameNotFound)
        case 566: return .error(.refused(code: code))
        case 569: return .error(.timedOut)
        default: return .error(.other(code: code))
        }
    }
}
