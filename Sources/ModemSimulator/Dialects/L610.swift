/// Fibocom L610 and L716 (the MIP set): numbers that start at 1, received data as hexadecimal digits in the notice, or buffered.
final class L610: CellularModem {
    /// How `AT+GTSET="IPRFMT"` has data received.
    private enum Format { static let hex = 0, buffered = 2 }

    private var format = Format.hex
    private lazy var tencent = TencentFirmware(self, .l610)
    private let maximumData = 2_048
    private let maximumHex = 1_024

    override var identity: Identity { Identity(maker: "Fibocom", model: "L610-CN", revision: "16000.1000.00.01.01.01") }
    override var banner: [String] { ["+SIM READY", "+CPIN: READY"] }
    override var endTakesNumber: Bool { true }

    override func needsSIM(_ command: ATCommand) -> Bool { command.name == "+MIPCALL" && command.form == .set }

    override func executeOwn(_ command: ATCommand) -> Bool {
        switch (command.name, command.form) {
        case ("+GTSET", .set) where command.text(0) == "IPRFMT":
            guard let number = command.number(1), number == Format.hex || number == Format.buffered else {
                error(4)
                break
            }
            format = number
            ok()
        case ("+MIPCALL", .read): answer("+MIPCALL: " + (isContextActive ? "1,\(Self.address)" : "0"))
        case ("+MIPCALL", .set): call(command)
        case ("+MIPDNS", .set): resolve(command)
        case ("+MIPOPEN", .read):
            answer(
                "+MIPOPEN: "
                    + sockets.links.indices.filter { sockets[$0] == nil }.map { "\($0 + 1)" }.joined(separator: " ")
            )
        case ("+MIPOPEN", .set): openLink(command)
        case ("+MIPCLOSE", .set): closeByHost(command)
        case ("+MIPSEND", .set): send(command)
        case ("+MIPREAD", .set): read(command)
        default: return false
        }
        return true
    }

    // MARK: Context

    private func call(_ command: ATCommand) {
        if command.number(0) == 0 {
            deactivate()
            ok()
            return notice("+MIPCALL: 0")
        }
        guard command.number(0) == 1 else { return error(50) }
        guard isAttached else { return error(30) }
        guard !isContextActive else { return error(3) }
        isContextActive = true
        ok()
        notice("+MIPCALL: \(Self.address)")
    }

    override func execute(_ line: String) {
        if !worker.configuration.hasMQTT || !tencent.execute(line) { super.execute(line) }
    }

    override func powerDown() {
        super.powerDown()
        tencent.powerDown()
    }

    override func loseMQTT(hasNotice: Bool) { tencent.lose(hasNotice: hasNotice) }

    override var hasNetwork: Bool { isContextActive }

    override func noticeContextLoss() {
        notice("+MIPCALL: 0")
        tencent.lose(hasNotice: true)
    }

    private func resolve(_ command: ATCommand) {
        guard let host = command.text(0) else { return error(50) }
        guard isContextActive else { return error(3) }
        worker.resolve(host) { [self] addresses in
            guard let address = addresses.first else { return error(22) }
            answer("+MIPDNS: \"\(host)\",\(Peer(address: address, port: 0).host)")
        }
    }

    // MARK: Links

    /// The link that a command names: the host counts from 1.
    private func link(_ command: ATCommand) -> Int? {
        guard let number = command.number(0), sockets.links.indices.contains(number - 1) else { return nil }
        return number - 1
    }

    /// `number,[local port],host,port,kind`: 0 TCP, 1 UDP.
    private func openLink(_ command: ATCommand) {
        guard let link = link(command), let localPort = UInt16(command.text(1) ?? "0"), let host = command.text(2),
            let port = command.text(3).flatMap(UInt16.init), let kind = command.number(4), 0...1 ~= kind
        else { return error(50) }
        guard isContextActive, sockets[link] == nil, hasRoomForLink else { return error(3) }
        ok()
        worker.resolve(host) { [self] addresses in
            guard let address = addresses.first else { return notice("+MIPOPEN: \(link + 1),0") }
            let host = Peer(address: address, port: port).host
            open(link, isStream: kind == 0, to: host, port: port, localPort: localPort) { [self] isOpen in
                if !isOpen { sockets.close(link) }
                notice("+MIPOPEN: \(link + 1),\(isOpen ? 1 : 0)")
            }
        }
    }

    private func closeByHost(_ command: ATCommand) {
        guard let link = link(command), sockets[link] != nil else { return error(3) }
        sockets.close(link)
        ok()
        notice("+MIPCLOSE: \(link + 1),0")
    }

    /// The end comes behind what was received before it, and frees the number.
    override func linkEnded(_ link: Int) {
        guard sockets[link]?.buffer.isEmpty == true else { return }
        noticeEnd(link, "\r\n+MIPCLOSE: \(link + 1),1\r\n")
        sockets.close(link)
    }

    // MARK: Data

    private func send(_ command: ATCommand) {
        guard let link = link(command), let count = command.number(1), 1...maximumData ~= count else {
            return error(50)
        }
        guard sockets[link]?.isOpen == true else { return error(3) }
        prompt("\r\n>", for: link, count: count) { [self] payload in
            if echo { put(payload) }
            insertNotices()
            switch take(payload, on: link) {
            case .bytes:
                ok()
                notice("+MIPSEND: \(link + 1),0,\(sockets.room(link))")
                notice("+MIPPUSH: \(link + 1),0")
            case .nothing:
                ok()
                notice("+MIPSEND: \(link + 1),1,\(sockets.room(link))")
            case .gone: error(3)
            }
        }
    }

    private func read(_ command: ATCommand) {
        guard let link = link(command), let count = command.number(1), 1...maximumData ~= count,
            sockets[link]?.buffer.isEmpty == false
        else { return error(3) }
        let (bytes, _) = sockets.read(link, count)
        inform("+MIPDATA: \(link + 1),\(announced(bytes.count))", data: bytes)
        ok()
    }

    override func dataWaits(_ link: Int) {
        guard format == Format.hex else {
            return noticeData(link, "\r\n+MIPREAD: \(link + 1),\(sockets[link]?.readable ?? 0)\r\n")
        }
        while let state = sockets[link], state.readable > 0 {
            let (bytes, sender) = sockets.read(link, state.isStream ? maximumHex : state.readable)
            let fields = "\(link + 1),\(sockets[link]?.buffer.count ?? 0),\(Hex.text(bytes))"
            notice(
                state.isStream
                    ? "+MIPRTCP: \(fields)" : "+MIPRUDP: \(sender?.host ?? ""),\(sender?.port ?? 0),\(fields)"
            )
        }
    }
}
