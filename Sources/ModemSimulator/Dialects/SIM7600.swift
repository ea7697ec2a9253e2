/// SIMCom SIM7600, A7600, A7672: a network that is opened and closed, ten links, and results that come behind `OK`.
final class SIM7600: CellularModem {
    /// The codes of `+CIPOPEN`, `+CIPERROR` and others.
    private enum Code {
        static let success = 0, networkFailure = 1, networkNotOpened = 2, wrongParameter = 3, notSupported = 4
        static let alreadyOpened = 9, nameUnknown = 11
    }

    private var isManual = false
    private let maximumData = 1_500

    override var identity: Identity {
        Identity(maker: "SIMCOM INCORPORATED", model: "SIMCOM_SIM7600E-H", revision: "LE20B04SIM7600M22")
    }
    override var banner: [String] { ["RDY", "+CPIN: READY", "SMS DONE", "PB DONE"] }

    override func needsSIM(_ command: ATCommand) -> Bool { command.name == "+NETOPEN" && command.form == .action }

    override func executeOwn(_ command: ATCommand) -> Bool {
        switch (command.name, command.form) {
        case ("+CSOCKSETPN", .set): setNumber(command, 1...16) { _ in }
        case ("+NETOPEN", .read): answer("+NETOPEN: \(isContextActive ? 1 : 0)")
        case ("+NETOPEN", .action): openNetwork()
        case ("+NETCLOSE", .action): closeNetwork()
        case ("+IPADDR", .action):
            isContextActive ? answer("+IPADDR: \(Self.address)") : fail("+IP ERROR: Network not opened")
        case ("+CDNSGIP", .set): resolve(command)
        case ("+CIPOPEN", .read):
            for number in sockets.links.indices { inform(describe(number)) }
            ok()
        case ("+CIPOPEN", .set): openLink(command)
        case ("+CIPCLOSE", .read):
            answer("+CIPCLOSE: " + sockets.links.map { $0?.isOpen == true ? "1" : "0" }.joined(separator: ","))
        case ("+CIPCLOSE", .set): closeByHost(command)
        case ("+CIPSEND", .set): send(command)
        case ("+CIPRXGET", .set): executeReception(command)
        default: return false
        }
        return true
    }

    /// A line that says why, and `ERROR`.
    private func fail(_ line: String) {
        inform(line)
        error()
    }

    // MARK: Network

    private func openNetwork() {
        guard !isContextActive else { return fail("+IP ERROR: Network is already opened") }
        ok()
        isContextActive = isAttached
        notice("+NETOPEN: \(isContextActive ? Code.success : Code.networkFailure)")
    }

    private func closeNetwork() {
        guard isContextActive else { return fail("+NETCLOSE: \(Code.networkNotOpened)") }
        deactivate()
        ok()
        notice("+NETCLOSE: \(Code.success)")
    }

    override func noticeContextLoss() { notice("+CIPEVENT: NETWORK CLOSED UNEXPECTEDLY") }

    private func resolve(_ command: ATCommand) {
        guard let host = command.text(0) else { return error(50) }
        guard isContextActive else { return fail("+IP ERROR: Network not opened") }
        worker.resolve(host) { [self] addresses in
            guard let address = addresses.first else { return fail("+CDNSGIP: 0,10") }
            answer("+CDNSGIP: 1,\"\(host)\",\"\(Peer(address: address, port: 0).host)\"")
        }
    }

    // MARK: Links

    /// `link,"TCP",host,port` or `link,"UDP",,,local port`.
    private func openLink(_ command: ATCommand) {
        guard let link = command.number(0), sockets.links.indices.contains(link), let type = command.text(1)
        else { return fail("+CIPERROR: \(Code.wrongParameter)") }
        func refuse(_ code: Int) { fail("+CIPOPEN: \(link),\(code)") }
        guard isContextActive else { return refuse(Code.networkNotOpened) }
        // A link that the peer has closed makes room for a new one.
        guard sockets[link].map(\.hasEnded) ?? true else { return refuse(Code.alreadyOpened) }
        sockets.close(link)
        guard hasRoomForLink else { return refuse(Code.networkFailure) }
        if type == "UDP", let localPort = command.text(4).flatMap(UInt16.init) {
            ok()
            open(link, isStream: false, to: nil, localPort: localPort) { [self] in tellOpen(link, $0) }
        } else if type == "TCP", let host = command.text(2), let port = command.text(3).flatMap(UInt16.init) {
            ok()
            worker.resolve(host) { [self] addresses in
                guard let address = addresses.first else { return notice("+CIPOPEN: \(link),\(Code.nameUnknown)") }
                let host = Peer(address: address, port: port).host
                open(link, isStream: true, to: host, port: port) { [self] in tellOpen(link, $0) }
            }
        } else {
            refuse(Code.wrongParameter)
        }
    }

