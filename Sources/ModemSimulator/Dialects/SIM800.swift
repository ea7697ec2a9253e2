/// SIMCom SIM800 and SIM900: a state machine of the data context, and results that replace `OK`.
class SIM800: CellularModem {
    /// The state that `AT+CIPSTATUS` names, as far as the links do not tell it.
    private enum State: String {
        case initial = "IP INITIAL"
        case start = "IP START"
        case active = "IP GPRSACT"
        case status = "IP STATUS"
        case deactivated = "PDP DEACT"
    }

    private var state = State.initial
    private var hasManyLinks = false
    private var quickSend = false
    private var isManual = false
    private var hasHead = false
    private let maximumData = 1_460

    override var identity: Identity {
        Identity(maker: "SIMCOM_Ltd", model: "SIMCOM_SIM800", revision: "1418B05SIM800L24")
    }
    override var defaultErrorMode: Int { 0 }
    override var maximumLine: Int { 556 }
    override var accessTechnology: Int { 0 }
    override var registrationCommands: [String] { ["+CREG", "+CGREG"] }
    override var banner: [String] { ["RDY", "+CFUN: 1", "+CPIN: READY", "Call Ready", "SMS Ready"] }

    override func needsSIM(_ command: ATCommand) -> Bool { command.name == "+CIICR" || command.name == "+CIPSTART" }

    override func executeOwn(_ command: ATCommand) -> Bool {
        switch (command.name, command.form) {
        case ("+CIPSHUT", .action):
            deactivate()
            state = .initial
            endSaying("SHUT OK")
        case ("+CIPMUX", .read): answer("+CIPMUX: \(hasManyLinks ? 1 : 0)")
        case ("+CIPMUX", .set): state == .initial ? setNumber(command, 0...1) { hasManyLinks = $0 == 1 } : error(3)
        case ("+CIPQSEND", .set): setNumber(command, 0...1) { quickSend = $0 == 1 }
        case ("+CIPHEAD", .set): setNumber(command, 0...1) { hasHead = $0 == 1 }
        case ("+CSTT", .set), ("+CSTT", .action): advance(from: .initial, to: .start)
        case ("+CIICR", .action): isAttached ? advance(from: .start, to: .active) : error(30)
        case ("+CIFSR", .action):
            guard state == .active || state == .status else {
                error(3)
                break
            }
            state = .status
            inform(Self.address)
            endWithoutResult()
        case ("+CIPSTART", .set): openLink(command)
        case ("+CIPSEND", .set), ("+CIPSEND", .action): send(command)
        case ("+CIPSEND", .read):
            let rooms = sockets.used.filter { sockets[$0]?.isOpen == true }.map { (link: $0, room: room($0)) }
            for (link, room) in rooms { inform("+CIPSEND: \(hasManyLinks ? "\(link)," : "")\(room)") }
            ok()
        case ("+CIPACK", .set), ("+CIPACK", .action): acknowledge(command)
        case ("+CIPRXGET", .set): executeReception(command)
        case ("+CIPCLOSE", .set), ("+CIPCLOSE", .action): closeByHost(command)
        case ("+CIPSTATUS", .set), ("+CIPSTATUS", .action): answerStatus(command)
        case ("+CDNSGIP", .set): resolve(command)
        default: return false
        }
        return true
    }

    /// Ends a command with a line instead of `OK`.
    private func endSaying(_ line: String) { end(line, isSuccess: true) }

    private func advance(from old: State, to new: State) {
        guard state == old else { return error(3) }
        state = new
        isContextActive = new == .active
        ok()
    }

    override func noticeContextLoss() {
        state = .deactivated
        notice("+PDP: DEACT")
    }

    private func resolve(_ command: ATCommand) {
        guard let host = command.text(0), isContextActive else { return error(3) }
        ok()
        worker.resolve(host) { [self] addresses in
            let texts = addresses.prefix(2).map { "\"\(Peer(address: $0, port: 0).host)\"" }
            notice(texts.isEmpty ? "+CDNSGIP: 0,8" : "+CDNSGIP: 1,\"\(host)\",\(texts.joined(separator: ","))")
        }
    }

    // MARK: Links

    /// `0, ` in front of what concerns a link, if there may be several.
    private func prefix(_ link: Int) -> String { hasManyLinks ? "\(link), " : "" }

    /// The link that a command names, and its other parameters.
    private func split(_ command: ATCommand) -> (link: Int, rest: [String])? {
        guard hasManyLinks else { return (0, command.parameters) }
        guard let link = command.number(0), sockets.links.indices.contains(link) else { return nil }
        return (link, Array(command.parameters.dropFirst()))
    }

    /// `[link,]type,host,port`.
    private func openLink(_ command: ATCommand) {
        guard let (link, rest) = split(command), rest.count >= 3, let port = UInt16(rest[2]),
            rest[0] == "TCP" || rest[0] == "UDP"
        else { return error(3) }
        guard state == .status else { return error(3) }
        ok()
        // A link that the peer has closed makes room for a new one.
        guard sockets[link].map(\.hasEnded) ?? true else { return notice("\(prefix(link))ALREADY CONNECT") }
        sockets.close(link)
        guard hasRoomForLink else { return failToOpen(link) }
        worker.resolve(rest[1]) { [self] addresses in
            guard let address = addresses.first else { return failToOpen(link) }
            let host = Peer(address: address, port: port).host
            open(link, isStream: rest[0] == "TCP", to: host, port: port) { [self] isOpen in
                isOpen ? notice("\(prefix(link))CONNECT OK") : failToOpen(link)
            }
        }
    }

