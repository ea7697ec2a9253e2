/// u-blox SARA: sockets that the modem numbers, `@` as the prompt, data in quotes as bytes or as hexadecimal digits.
final class UBlox: CellularModem {
    private var hasHex = false
    private var lastError = 0
    private let maximumBytes = 1_024
    private let maximumHexBytes = 512
    /// The codes of `+USOER` that are used here: as Linux numbers its errors.
    private enum SocketCode { static let none = 0, refused = 111, notConnected = 107 }

    override var identity: Identity { Identity(maker: "u-blox", model: "SARA-R410M-02B", revision: "L0.0.00.00.05.08") }
    override var defaultErrorMode: Int { 0 }
    override var maximumLine: Int { 2_048 }
    /// No line tells of a start; two zero bytes may.
    override var banner: [String] { ["\0\0"] }
    override var contextIsAutomatic: Bool { true }
    override var endTakesNumber: Bool { true }

    override func needsSIM(_ command: ATCommand) -> Bool { command.name.hasPrefix("+USO") || command.name == "+UDNSRN" }

    override func executeOwn(_ command: ATCommand) -> Bool {
        switch (command.name, command.form) {
        case ("+UDCONF", .set):
            guard command.number(0) == 1 else { return false }
            setNumber(command.withoutFirst, 0...1) { hasHex = $0 == 1 }
        case ("+UPSD", .set), ("+USOSEC", .set), ("+USECPRF", .set): ok()
        case ("+UPSDA", .set): activate(command)
        case ("+UPSV", .set): setNumber(command, 0...4) { worker.setSleep($0 == 1) }
        case ("+UDNSRN", .set): resolve(command)
        case ("+USOCR", .set): create(command)
        case ("+USOCO", .set): connect(command)
        case ("+USOCL", .set): closeByHost(command)
        case ("+USOWR", .set): write(command)
        case ("+USOST", .set): writeTo(command)
        case ("+USORD", .set): read(command, isFrom: false)
        case ("+USORF", .set): read(command, isFrom: true)
        case ("+USOER", .action): answer("+USOER: \(lastError)")
        case ("+USOCTL", .set): control(command)
        default: return false
        }
        return true
    }

    // MARK: Context

    private func activate(_ command: ATCommand) {
        switch command.number(1) {
        case 3:
            guard isAttached else { return error(30) }
            isContextActive = true
            ok()
            notice("+UUPSDA: 0,\"\(Self.address)\"")
        case 4:
            deactivate()
            ok()
        default: error(50)
        }
    }

    override func noticeContextLoss() { notice("+UUPSDD: 0") }

    private func resolve(_ command: ATCommand) {
        guard let host = command.text(1) else { return error(50) }
        guard isContextActive else { return error(30) }
        worker.resolve(host) { [self] addresses in
            guard let address = addresses.first else { return error(22) }
            answer("+UDNSRN: \"\(Peer(address: address, port: 0).host)\"")
        }
    }

    // MARK: Sockets

    private func create(_ command: ATCommand) {
        guard let kind = command.number(0), kind == 6 || kind == 17, let localPort = UInt16(command.text(1) ?? "0")
        else { return error(50) }
        guard isContextActive else { return error(30) }
        guard hasRoomForLink, let number = sockets.links.indices.first(where: { sockets[$0] == nil })
        else { return error(3) }
        // A datagram socket works at once; a stream waits for its peer.
        guard kind == 17 else {
            sockets.create(number)
            return answer("+USOCR: \(number)")
        }
        open(number, isStream: false, to: nil, localPort: localPort) { [self] isOpen in
            if isOpen { return answer("+USOCR: \(number)") }
            sockets.close(number)
            error(3)
        }
    }

    /// `socket,host,port[,asynchronous]`.
    private func connect(_ command: ATCommand) {
        guard let number = command.number(0), let state = sockets[number], state.state == .created || !state.isStream
        else { return error(3) }
        guard let host = command.text(1), let port = command.text(2).flatMap(UInt16.init) else { return error(50) }
        guard isContextActive else { return error(30) }
        let isAsynchronous = command.number(3) == 1
        if isAsynchronous { ok() }
        func tell(_ code: Int, _ failure: Int) {
            lastError = code
            if isAsynchronous { return notice("+UUSOCO: \(number),\(code)") }
            code == SocketCode.none ? ok() : error(failure)
        }
        worker.resolve(host) { [self] addresses in
            guard let address = addresses.first else { return tell(SocketCode.refused, 22) }
            let host = Peer(address: address, port: port).host
            open(number, isStream: state.isStream, to: host, port: port) { isOpen in
                tell(isOpen ? SocketCode.none : SocketCode.refused, 31)
            }
        }
    }

