internal import CLinux

/// ESP-AT firmware: 1.7 on ESP8266, and 2.0 to 3.2.
final class ESPAT: CommandModem {
    private static let linkCommands: Set = ["AT+CIPSTART", "AT+CIPSEND", "AT+CIPCLOSE", "AT+CIPRECVDATA"]

    private let generation: ModemSimulatorConfiguration.Generation
    private var multiplex = false
    private var passive = false
    private var showsPeer = false
    private var isTransparent = false
    private var hasJoined = true
    private var hasTimeServer = false
    private var accessPoint = "apus"
    private lazy var tencent = TencentFirmware(self, .esp8266)

    override init(_ worker: Worker) {
        generation = worker.configuration.generation
        super.init(worker)
    }

    private var isOld: Bool { generation == .v1 }
    private var maximumSend: Int { isOld ? 2_048 : 8_192 }

    override var lineEnd: UInt8 { 0x0A }
    override var escapeEndsPayload: Bool { false }
    override var busyAnswer: String { "busy p...\r\n" }
    override var failureAnswer: String { "\r\nERROR\r\n" }
    override var idleNotices: [String] {
        ["WIFI CONNECTED\r\n", "+STA_CONNECTED:\"OK ERROR\"\r\n", "\r\n", "+TIME_UPDATED\r\n"]
    }

    override func echoed(_ line: String) -> String { line + (isOld ? "\r\r\n" : "\r\n") }

    override func powerUp(hasBanner: Bool) {
        guard hasBanner else { return }
        put(
            [0x1C, 0xE2, 0x8F] + Array("rl\r\n\r\nready\r\n".utf8),
            afterMilliseconds: worker.configuration.bootMilliseconds
        )
    }

    // MARK: Commands

    override func execute(_ line: String) {
        if worker.configuration.hasMQTT, tencent.execute(line) { return }
        let parts = line.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
        let name = parts[0].uppercased()
        var parameters = parts.count == 2 ? ATCommand.split(parts[1], escape: "\\") : []
        // A single link is not named.
        if !multiplex, Self.linkCommands.contains(name) { parameters.insert("0", at: 0) }
        switch (name, parameters.count) {
        case ("AT", 0), ("AT+SYSMSG", _), ("AT+SLEEP", _): result("OK")
        case ("AT+UART_CUR", 5):
            guard let rate = Int(parameters[0]), 80...5_000_000 ~= rate else { return result("ERROR") }
            result("OK")
            worker.setRate(rate)
        case ("ATE0", 0), ("ATE1", 0):
            echo = line.hasSuffix("1")
            result("OK")
        case ("AT+RST", 0), ("AT+RESTORE", 0):
            result("OK")
            worker.afterOutput { [worker] in worker.restart(hasBanner: true) }
        case ("AT+GMR", 0): inform("AT version:\(isOld ? "1.7.4.0" : "2.2.0.0")(simulated)")
        case ("AT+CWMODE", 1), ("AT+CWMODE_CUR", 1): result("OK")
        case ("AT+CWJAP", 2), ("AT+CWJAP_CUR", 2): join(parameters[0])
        case ("AT+CWJAP?", 0):
            let signal = worker.configuration.signal + Int.random(in: -3...3, using: &worker.randomness)
            inform(hasJoined ? "+CWJAP:\"\(accessPoint)\",\"02:00:00:00:00:01\",6,\(signal)" : "No AP")
        case ("AT+CWQAP", 0):
            hasJoined = false
            result("OK")
            say("WIFI DISCONNECT\r\n")
        case ("AT+CIFSR", 0): inform("+CIFSR:STAIP,\"127.0.0.1\"", "+CIFSR:STAMAC,\"02:00:00:00:00:02\"")
        case ("AT+CIPMUX", 1):
            guard sockets.used.isEmpty else { return result("ERROR") }
            multiplex = parameters[0] == "1"
            result("OK")
        case ("AT+CIPSNTPCFG", 1...):
            hasTimeServer = parameters[0] == "1"
            result("OK")
        case ("AT+CIPSNTPTIME?", 0): inform("+CIPSNTPTIME:\(clock())")
        case ("AT+CIPMUX?", 0): inform("+CIPMUX:\(multiplex ? 1 : 0)")
        case ("AT+CIPDINFO", 1):
            showsPeer = parameters[0] == "1"
            result("OK")
        case ("AT+CIPRECVMODE", 1):
            passive = parameters[0] == "1"
            result("OK")
        case ("AT+CIPMODE", 1):
            // Passthrough is of one link, and not with passive reception.
            guard parameters[0] == "0" || !multiplex && !passive else { return result("ERROR") }
            isTransparent = parameters[0] == "1"
            result("OK")
        case ("AT+CIPSEND", 1) where isTransparent:
            guard sockets[0]?.isOpen == true else { return fail("link is not valid") }
            result("OK")
            say("\r\n>")
            beginData(0, silenceMilliseconds: 20)
        case ("AT+CIPSTART", 4...): openLink(parameters)
        case ("AT+CIPSEND", 2...): startSend(parameters)
        case ("AT+CIPCLOSE", 1): closeByHost(parameters[0])
        case ("AT+CIPRECVDATA", 2): readData(parameters)
        case ("AT+CIPRECVLEN?", 0):
            let lengths = sockets.links.map { $0.map { String($0.buffer.count) } ?? "-1" }
            inform("+CIPRECVLEN:\(lengths.joined(separator: ","))")
        case ("AT+CIPSTATUS", 0):
            let links = sockets.used.compactMap { number in
                sockets[number].map { link in
                    "+CIPSTATUS:\(number),\"\(link.kind)\",\"\(link.peer?.host ?? "0.0.0.0")\","
                        + "\(link.peer?.port ?? 0),\(link.localPort),0"
                }
            }
            inform(["STATUS:\(hasJoined ? (links.isEmpty ? 2 : 3) : 5)"] + links)
        case ("AT+CIPDOMAIN", 1):
            worker.resolve(parameters[0]) { [self] addresses in
                guard let address = addresses.first else { return fail("DNS Fail") }
                let text = Peer(address: address, port: 0).host
                inform(isOld ? "+CIPDOMAIN:\(text)" : "+CIPDOMAIN:\"\(text)\"")
            }
        default:
            worker.count(\.unknownCommands)
            result("ERROR")
        }
    }

