internal import SAL

extension ModemDriver {
    /// Fibocom's L610 and L716.
    public static var l610: ModemDriver { ModemDriver { L610() } }
}

/// Fibocom's L610 and L716. Data comes as hexadecimal digits by itself; the links are counted from 1.
final class L610: Cellular {
    /// The data connection has an address.
    private var isActive = false

    init() {
        var traits = ATTraits()
        traits.links = 1..<5
        (traits.sendBytes, traits.datagramBytes) = (1_024, 1_024)
        traits.opensByName = false
        super.init(traits)
    }

    override var isPassive: Bool { false }

    override func command(_ request: ATRequest) -> StaticString? {
        switch request.kind {
        case .open where request.step > 0: nil
        case .open: request.isDatagram ? "45*AT+MIPOPEN=#,,$,@,1" : "45*AT+MIPOPEN=#,,$,@,0"
        case .send: "30+AT+MIPSEND=#,%"
        case .close: "10!AT+MIPCLOSE=#"
        case .resolve: "60+AT+MIPDNS=$"
        case .poll: "5?AT+MIPOPEN?"
        default: nil
        }
    }

    override func connectionStep(_ step: Int, _ configuration: ModemConfiguration) -> StaticString? {
        switch step {
        case 0: "5!AT+GTSET=\"IPRFMT\",0"
        // This closes all sockets of an earlier run, too.
        case 1: "30?AT+MIPCALL=0"
        case 2: calling(configuration)
        case 3: "5!AT+MIPCALL?"
        default: nil
        }
    }

    private func calling(_ configuration: ModemConfiguration) -> StaticString {
        isActive = false
        return configuration.apn.isEmpty ? "60?+AT+MIPCALL=1" : "60?+AT+MIPCALL=1,&a"
    }

    override func connectionStepEnded(_ step: Int, _ error: ATError?, isOptional: Bool) -> ATOutcome {
        if step == 3, !isActive { return .failed(.noDataConnection) }
        return super.connectionStepEnded(step, error, isOptional: isOptional)
    }

    // MARK: Lines

    /// `+MIPRTCP: link,left,digits` and `+MIPRUDP: address,port,link,left,digits`; and the data of the buffered form.
    override func header(_ line: Span<UInt8>, isOver: Bool) -> ATHeader {
        let match = ATMatch(line, in: "+MIPRTCP:#,#,\n+MIPRUDP:%,#,#,#,\n+MIPDATA:#,#")
        switch match.index {
        case 0 where !isOver: return .digits(link: match[0], count: nil)
        case 1 where !isOver:
            return .digits(link: match[1], count: nil, sender: ATSender(address: match.string, port: match[0]))
        case 2 where isOver: return .payload(link: match[0], count: match[1])
        default: return .none
        }
    }

    private static let notices: StaticString = """
        +MIPOPEN:#,#
        +MIPSEND:#,#,#
        +MIPSEND:#,#
        +MIPCLOSE:#,0
        +MIPCLOSE:#*
        +MIPSTAT:#,#
        +MIPCALL:#.#.#.#
        +MIPCALL:1,%
        +MIPCALL:0
        +MIPDNS:%,%
        +MIPOPEN:*
        +MIP*
        """

    override func familyNotice(_ line: Span<UInt8>, during request: ATRequest) -> ATNotice {
        let match = ATMatch(line, in: Self.notices)
        switch match.index {
        case 0:
            return match[1] == 1 ? .opened(link: match[0]) : .openFailed(link: match[0], .error(.refused(code: 0)))
        case 1, 2:
            guard request.kind == .send, request.link == match[0] else { return .ignored }
            // Flowed off: nothing was taken.
            return match[1] == 0 ? .done : .accepted(0)
        case 3: return .ignored
        case 4, 5: return .closed(link: match[0])
        case 6, 7:
            isActive = true
            return request.kind == .attach && match.index == 6 ? .done : .ignored
        case 8: return .networkLost
        case 9: return .address(match.string)
        case 10: return request.kind == .poll ? .free(position: 9) : .ignored
        case 11...: return .ignored
        default: return .unknown
        }
    }
}
