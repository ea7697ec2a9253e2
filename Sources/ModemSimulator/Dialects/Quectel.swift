/// Quectel EC20, EC200, EG91, BG96: numbered sockets with buffers, or with pushed data; all notices are called `+QIURC`.
class Quectel: CellularModem {
    /// How data is received on a socket, as `AT+QIOPEN` names it.
    private enum Access { static let buffer = 0, push = 1, transparent = 2 }

    /// The reasons of `AT+QIGETERROR`.
    enum Reason: Int {
        case success = 0
        case invalidParameters = 552
        case socketFailed = 554
        case notSupported = 555
        case contextFailed = 561
        case alreadyUsed = 563
        case nameUnknown = 565
        case connectFailed = 566
        case socketClosed = 567
        case notAllowed = 572

        var text: String {
            switch self {
            case .success: "operate successfully"
            case .invalidParameters: "invalid parameters"
            case .socketFailed: "create socket failed"
            case .notSupported: "operation not supported"
            case .contextFailed: "open PDP context failed"
            case .alreadyUsed: "socket identity has been used"
            case .nameUnknown: "DNS parse failed"
            case .connectFailed: "socket connect failed"
            case .socketClosed: "socket has been closed"
            case .notAllowed: "operation not allowed"
            }
        }
    }

    private var lastReason = Reason.success
    private var apn = "\"\",\"\",\"\",0"
    private var echoesPayload = true

    override var identity: Identity { Identity(maker: "Quectel", model: "EC20F", revision: "EC20CEFASGR06A01M4G") }
    override var banner: [String] {
        ["RDY", "+CFUN: 1", "+CPIN: READY", "+QUSIM: 1", "+QIND: SMS DONE", "+QIND: PB DONE"]
    }
    override var idleNotices: [String] { super.idleNotices + ["\r\n+QIND: \"csq\",23,99\r\n"] }

    override func needsSIM(_ command: ATCommand) -> Bool {
        ["+QIACT", "+QIOPEN", "+QIDNSGIP"].contains(command.name) && command.form == .set
    }

    /// The most bytes of one send, and of one read.
    var maximumSend: Int { 1_460 }
    private let maximumRead = 1_500
    var promptText: String { "\r\n> " }
    /// Lines between a payload and its result.
    var linesBeforeSendResult: [String] { [] }
    /// Lines behind the `OK` of a close.
    var linesAfterClose: [String] { [] }
    /// Whether data is carried as hexadecimal digits.
    var carriesHex: Bool { false }

    override func executeOwn(_ command: ATCommand) -> Bool {
        switch (command.name, command.form) {
        case ("+QICSGP", .set) where command.parameters.count == 1: answer("+QICSGP: 1,\(apn)")
        case ("+QICSGP", .set):
            apn = command.parameters.dropFirst(2).map { Int($0) == nil ? "\"\($0)\"" : $0 }.joined(separator: ",")
            ok()
        case ("+QIACT", .read): isContextActive ? answer("+QIACT: 1,1,1,\"\(Self.address)\"") : ok()
        case ("+QIACT", .set): activate(command)
        case ("+QIDEACT", .set):
            deactivate()
            ok()
        default: return executeSocket(command)
        }
        return true
    }

    /// The commands that sister families without an activation have too.
    func executeSocket(_ command: ATCommand) -> Bool {
        switch (command.name, command.form) {
        case ("+QIDNSGIP", .set): resolve(command)
        case ("+QIOPEN", .set): openSocket(command)
        case ("+QICLOSE", .set): closeSocket(command)
        case ("+QISEND", .set): send(command)
        case ("+QISENDEX", .set): sendHex(command)
        case ("+QIRD", .set): read(command)
        case ("+QISTATE", .read): answerStates(sockets.used)
        case ("+QISTATE", .set): answerStates(command.number(0) == 1 ? [command.number(1) ?? -1] : sockets.used)
        case ("+QIGETERROR", .action): answer("+QIGETERROR: \(lastReason.rawValue),\(lastReason.text)")
        case ("+QISDE", .set): setNumber(command, 0...1) { echoesPayload = $0 == 1 }
        case ("+QICFG", .set): ok()
        case ("+QSCLK", .set): setNumber(command, 0...2) { worker.setSleep($0 > 0) }
        case ("+QPOWD", _):
            ok()
            notice("POWERED DOWN")
            deactivate()
            worker.powerOff()
        default: return false
        }
        return true
    }

