internal import SAL

extension ModemDriver {
    /// SIMCom's SIM7600, A7600 and A7672.
    public static var sim7600: ModemDriver { ModemDriver { SIM7600() } }
}

/// SIMCom's SIM7600, A7600 and A7672.
final class SIM7600: Cellular {
    init() {
        var traits = ATTraits()
        traits.links = 0..<10
        (traits.sendBytes, traits.datagramBytes, traits.readBytes) = (1_500, 1_500, 1_500)
        traits.refusesReadsOfClosedLinks = false
        traits.bootTries = 46
        super.init(traits)
    }

    override func command(_ request: ATRequest) -> StaticString? {
        switch request.kind {
        case .open where request.step > 0: nil
        // Of datagrams the local port is given, and the peer with each.
        case .open: request.isDatagram ? "120*AT+CIPOPEN=#,\"UDP\",,,^" : "120*AT+CIPOPEN=#,\"TCP\",$,@"
        case .send: request.isDatagram ? "30+AT+CIPSEND=#,%,$,@" : "30+AT+CIPSEND=#,%"
        case .read: "5!AT+CIPRXGET=2,#,%"
        case .close: "10!AT+CIPCLOSE=#"
        case .resolve: "30+AT+CDNSGIP=$"
        case .poll: "5?AT+CIPCLOSE?"
        default: nil
        }
    }

    override var authenticationCommand: StaticString { "5?AT+CGAUTH=1,&t,&p,&u" }

    override func connectionStep(_ step: Int, _ configuration: ModemConfiguration) -> StaticString? {
        switch step {
        case 0: "5?AT+CSOCKSETPN=1"
        // This closes all sockets of an earlier run, too.
        case 1: "10?+AT+NETCLOSE"
        case 2: "5!AT+CIPRXGET=1"
        case 3: "120?+AT+NETOPEN"
        case 4: "5!AT+IPADDR"
        default: nil
        }
    }

    // MARK: Lines

    /// Data that was read; and pushed data, as an earlier run may have asked for: it does not say for which link.
    override func header(_ line: Span<UInt8>, isOver: Bool) -> ATHeader {
        guard isOver else { return .none }
        let match = ATMatch(line, in: "+CIPRXGET:2,#,#,#\n+IPD#")
        switch match.index {
        case 0: return .payload(link: ATHeader.ofRead, count: match[1])
        case 1: return .payload(link: ATHeader.ofNobody, count: match[0])
        default: return .none
        }
    }

    private static let notices: StaticString = """
        +CIPOPEN:#,#
        +CIPSEND:#,#,#
        +CIPRXGET:1,#
        +IPCLOSE:#,#
        +CIPEVENT:*
        +NETOPEN:#
        +NETCLOSE:#
        +CDNSGIP:1,%,%*
        +CDNSGIP:0*
        +CIPCLOSE:#,#,#,*
        +IP ERROR:No data*
        +CIPERROR:#
        +CIP*
        +IP*
        RECV FROM*
        SMS DONE
        PB DONE
        """

    override func familyNotice(_ line: Span<UInt8>, during request: ATRequest) -> ATNotice {
        let match = ATMatch(line, in: Self.notices)
        switch match.index {
        case 0: return match[1] == 0 ? .opened(link: match[0]) : .openFailed(link: match[0], Self.reason(match[1]))
        case 1: return request.kind == .send && request.link == match[0] ? .accepted(match[2]) : .ignored
        case 2: return .dataWaits(link: match[0])
        case 3: return .closed(link: match[0])
        case 4: return .networkLost
        case 5, 6:
            guard request.kind == .attach else { return .ignored }
            return match[0] == 0 ? .done : .failed
        case 7: return .address(match.string)
        case 8: return request.kind == .resolve ? .failed : .ignored
        case 9: return request.kind == .poll ? .states(position: 10) : .ignored
        case 10: return .reason(.nothingWaits)
        case 11: return .reason(Self.reason(match[0]))
        case 12...: return .ignored
        default: return .unknown
        }
    }

    /// Why an opening failed, in SIMCom's own numbers.
    private static func reason(_ number: Int) -> ATReason {
        let code = Int32(truncatingIfNeeded: number)
        switch number {
        case 2: return .error(.noNetwork)
        // Or another program has the local port.
        case 6, 9: return .alreadyConnected
        case 10: return .error(.timedOut)
        case 11: return .error(.nameNotFound)
        case 1: return .error(.refused(code: code))
        default: return .error(.other(code: code))
        }
    }
}
