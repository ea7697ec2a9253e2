internal import SAL

extension ModemDriver {
    /// ESP-AT, the firmware of Espressif's Wi-Fi modules, from 1.7 to 3.x.
    public static var espAT: ModemDriver { ModemDriver { ESPAT() } }
}

/// ESP-AT, the firmware of Espressif's modules: 1.7 on ESP8266, 2.0 to 3.2, and 3.3 and later.
final class ESPAT: ATDialect {
    let traits = ESPAT.makeTraits()
    private(set) var isPassive = false
    private var isOld = false
    /// Reception is set per link, which is so from 3.3 on.
    private var hasReceiveType = false
    /// Why the network could not be joined.
    private var joinError: ATError?
    /// The modem has no network yet, but looks for it by itself.
    private var isSearching = false

    private static func makeTraits() -> ATTraits {
        var traits = ATTraits()
        traits.links = 0..<5
        (traits.sendBytes, traits.datagramBytes, traits.readBytes) = (8_192, 8_192, 2_048)
        traits.terminator = "\r\n"
        traits.commandBytes = 256
        traits.hasEscapes = true
        (traits.escape, traits.hangUp, traits.reset, traits.bootTries) = ("+++", "", "AT+RST\r\n", 3)
        (traits.readsUntilEmpty, traits.refusesReadsOfClosedLinks) = (false, false)
        (traits.keepsClosedLinks, traits.repeatsRefusedSends, traits.framesLines) = (false, false, false)
        traits.hasMultiplexer = false
        return traits
    }

    // MARK: Commands

    func template(for request: ATRequest, _ configuration: ModemConfiguration) -> StaticString? {
        switch request.kind {
        case .attach: attachStep(request.step, configuration)
        case .open where request.step > 0: nil
        case .open: request.isDatagram ? "75!AT+CIPSTART=#,\"UDP\",$,@" : "75!AT+CIPSTART=#,\"TCP\",$,@"
        case .send: "10=AT+CIPSEND=#,%"
        case .read: "5!AT+CIPRECVDATA=#,%"
        case .close: "10!AT+CIPCLOSE=#"
        case .resolve: "15!AT+CIPDOMAIN=$"
        case .poll: "5!AT+CIPRECVLEN?"
        case .signal: "5!AT+CWJAP?"
        #if !hasFeature(Embedded)
        case .transparent: transparentStep(request.step)
        case .leave: leaveStep(request.step)
        #endif
        default: nil
        }
    }

    #if !hasFeature(Embedded)
    /// Passthrough mode: of one link, and not with passive reception.
    private func transparentStep(_ step: Int) -> StaticString? {
        switch step {
        case 0: hasReceiveType ? "5?AT+CIPRECVTYPE=5,0" : "5?AT+CIPRECVMODE=0"
        case 1: "5!AT+CIPMUX=0"
        case 2: "75!AT+CIPSTART=\"TCP\",$,@"
        case 3: "5!AT+CIPMODE=1"
        case 4: "5>AT+CIPSEND"
        default: nil
        }
    }

    private func leaveStep(_ step: Int) -> StaticString? {
        switch step {
        case 0: "5?AT+CIPMODE=0"
        case 1: "10?AT+CIPCLOSE"
        case 2: "5?AT+CIPMUX=1"
        case 3 where isPassive: hasReceiveType ? "5?AT+CIPRECVTYPE=5,1" : "5?AT+CIPRECVMODE=1"
        default: nil
        }
    }

    var transparency: ATTransparency? { ATTransparency(silenceBefore: 20, tellsEnd: false) }
    #endif

    private static let joinStep = 3
    private static let receptionStep = 8

    private func attachStep(_ step: Int, _ configuration: ModemConfiguration) -> StaticString? {
        switch step {
        case 0: return "2!ATE0"
        case 1: return "2?AT+GMR"
        case 2: return "5?AT+CWMODE=1"
        case Self.joinStep:
            (joinError, isSearching) = (nil, false)
            if configuration.accessPoint == nil { return "5!AT+CWJAP?" }
            return isOld ? "60!AT+CWJAP_CUR=&w,&k" : "60!AT+CWJAP=&w,&k"
        case 4: return "5?AT+CIPCLOSE=5"
        case 5: return "5?AT+CIPCLOSE"
        case 6: return "5!AT+CIPMUX=1"
        case 7: return "5?AT+CIPDINFO=0"
        case Self.receptionStep: return hasReceiveType ? "5?AT+CIPRECVTYPE=5,1" : "5?AT+CIPRECVMODE=1"
        default: return nil
        }
    }

    func attachStepEnded(_ step: Int, _ error: ATError?, isOptional: Bool) -> ATOutcome {
        if step == Self.receptionStep {
            // Without an answer nobody knows which it is.
            if error == .timedOut { return .failed(.timedOut) }
            isPassive = error == nil
        }
        // A modem that looks for its network by itself is asked every second.
        if step == Self.joinStep, isSearching { return .jump(to: 0, milliseconds: 1_000) }
        guard let error, !isOptional else { return .next }
        return .failed(joinError ?? error)
    }

    // MARK: Lines

    /// Pushed data: `+IPD,link,length:`, or with the peer's address behind the length. Data that was read:
    /// `+CIPRECVDATA:length,` from 2.0 on, `+CIPRECVDATA,length:` in 1.7.
    func header(_ line: Span<UInt8>, isOver: Bool) -> ATHeader {
        if isOver || line[line.count - 1] == UInt8(ascii: "\"") { return .none }
        let isColon = line[line.count - 1] == UInt8(ascii: ":")
        let match = ATMatch(line, in: Self.headers)
        switch match.index {
        case 0, 1: return .payload(link: match[0], count: match[1])
        case 2: return .none
        case 3: return isColon ? .malformed : .none
        case 4, 5: return .payload(link: ATHeader.ofRead, count: match[0])
        case 6: return line.count > 13 ? .malformed : .none
        default: return .none
        }
    }

    private static let headers: StaticString = """
        +IPD,#,#:
        +IPD,#,#,%,#:
        +IPD,#,#,*
        +IPD,*
        +CIPRECVDATA:#,
        +CIPRECVDATA,#:
        +CIPRECVDATA*
        """

    private static let notices: StaticString = """
        SEND OK
        SEND FAIL
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
        +CIPDOMAIN:%
        AT version:#.#*
        #,CONNECT
        #,CONNECT FAIL
        Recv # bytes
        WIFI *
        UNLINK
        """

    func notice(_ line: Span<UInt8>, during request: ATRequest) -> ATNotice {
        let match = ATMatch(line, in: Self.notices)
        switch match.index {
        case 0: return .done
        case 1: return .failed
        case 2: return .closed(link: match[0])
        case 3:
            // Only then it says so.
            isPassive = true
            return .dataWaits(link: match[0])
        case 4: return .restarted
        case 5: return .networkLost
        case 6: return .reason(.linkNotValid)
        case 7: return .reason(.alreadyConnected)
        case 8: return .reason(.error(.nameNotFound))
        case 9, 10:
            isSearching = true
            return .reason(.error(.noNetwork))
        case 11: return .lengths(position: match.position)
        case 12:
            joinError = .joinFailed(code: Int32(truncatingIfNeeded: match[0]))
            return .ignored
        case 13: return signal(line, match.position)
        case 14: return .address(match.string)
        case 15:
            isOld = match[0] < 2
            hasReceiveType = match[0] > 3 || match[0] == 3 && match[1] > 2
            // Who asks for it wants to see it.
            return request.kind == .user ? .unknown : .ignored
        case 16...: return .ignored
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
