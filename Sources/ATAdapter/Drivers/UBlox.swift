internal import SAL

extension ModemDriver {
    /// u-blox's SARA G3, U2, R4, R5 and N3.
    public static var ublox: ModemDriver { ModemDriver { UBlox() } }
}

/// u-blox's SARA G3, U2, R4, R5 and N3.
final class UBlox: Cellular {
    init() {
        var traits = ATTraits()
        traits.links = 0..<7
        traits.choosesLinks = true
        (traits.sendBytes, traits.datagramBytes, traits.readBytes) = (1_024, 1_024, 1_024)
        traits.prompt = UInt8(ascii: "@")
        (traits.promptPause, traits.resultPause) = (50, 20)
        traits.forgetsNotices = true
        traits.opensByName = false
        super.init(traits)
    }

    override func command(_ request: ATRequest) -> StaticString? {
        switch (request.kind, request.step, request.isDatagram) {
        case (.open, 0, false): "10!AT+USOCR=6"
        case (.open, 0, true): "10!AT+USOCR=17"
        case (.open, 1, false): "130!AT+USOCO=#,$,@"
        case (.send, _, false): "30!AT+USOWR=#,%"
        case (.send, _, true): "30!AT+USOST=#,$,@,%"
        case (.read, _, false): "5!AT+USORD=#,%"
        case (.read, _, true): "5!AT+USORF=#,%"
        case (.close, _, _): "40!AT+USOCL=#"
        case (.resolve, _, _): "70!AT+UDNSRN=0,$"
        default: nil
        }
    }

    override func connectionStep(_ step: Int, _ configuration: ModemConfiguration) -> StaticString? {
        switch step {
        // Of 2G and 3G devices; the others have no such commands, and need none.
        case 0: configuration.apn.isEmpty ? "" : "5?AT+UPSD=0,1,&a"
        case 1: configuration.user.isEmpty ? "" : "5?AT+UPSD=0,2,&u"
        case 2: configuration.user.isEmpty ? "" : "5?AT+UPSD=0,3,&p"
        case 3: configuration.user.isEmpty ? "" : "5?AT+UPSD=0,6,&t"
        case 4: "150?AT+UPSDA=0,3"
        case 5: "5?AT+UDCONF=1,0"
        // Sockets of an earlier run.
        case 6: "40?AT+USOCL=0"
        case 7: "40?AT+USOCL=1"
        case 8: "40?AT+USOCL=2"
        case 9: "40?AT+USOCL=3"
        case 10: "40?AT+USOCL=4"
        case 11: "40?AT+USOCL=5"
        case 12: "40?AT+USOCL=6"
        default: nil
        }
    }

    // MARK: Lines

    private static let headers: StaticString = """
        +USORD:#,#,"
        +USORF:#,%,#,#,"
        """

    /// Data that was read, between quotes that are not escaped.
    override func header(_ line: Span<UInt8>, isOver: Bool) -> ATHeader {
        if isOver || line[line.count - 1] != UInt8(ascii: "\"") { return .none }
        let match = ATMatch(line, in: Self.headers)
        switch match.index {
        case 0: return .payload(link: ATHeader.ofRead, count: match[1])
        case 1:
            return .payload(
                link: ATHeader.ofRead,
                count: match[2],
                sender: ATSender(address: match.string, port: match[1])
            )
        default: return .none
        }
    }

    private static let notices: StaticString = """
        +USOCR:#
        +USOWR:#,#
        +USOST:#,#
        +UUSORD:#,#
        +UUSORF:#,#
        +UUSOCL:#
        +UUPSDD:#
        +UDNSRN:%
        +USO*
        +UUPSDA:*
        +UUSOCO:*
        +CIEV:*
        """

    override func familyNotice(_ line: Span<UInt8>, during request: ATRequest) -> ATNotice {
        let match = ATMatch(line, in: Self.notices)
        switch match.index {
        case 0: return .link(match[0])
        case 1, 2: return request.kind == .send && request.link == match[0] ? .accepted(match[1]) : .ignored
        case 3, 4: return .dataWaits(link: match[0])
        case 5: return .closed(link: match[0])
        case 6: return .networkLost
        case 7: return .address(match.string)
        case 8...: return .ignored
        default: return .unknown
        }
    }
}