    /// The commands of sockets say just `ERROR`; the reason is asked for.
    func fail(_ reason: Reason) {
        lastReason = reason
        error()
    }

    // MARK: Context and names

    private func activate(_ command: ATCommand) {
        guard command.number(0) == 1 else { return fail(.invalidParameters) }
        guard isAttached else { return fail(.contextFailed) }
        guard !isContextActive else { return fail(.notAllowed) }
        isContextActive = true
        ok()
    }

    override func noticeContextLoss() { notice("+QIURC: \"pdpdeact\",1") }

    private func resolve(_ command: ATCommand) {
        guard let host = command.text(1) else { return fail(.invalidParameters) }
        guard isContextActive else { return fail(.contextFailed) }
        ok()
        worker.resolve(host) { [self] addresses in
            guard !addresses.isEmpty else { return notice("+QIURC: \"dnsgip\",\(Reason.nameUnknown.rawValue)") }
            notice("+QIURC: \"dnsgip\",0,\(addresses.count),600")
            for address in addresses { notice("+QIURC: \"dnsgip\",\"\(Peer(address: address, port: 0).host)\"") }
        }
    }

    // MARK: Sockets

    /// `context,id,type,host,port[,local port[,access]]`.
    private func openSocket(_ command: ATCommand) {
        let types = ["TCP", "UDP", "UDP SERVICE"]
        guard let id = command.number(1), sockets.links.indices.contains(id), let type = command.text(2),
            let host = command.text(3), let port = UInt16(command.text(4) ?? "0"),
            let localPort = UInt16(command.text(5) ?? "0"), port > 0 || type == "UDP SERVICE"
        else { return fail(.invalidParameters) }
        let access = command.number(6) ?? Access.buffer
        guard types.contains(type), 0...(hasDataMode ? 2 : 1) ~= access else { return fail(.notSupported) }
        guard isContextActive else { return fail(.contextFailed) }
        if access == Access.transparent { return openTransparent(id, type, host, port) }
        ok()
        guard sockets[id] == nil else { return tellOpen(id, .alreadyUsed) }
        guard hasRoomForLink else { return tellOpen(id, .socketFailed) }
        if type == "UDP SERVICE" { return open(id, type, nil, port, localPort, access) }
        worker.resolve(host) { [self] addresses in
            guard let address = addresses.first else { return tellOpen(id, .nameUnknown) }
            open(id, type, Peer(address: address, port: port).host, port, localPort, access)
        }
    }

    private func open(_ id: Int, _ type: String, _ host: String?, _ port: UInt16, _ localPort: UInt16, _ access: Int) {
        open(id, isStream: type == "TCP", to: host, port: port, localPort: localPort) { [self] isOpen in
            // A socket that failed keeps its number until it is closed.
            tellOpen(id, isOpen ? .success : .connectFailed)
        }
        sockets[id]?.accessMode = access
    }

    /// Whether a link can have the line to itself.
    var hasDataMode: Bool { true }

    /// The one link whose data the line carries.
    private func openTransparent(_ id: Int, _ type: String, _ host: String, _ port: UInt16) {
        guard type == "TCP", sockets.used.isEmpty else { return fail(.notAllowed) }
        worker.resolve(host) { [self] addresses in
            guard let address = addresses.first else { return fail(.nameUnknown) }
            open(id, isStream: true, to: Peer(address: address, port: port).host, port: port) { [self] isOpen in
                guard isOpen else {
                    sockets.close(id)
                    return fail(.connectFailed)
                }
                finish(Array("\r\nCONNECT\r\n".utf8))
                beginData(id, silenceMilliseconds: 900)
            }
        }
    }

    private func tellOpen(_ id: Int, _ reason: Reason) {
        lastReason = reason
        notice("+QIOPEN: \(id),\(reason.rawValue)")
    }

    private func closeSocket(_ command: ATCommand) {
        guard let id = command.number(0), sockets.links.indices.contains(id) else { return fail(.invalidParameters) }
        sockets.close(id)
        ok()
        for line in linesAfterClose { notice(line) }
    }