    /// The time of this machine in UTC, as `asctime` has it; without a time server that of a modem that has just started.
    private func clock() -> String {
        var now = hasTimeServer ? time(nil) : 0
        var parts = tm()
        gmtime_r(&now, &parts)
        var text = [CChar](repeating: 0, count: 32)
        let count = strftime(&text, text.count, "%a %b %d %H:%M:%S %Y", &parts)
        return String(decoding: text[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    private func result(_ text: String) { finish(Array("\r\n\(text)\r\n".utf8)) }

    private func inform(_ lines: String...) { inform(lines) }

    private func inform(_ lines: [String]) {
        for line in lines {
            say(line + "\r\n")
            if lines.count > 1 { insertNotices() }
        }
        result("OK")
    }

    /// A line that says why, and the result.
    private func fail(_ reason: String) {
        say(reason + "\r\n")
        result("ERROR")
    }

    private func join(_ name: String) {
        if faults.refusesToJoin {
            say("+CWJAP:3\r\n")
            return result(isOld ? "FAIL" : "ERROR")
        }
        accessPoint = name
        hasJoined = true
        say("WIFI CONNECTED\r\n")
        say("WIFI GOT IP\r\n")
        result("OK")
    }

    override func powerDown() {
        super.powerDown()
        tencent.powerDown()
    }

    override func loseMQTT(hasNotice: Bool) { tencent.lose(hasNotice: hasNotice) }

    override var hasNetwork: Bool { hasJoined }

    override func loseContext() {
        hasJoined = false
        tencent.lose(hasNotice: true)
        for link in sockets.used { breakLink(link, hasNotice: true) }
        say("WIFI DISCONNECT\r\n")
        worker.after(milliseconds: faults.contextReturnMilliseconds) { [self] in
            hasJoined = true
            say("WIFI CONNECTED\r\nWIFI GOT IP\r\n")
        }
    }

    // MARK: Links

    /// `0,` in front of what concerns a link, if there may be several.
    private func prefix(_ link: Int) -> String { multiplex ? "\(link)," : "" }

    /// `link,type,host,port`.
    private func openLink(_ parameters: [String]) {
        guard let link = Int(parameters[0]), sockets.links.indices.contains(link), let port = UInt16(parameters[3]),
            parameters[1] == "TCP" || parameters[1] == "UDP"
        else { return result("ERROR") }
        guard hasJoined else { return fail("no ip") }
        guard sockets[link] == nil else { return fail("ALREADY CONNECTED") }
        guard hasRoomForLink else { return result("ERROR") }
        worker.resolve(parameters[2]) { [self] addresses in
            guard let address = addresses.first else { return fail("DNS Fail") }
            let host = Peer(address: address, port: port).host
            open(link, isStream: parameters[1] == "TCP", to: host, port: port) { [self] isOpen in
                if isOpen {
                    say("\(prefix(link))CONNECT\r\n")
                    result("OK")
                } else {
                    sockets.close(link)
                    if isOld { say("\(prefix(link))CLOSED\r\n") }
                    result("ERROR")
                }
            }
        }
    }

    override func cutLink(_ link: Int, hasNotice: Bool) {
        sockets.close(link)
        if hasNotice { say("\(prefix(link))CLOSED\r\n") }
    }

    private func closeByHost(_ text: String) {
        guard let link = Int(text) else { return result("ERROR") }
        if link == sockets.links.count {
            for link in sockets.used { cutLink(link, hasNotice: true) }
            return result("OK")
        }
        guard sockets[link] != nil else { return isOld ? fail("UNLINK") : result("ERROR") }
        cutLink(link, hasNotice: true)
        result("OK")
    }

    // MARK: Data

    /// It would connect again by itself.
    override func tellsEndOfData(_ link: Int) -> Bool { false }

    private func startSend(_ parameters: [String]) {
        guard let link = Int(parameters[0]), let count = Int(parameters[1]), count > 0, count <= maximumSend
        else { return result("ERROR") }
        guard sockets[link]?.isOpen == true else { return fail("link is not valid") }
        result("OK")
        prompt(isOld ? "> " : "\r\n>", for: link, count: count) { [self] bytes in
            say("\r\nRecv \(bytes.count) bytes\r\n")
            insertNotices()
            sendPayload(bytes, on: link)
        }
    }

    private func sendPayload(_ bytes: [UInt8], on link: Int) {
        // The firmware waits until its stack has room.
        if sockets[link]?.isOpen == true, sockets.room(link) < bytes.count {
            return worker.after(milliseconds: 5) { [self] in sendPayload(bytes, on: link) }
        }
        switch take(bytes, on: link) {
        case .bytes: result("SEND OK")
        case .nothing: result("SEND FAIL")
        case .gone: result("ERROR")
        }
    }

    override func dataWaits(_ link: Int) {
        guard !passive else {
            return noticeData(link, "\r\n+IPD,\(prefix(link))\(sockets[link]?.buffer.count ?? 0)\r\n")
        }
        while let count = sockets[link]?.readable, count > 0 {
            let (bytes, sender) = sockets.read(link, sockets[link]?.isStream == true ? 1_460 : count)
            let peer = showsPeer ? sender.map { isOld ? ",\($0.host),\($0.port)" : ",\"\($0.host)\",\($0.port)" } : nil
            let head = "\r\n+IPD,\(prefix(link))\(announced(bytes.count))\(peer ?? ""):"
            put(Array(head.utf8) + bytes)
        }
    }

    /// The end comes behind what was received before it.
    override func linkEnded(_ link: Int) {
        guard sockets[link]?.buffer.isEmpty == true else { return }
        noticeEnd(link, "\(prefix(link))CLOSED\r\n")
        sockets.close(link)
    }

    private func readData(_ parameters: [String]) {
        guard let link = Int(parameters[0]), let wanted = Int(parameters[1]), wanted > 0,
            sockets[link]?.buffer.isEmpty == false
        else { return result("ERROR") }
        let (bytes, sender) = sockets.read(link, min(wanted, 2_048))
        let peer = showsPeer && !isOld ? sender.map { "\"\($0.host)\",\($0.port)," } : nil
        let count = announced(bytes.count)
        let head = isOld ? "+CIPRECVDATA,\(count):" : "+CIPRECVDATA:\(count),\(peer ?? "")"
        put(Array(head.utf8) + bytes)
        result("OK")
    }
}
