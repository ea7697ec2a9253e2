/// Quectel BC28, BC35, BC95 (NB-IoT, the Neul command set): no prompts, data as hexadecimal digits inside the lines, socket numbers that
/// the modem chooses, no space behind colons.
class BC28: CellularModem {
    /// How `AT+NSONMI` has data announced.
    private enum Reception { static let notice = 1, data = 2 }

    /// The most bytes of one read.
    private let maximumRead = 1_358
    private var reception = Reception.notice

    override init(_ worker: Worker) {
        super.init(worker)
        echo = false
    }

    override var identity: Identity { Identity(maker: "Quectel", model: "BC28", revision: "BC28JAR01A07") }
    override var defaultErrorMode: Int { 0 }
    override var maximumLine: Int { 2 * maximumRead + 200 }
    override var colon: String { ":" }
    override var accessTechnology: Int { 9 }
    override var hasMultiplexer: Bool { false }
    override var registrationCommands: [String] { ["+CEREG"] }
    override var contextIsAutomatic: Bool { true }
    override var endTakesNumber: Bool { true }
    override var banner: [String] { ["\0\u{02}\u{00}\r\nNeul \r\nOK\r\n"] }

    override func needsSIM(_ command: ATCommand) -> Bool { command.name == "+NSOCR" }

    // MARK: What the sister has otherwise

    /// The most bytes of one send.
    var maximumSend: Int { maximumRead }
    /// Lines that carry no name here, or the name of their command.
    func named(_ name: String, _ fields: String) -> String { fields }
    /// Says how connecting went.
    func tellConnected(_ isOpen: Bool) { isOpen ? ok() : error() }
    /// What is said before connecting ends.
    func acceptConnecting() {}
    var endNotice: String { "+NSOCLI:" }

    override func executeOwn(_ command: ATCommand) -> Bool {
        switch (command.name, command.form) {
        case ("+NCONFIG", .set): ok()
        case ("+NRB", .action):
            inform("REBOOTING")
            finish()
            restartSoon()
        case ("+NSONMI", .set): setNumber(command, 0...3) { reception = $0 }
        case ("+NSOCR", .set): create(command)
        case ("+NSOCO", .set): connect(command)
        case ("+NSOCL", .set):
            guard let number = command.number(0), sockets[number] != nil else {
                error()
                break
            }
            sockets.close(number)
            ok()
        case ("+NSOSD", .set): send(command)
        case ("+NSOST", .set): sendTo(command)
        case ("+NSORF", .set): read(command)
        case ("+QDNS", .set): resolve(command)
        default: return false
        }
        return true
    }

    private func resolve(_ command: ATCommand) {
        guard let host = command.text(1) else { return error(50) }
        answerAddress(of: host, "+QDNS")
    }

    /// `OK`, and later the address or `FAIL`.
    func answerAddress(of host: String, _ name: String) {
        guard isContextActive else { return error(30) }
        ok()
        worker.resolve(host) { [self] addresses in
            notice("\(name):" + (addresses.first.map { Peer(address: $0, port: 0).host } ?? "FAIL"))
        }
    }

    // MARK: Sockets

    /// `STREAM,6` or `DGRAM,17`, with a local port and whether data is received.
    private func create(_ command: ATCommand) {
        let isStream = command.text(0) == "STREAM" && command.number(1) == 6
        guard isStream || command.text(0) == "DGRAM" && command.number(1) == 17,
            let localPort = UInt16(command.text(2) ?? "0")
        else { return error(50) }
        guard isContextActive else { return error(30) }
        guard hasRoomForLink, let number = sockets.links.indices.first(where: { sockets[$0] == nil }) else {
            return error()
        }
        guard !isStream else {
            sockets.create(number)
            return answer(named("+NSOCR", "\(number)"))
        }
        open(number, isStream: false, to: nil, localPort: localPort) { [self] isOpen in
            if isOpen { return answer(named("+NSOCR", "\(number)")) }
            sockets.close(number)
            error()
        }
    }