    private func answerStates(_ ids: [Int]) {
        for id in ids {
            guard let link = sockets[id] else { continue }
            let state =
                switch link.state {
                case .created: 0
                case .opening: 1
                case .open: 2
                case .ended: 4
                }
            inform(
                "+QISTATE: \(id),\"\(link.kind)\",\"\(link.peer?.host ?? "127.0.0.1")\",\(link.peer?.port ?? 0),"
                    + "\(link.localPort),\(state),1,0,\(link.accessMode),\"uart1\""
            )
        }
        ok()
    }

    // MARK: Data

    /// `id,length[,host,port]`; a length of 0 asks what became of the bytes sent so far.
    private func send(_ command: ATCommand) {
        guard let id = command.number(0), let count = command.number(1), 0...maximumSend ~= count
        else { return fail(.invalidParameters) }
        guard let link = sockets[id], link.isOpen else { return fail(.socketClosed) }
        if count == 0 {
            return answer("+QISEND: \(link.bytesSent),\(link.bytesSent - link.outgoing.count),\(link.outgoing.count)")
        }
        var peer: Peer?
        if !link.isStream, link.peer == nil {
            guard let host = command.text(2), let port = command.text(3).flatMap(UInt16.init),
                let numeric = Peer(numeric: host, port: port)
            else { return fail(.invalidParameters) }
            peer = numeric
        }
        prompt(promptText, for: id, count: carriesHex ? 2 * count : count) { [self] payload in
            if echo, echoesPayload { put(payload) }
            guard let bytes = carriesHex ? Hex.bytes(String(decoding: payload, as: UTF8.self)) : payload
            else { return fail(.invalidParameters) }
            for line in linesBeforeSendResult { inform(line) }
            insertNotices()
            endSend(take(bytes, on: id, to: peer))
        }
    }

    private func sendHex(_ command: ATCommand) {
        guard let id = command.number(0), let bytes = command.text(1).flatMap(Hex.bytes), 1...512 ~= bytes.count
        else { return fail(.invalidParameters) }
        endSend(take(bytes, on: id))
    }

    private func endSend(_ taken: Taken) {
        switch taken {
        case .bytes: end("SEND OK", isSuccess: true)
        case .nothing: end("SEND FAIL")
        case .gone: fail(.socketClosed)
        }
    }

    /// `id,length`; a length of 0 asks how much waits.
    private func read(_ command: ATCommand) {
        guard let id = command.number(0), let count = command.number(1), 0...maximumRead ~= count
        else { return fail(.invalidParameters) }
        guard let link = sockets[id] else { return fail(.socketClosed) }
        guard link.accessMode == Access.buffer else { return fail(.notAllowed) }
        if count == 0 {
            return answer("+QIRD: \(link.bytesRead + link.buffer.count),\(link.bytesRead),\(link.buffer.count)")
        }
        guard !link.buffer.isEmpty else { return answer("+QIRD: 0") }
        let (bytes, sender) = sockets.read(id, count)
        inform("+QIRD: \(announced(bytes.count))\(suffix(link, sender))", data: bytes + [13, 10])
        ok()
    }

    /// The sender, where datagrams can come from anybody.
    private func suffix(_ link: Link, _ sender: Peer?) -> String {
        guard link.peer == nil, let sender else { return "" }
        return ",\"\(sender.host)\",\(sender.port)"
    }

    override func dataWaits(_ link: Int) {
        guard sockets[link]?.accessMode == Access.push else {
            return noticeData(link, "\r\n+QIURC: \"recv\",\(link)\r\n")
        }
        while let state = sockets[link], state.readable > 0 {
            let (bytes, sender) = sockets.read(link, maximumRead)
            let head = "+QIURC: \"recv\",\(link),\(announced(bytes.count))\(suffix(state, sender))"
            if carriesHex {
                notice("\(head),\"\(Hex.text(bytes))\"")
            } else {
                put(Array("\r\n\(head)\r\n".utf8) + bytes + [13, 10])
            }
        }
    }

    override func linkEnded(_ link: Int) { noticeEnd(link, "\r\n+QIURC: \"closed\",\(link)\r\n") }
}