    private func closeByHost(_ command: ATCommand) {
        guard let number = command.number(0), sockets[number] != nil else { return error(3) }
        sockets.close(number)
        ok()
        if command.number(1) == 1 { notice("+UUSOCL: \(number)") }
    }

    /// The end comes behind what was received before it, and takes the number away.
    override func linkEnded(_ link: Int) {
        guard sockets[link]?.buffer.isEmpty == true else { return }
        noticeEnd(link, "\r\n+UUSOCL: \(link)\r\n")
        sockets.close(link)
    }

    private func control(_ command: ATCommand) {
        guard let number = command.number(0), let state = sockets[number] else { return error(3) }
        switch command.number(1) {
        case 1: answer("+USOCTL: \(number),1,\(lastError)")
        case 10: answer("+USOCTL: \(number),10,\(tcpState(state))")
        default: error(50)
        }
    }

    private func tcpState(_ link: Link) -> Int {
        switch link.state {
        case .created: 0
        case .opening: 2
        case .open: 4
        case .ended: 7
        }
    }

    // MARK: Data to the network

    /// `socket,length[,hexadecimal digits]`.
    private func write(_ command: ATCommand) {
        guard let number = command.number(0), sockets[number]?.isOpen == true, sockets[number]?.peer != nil
        else { return failToWrite() }
        send(command, "+USOWR", on: number, to: nil, length: command.number(1), text: command.text(2))
    }

    /// `socket,host,port,length[,hexadecimal digits]`.
    private func writeTo(_ command: ATCommand) {
        guard let number = command.number(0), let state = sockets[number], !state.isStream else { return failToWrite() }
        guard let port = command.text(2).flatMap(UInt16.init),
            let peer = Peer(numeric: command.text(1) ?? "", port: port)
        else { return error(50) }
        send(command, "+USOST", on: number, to: peer, length: command.number(3), text: command.text(4))
    }

    private func failToWrite() {
        lastError = SocketCode.notConnected
        error(3)
    }

    private func send(_ command: ATCommand, _ name: String, on number: Int, to peer: Peer?, length: Int?, text: String?)
    {
        guard let length, 1...(hasHex ? maximumHexBytes : maximumBytes) ~= length else { return error(50) }
        func finish(_ bytes: [UInt8]) {
            insertNotices()
            switch take(bytes, on: number, to: peer, inParts: sockets[number]?.isStream == true) {
            case .bytes(let count): answer("\(name): \(number),\(count)")
            case .nothing: answer("\(name): \(number),0")
            case .gone: failToWrite()
            }
        }
        if let text {
            guard let bytes = hasHex ? Hex.bytes(text) : Array(text.utf8), bytes.count == length else {
                return error(50)
            }
            return finish(bytes)
        }
        guard !hasHex else { return error(50) }
        prompt("\r\n@", for: number, count: length, finish)
    }

    // MARK: Data from the network

    override func dataWaits(_ link: Int) {
        guard let state = sockets[link] else { return }
        noticeData(link, "\r\n+UUSOR\(state.isStream ? "D" : "F"): \(link),\(state.readable)\r\n")
    }

    /// `socket,length`; a length of 0 asks how much waits.
    private func read(_ command: ATCommand, isFrom: Bool) {
        guard let number = command.number(0), let state = sockets[number] else { return error(3) }
        guard let length = command.number(1), 0...(hasHex ? maximumHexBytes : maximumBytes) ~= length
        else { return error(50) }
        let name = isFrom ? "+USORF" : "+USORD"
        if length == 0 { return answer("\(name): \(number),\(state.buffer.count)") }
        guard !state.buffer.isEmpty else { return answer("\(name): \(number),0" + (isFrom ? "" : ",\"\"")) }
        let (bytes, sender) = sockets.read(number, length)
        let from = isFrom ? "\"\(sender?.host ?? "")\",\(sender?.port ?? 0)," : ""
        let data = hasHex ? Array(Hex.text(bytes).utf8) : bytes
        put(
            Array("\r\n\(name): \(number),\(from)\(announced(bytes.count)),\"".utf8) + data + Array("\"\r\n".utf8)
        )
        ok()
    }
}