    /// `socket,address,port`; names are not taken.
    private func connect(_ command: ATCommand) {
        guard let number = command.number(0), sockets[number]?.state == .created, let host = command.text(1),
            let port = command.text(2).flatMap(UInt16.init), Peer(numeric: host, port: port) != nil
        else { return error() }
        acceptConnecting()
        open(number, isStream: true, to: host, port: port) { [self] isOpen in tellConnected(isOpen) }
    }

    /// The end comes behind what was received before it, and takes the number away.
    override func linkEnded(_ link: Int) {
        guard sockets[link]?.buffer.isEmpty == true else { return }
        noticeEnd(link, "\r\n\(endNotice)\(link)\r\n")
        sockets.close(link)
    }

    // MARK: Data

    /// `socket,length,digits[,flag[,sequence]]`.
    private func send(_ command: ATCommand) {
        guard let number = command.number(0), sockets[number]?.isStream == true else { return error() }
        finishSend(command.withoutFirst, "+NSOSD", on: number, to: nil, sequence: command.number(4))
    }

    /// `socket,address,port,length,digits[,sequence]`.
    private func sendTo(_ command: ATCommand) {
        guard let number = command.number(0), sockets[number]?.isStream == false,
            let port = command.text(2).flatMap(UInt16.init), let peer = Peer(numeric: command.text(1) ?? "", port: port)
        else { return error() }
        let data = command.withoutFirst.withoutFirst.withoutFirst
        finishSend(data, "+NSOST", on: number, to: peer, sequence: command.number(5))
    }

    /// `length,digits` are left.
    private func finishSend(_ data: ATCommand, _ name: String, on number: Int, to peer: Peer?, sequence: Int?) {
        guard let count = data.number(0), 1...maximumSend ~= count, let bytes = data.text(1).flatMap(Hex.bytes),
            bytes.count == count
        else { return error(50) }
        if worker.happens(\.closesDuringSendEvery) { sockets.cut(number, isReset: true) }
        let taken = take(bytes, on: number, to: peer)
        guard case .bytes(let count) = taken else { return error() }
        answer(named(name, "\(number),\(count)"))
        if let sequence { notice("+NSOSTR:\(number),\(sequence),1") }
    }

    /// `socket,length`.
    private func read(_ command: ATCommand) {
        guard let number = command.number(0), sockets[number] != nil, let length = command.number(1),
            1...maximumRead ~= length
        else { return error() }
        guard sockets[number]?.buffer.isEmpty == false else { return ok() }
        answer(named("+NSORF", take(number, length, hasRest: true)))
    }

    /// Takes data out of a socket, as fields.
    private func take(_ number: Int, _ length: Int, hasRest: Bool) -> String {
        let (bytes, sender) = sockets.read(number, length)
        let head =
            "\(number),\(sender?.host ?? "0.0.0.0"),\(sender?.port ?? 0),\(announced(bytes.count)),\(Hex.text(bytes))"
        return hasRest ? "\(head),\(sockets[number]?.buffer.count ?? 0)" : head
    }

    override func dataWaits(_ link: Int) {
        switch reception {
        case Reception.notice: noticeData(link, "\r\n+NSONMI:\(link),\(sockets[link]?.readable ?? 0)\r\n")
        case Reception.data:
            while sockets[link]?.readable ?? 0 > 0 { notice("+NSONMI:\(take(link, maximumRead, hasRest: false))") }
        default: break
        }
    }
}

/// China Mobile M5310A: the set of the BC28 with named answers, a connection that is reported, and shorter sends.
final class M5310A: BC28 {
    override var identity: Identity { Identity(maker: "CMCC", model: "M5310-A", revision: "M5310-A_V100R100") }
    override var maximumSend: Int { 200 }
    override var banner: [String] { ["\0\u{02}\u{00}\r\nM5310-A\r\nOK\r\n"] }
    override var endNotice: String { "+NSOCLI: " }
    override func named(_ name: String, _ fields: String) -> String { "\(name):\(fields)" }
    override func acceptConnecting() { ok() }
    override func tellConnected(_ isOpen: Bool) { notice(isOpen ? "CONNECT OK" : "CONNECT FAIL") }

    override func executeOwn(_ command: ATCommand) -> Bool {
        guard command.name == "+CMDNS", command.form == .set else { return super.executeOwn(command) }
        answerAddress(of: command.text(0) ?? "", "+CMDNS")
        return true
    }
}