    private func tellOpen(_ link: Int, _ isOpen: Bool) {
        if !isOpen { sockets.close(link) }
        notice("+CIPOPEN: \(link),\(isOpen ? Code.success : Code.networkFailure)")
    }

    private func closeByHost(_ command: ATCommand) {
        guard let link = command.number(0) else { return fail("+CIPERROR: \(Code.wrongParameter)") }
        guard let state = sockets[link], !state.hasEnded else { return fail("+CIPCLOSE: \(link),\(Code.notSupported)") }
        sockets.close(link)
        ok()
        notice("+CIPCLOSE: \(link),\(Code.success)")
    }

    /// The reason: 1 closed by the peer, 2 reset.
    override func linkEnded(_ link: Int) {
        noticeEnd(link, "\r\n+IPCLOSE: \(link),\(sockets[link]?.state == .ended(isReset: true) ? 2 : 1)\r\n")
    }

    private func describe(_ number: Int) -> String {
        guard let link = sockets[number], link.isOpen else { return "+CIPOPEN: \(number)" }
        guard let peer = link.peer else { return "+CIPOPEN: \(number),\"UDP\",\(link.localPort)" }
        return "+CIPOPEN: \(number),\"\(link.kind)\",\"\(peer.host)\",\(peer.port),-1"
    }

    // MARK: Data

    /// `link,length[,host,port]`.
    private func send(_ command: ATCommand) {
        guard let link = command.number(0), let count = command.number(1), 1...maximumData ~= count
        else { return fail("+CIPERROR: \(Code.wrongParameter)") }
        guard let state = sockets[link], state.isOpen else { return fail("+CIPERROR: \(Code.notSupported)") }
        let peer = command.text(3).flatMap(UInt16.init).flatMap { Peer(numeric: command.text(2) ?? "", port: $0) }
        guard state.isStream || peer != nil else { return fail("+CIPERROR: \(Code.wrongParameter)") }
        prompt("\r\n>", for: link, count: count) { [self] payload in
            if echo { put(payload) }
            insertNotices()
            let taken =
                switch take(payload, on: link, to: state.isStream ? nil : peer, inParts: state.isStream) {
                case .bytes(let count): count
                case .nothing: 0
                case .gone: -1
                }
            ok()
            notice("+CIPSEND: \(link),\(count),\(taken)")
        }
    }

    /// `mode` alone sets how data is received; with a link it reads (2) or asks how much waits (4).
    private func executeReception(_ command: ATCommand) {
        guard command.parameters.count > 1 else { return setNumber(command, 0...1) { isManual = $0 == 1 } }
        guard isManual, let link = command.number(1), let state = sockets[link] else {
            return fail("+IP ERROR: No data")
        }
        switch command.number(0) {
        case 4: answer("+CIPRXGET: 4,\(link),\(state.buffer.count)")
        case 2:
            let maximum = command.number(2) ?? maximumData
            guard 1...maximumData ~= maximum else { return fail("+CIPERROR: \(Code.wrongParameter)") }
            guard !state.buffer.isEmpty else { return fail("+IP ERROR: No data") }
            let (bytes, _) = sockets.read(link, maximum)
            let left = sockets[link]?.buffer.count ?? 0
            inform("+CIPRXGET: 2,\(link),\(announced(bytes.count)),\(left)", data: bytes + [13, 10])
            ok()
        default: error(50)
        }
    }

    override func dataWaits(_ link: Int) {
        guard !isManual else { return noticeData(link, "\r\n+CIPRXGET: 1,\(link)\r\n") }
        while sockets[link]?.readable ?? 0 > 0 {
            let (bytes, sender) = sockets.read(link, maximumData)
            let head =
                "\r\nRECV FROM:\(sender?.host ?? "0.0.0.0"):\(sender?.port ?? 0)\r\n+IPD\(announced(bytes.count))\r\n"
            put(Array(head.utf8) + bytes)
        }
    }
}