    private func failToOpen(_ link: Int) {
        sockets.close(link)
        if !hasManyLinks { notice("STATE: TCP CLOSED") }
        notice("\(prefix(link))CONNECT FAIL")
    }

    private func closeByHost(_ command: ATCommand) {
        guard let (link, _) = split(command), let state = sockets[link], !state.hasEnded else { return error(3) }
        sockets.close(link)
        endSaying("\(prefix(link))CLOSE OK")
    }

    override func linkEnded(_ link: Int) { noticeEnd(link, "\r\n\(prefix(link))CLOSED\r\n") }

    private func describe(_ link: Int) -> String {
        guard let state = sockets[link], let peer = state.peer else { return "C: \(link),,\"\",\"\",\"\",\"INITIAL\"" }
        let name = state.isOpen ? "CONNECTED" : state.hasEnded ? "CLOSED" : "CONNECTING"
        return "C: \(link),0,\"\(state.kind)\",\"\(peer.host)\",\"\(peer.port)\",\"\(name)\""
    }

    private func answerStatus(_ command: ATCommand) {
        if let link = command.number(0) {
            return sockets.links.indices.contains(link)
                ? answer("+CIPSTATUS: " + describe(link).dropFirst(3)) : error(3)
        }
        ok()
        guard hasManyLinks else { return notice("STATE: \(singleState)") }
        notice("STATE: \(sockets.used.isEmpty ? state.rawValue : "IP PROCESSING")")
        for link in sockets.links.indices { notice(describe(link)) }
    }

    private var singleState: String {
        guard let link = sockets[0] else { return state.rawValue }
        let kind = link.kind
        return link.isOpen ? "CONNECT OK" : link.hasEnded ? "\(kind) CLOSED" : "\(kind) CONNECTING"
    }

    // MARK: Data

    private func room(_ link: Int) -> Int { min(maximumData, sockets.room(link)) }

    private func send(_ command: ATCommand) {
        guard let (link, rest) = split(command), let count = rest.first.flatMap({ Int($0) }),
            sockets[link]?.isOpen == true, count > 0, count <= room(link)
        else { return error(3) }
        prompt("\r\n> ", for: link, count: count) { [self] payload in
            if echo { put(payload) }
            insertNotices()
            switch take(payload, on: link, inParts: quickSend) {
            case .bytes(let count):
                endSaying(
                    quickSend ? "DATA ACCEPT:\(hasManyLinks ? "\(link)," : "")\(count)" : "\(prefix(link))SEND OK"
                )
            case .nothing, .gone: end("\(prefix(link))SEND FAIL")
            }
        }
    }

    private func acknowledge(_ command: ATCommand) {
        guard let (link, _) = split(command), let state = sockets[link] else { return error(3) }
        answer("+CIPACK: \(state.bytesSent),\(state.bytesSent - state.outgoing.count),\(state.outgoing.count)")
    }

    /// `mode` alone sets how data is received; with a link it reads (2, hexadecimal 3) or asks how much waits (4).
    private func executeReception(_ command: ATCommand) {
        if command.parameters.count == 1, let mode = command.number(0), 0...1 ~= mode {
            guard sockets.used.isEmpty else { return error(3) }
            isManual = mode == 1
            return ok()
        }
        guard isManual, let mode = command.number(0), let (link, rest) = split(command.withoutFirst),
            let state = sockets[link]
        else { return error(3) }
        let name = "+CIPRXGET: \(mode)" + (hasManyLinks ? ",\(link)" : "")
        switch mode {
        case 4: answer("\(name),\(state.buffer.count)")
        case 2, 3:
            guard let count = rest.first.flatMap({ Int($0) }), 1...(mode == 2 ? maximumData : maximumData / 2) ~= count
            else { return error(3) }
            let (bytes, _) = sockets.read(link, count)
            let head = "\(name),\(announced(bytes.count)),\(sockets[link]?.buffer.count ?? 0)"
            bytes.isEmpty ? inform(head) : inform(head, data: mode == 2 ? bytes : Array(Hex.text(bytes).utf8))
            ok()
        default: error(3)
        }
    }

    override func dataWaits(_ link: Int) {
        guard !isManual else { return noticeData(link, "\r\n+CIPRXGET: 1\(hasManyLinks ? ",\(link)" : "")\r\n") }
        while sockets[link]?.readable ?? 0 > 0 {
            let (bytes, _) = sockets.read(link, maximumData)
            let count = announced(bytes.count)
            let head = hasManyLinks ? "\r\n+RECEIVE,\(link),\(count):\r\n" : hasHead ? "\r\n+IPD,\(count):" : ""
            put(Array(head.utf8) + bytes)
        }
    }
}
