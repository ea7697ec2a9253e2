internal import CLinux
internal import Kernel

extension Worker {
    /// Executes one command line.
    func execute(_ command: String) {
        note("> ", Array(command.utf8))
        commandCount += 1
        shared.withLock { $0.statistics.commands += 1 }
        if dialect.echo || faults.echoIsStuck {
            say(command + (dialect.generation == .v1 ? "\r\r\n" : "\r\n"))
        }
        insert()
        if faults.busyEvery > 0, commandCount % faults.busyEvery == 0 { return say("busy p...\r\n") }
        let parts = command.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
        let parameters = parts.count == 2 ? Dialect.parameters(parts[1]) : []
        switch (String(parts[0]).uppercased(), parameters.count) {
        case ("AT", 0), ("AT+SYSMSG", _), ("AT+UART_CUR", _), ("AT+SLEEP", _): result("OK")
        case ("ATE0", 0), ("ATE1", 0):
            dialect.echo = command.hasSuffix("1")
            result("OK")
        case ("AT+RST", 0), ("AT+RESTORE", 0):
            result("OK")
            for link in dialect.links.indices { closeLink(link) }
            dialect = Dialect(generation: configuration.generation)
            say([0x1C, 0xE2, 0x8F] + Array("rl\r\n\r\nready\r\n".utf8), afterMilliseconds: 20)
        case ("AT+GMR", 0):
            say("AT version:\(dialect.generation == .v1 ? "1.7.4.0" : "2.2.0.0")(simulated)\r\n")
            result("OK")
        case ("AT+CWMODE", 1), ("AT+CWMODE_CUR", 1): result("OK")
        case ("AT+CWJAP", 2), ("AT+CWJAP_CUR", 2): join(parameters[0])
        case ("AT+CWJAP?", 0):
            if dialect.hasJoined {
                let signal = configuration.signal + Int.random(in: -3...3, using: &randomness)
                say("+CWJAP:\"\(dialect.name)\",\"02:00:00:00:00:01\",6,\(signal)\r\n")
            } else {
                say("No AP\r\n")
            }
            result("OK")
        case ("AT+CWQAP", 0):
            dialect.hasJoined = false
            result("OK")
            say("WIFI DISCONNECT\r\n")
        case ("AT+CIFSR", 0):
            say("+CIFSR:STAIP,\"127.0.0.1\"\r\n+CIFSR:STAMAC,\"02:00:00:00:00:02\"\r\n")
            result("OK")
        case ("AT+CIPMUX", 1):
            guard dialect.links.allSatisfy({ $0 == nil }) else { return result("ERROR") }
            dialect.multiplex = parameters[0] == "1"
            result("OK")
        case ("AT+CIPDINFO", 1):
            dialect.showsPeer = parameters[0] == "1"
            result("OK")
        case ("AT+CIPRECVMODE", 1):
            dialect.passive = parameters[0] == "1"
            result("OK")
        case ("AT+CIPSTART", 4...): open(parameters)
        case ("AT+CIPSEND", 2...): startSend(parameters)
        case ("AT+CIPCLOSE", 1): closeByHost(parameters[0])
        case ("AT+CIPRECVDATA", 2): readData(parameters)
        case ("AT+CIPRECVLEN?", 0):
            let lengths = dialect.links.map { $0.map { String($0.buffer.count) } ?? "-1" }
            say("+CIPRECVLEN:\(lengths.joined(separator: ","))\r\n")
            result("OK")
        case ("AT+CIPSTATUS", 0):
            let hasLinks = dialect.links.contains { $0 != nil }
            say("STATUS:\(dialect.hasJoined ? (hasLinks ? 3 : 2) : 5)\r\n")
            for (index, link) in dialect.links.enumerated() {
                if let link { say("+CIPSTATUS:\(index),\"\(link.isStream ? "TCP" : "UDP")\",\"127.0.0.1\",0,0,0\r\n") }
            }
            result("OK")
        case ("AT+CIPDOMAIN", 1): resolve(parameters[0])
        default:
            shared.withLock { $0.statistics.unknownCommands += 1 }
            result("ERROR")
        }
    }

    /// Says the final result of a command.
    func result(_ text: String, before: String = "\r\n") {
        resultCount += 1
        insert()
        if faults.losesResultEvery > 0, resultCount % faults.losesResultEvery == 0 { return }
        say(before + text + "\r\n", afterMilliseconds: faults.resultDelayMilliseconds)
        insert()
    }

    /// What may stand between any two complete outputs.
    private func insert() {
        if faults.insertsNotices, Bool.random(using: &randomness) {
            let notices = ["WIFI CONNECTED\r\n", "+STA_CONNECTED:\"OK ERROR\"\r\n", "\r\n", "+TIME_UPDATED\r\n"]
            say(notices.randomElement(using: &randomness) ?? "")
        }
        if faults.insertsGarbage, Bool.random(using: &randomness) {
            let bytes = (0..<Int.random(in: 1...20, using: &randomness)).map { _ in
                UInt8.random(in: 0x80...0xFF, using: &randomness)
            }
            say(bytes + [0x0D, 0x0A])
        }
    }

    private func join(_ name: String) {
        if faults.refusesToJoin {
            say("+CWJAP:3\r\n")
            return result(dialect.generation == .v1 ? "FAIL" : "ERROR")
        }
        dialect.name = name
        dialect.hasJoined = true
        say("WIFI CONNECTED\r\n")
        say("WIFI GOT IP\r\n")
        result("OK")
    }

    // MARK: Links

    /// `link,type,host,port`.
    private func open(_ parameters: [String]) {
        guard let link = Int(parameters[0]), dialect.links.indices.contains(link), let port = UInt16(parameters[3]),
            parameters[1] == "TCP" || parameters[1] == "UDP"
        else { return result("ERROR") }
        guard dialect.hasJoined else {
            say("no ip\r\n")
            return result("ERROR")
        }
        guard dialect.links[link] == nil else {
            say("ALREADY CONNECTED\r\n")
            return result("ERROR")
        }
        let isStream = parameters[1] == "TCP"
        guard let address = Self.resolve(parameters[2], port) else {
            say("DNS Fail\r\n")
            return result("ERROR")
        }
        let kind = isStream ? SOCK_STREAM : SOCK_DGRAM
        let descriptor = socket(AF_INET, Int32(kind.rawValue), 0)
        var raw = address
        // While it waits, which on loopback is not noticeable, nothing else is done: the modems do so too.
        var limit = timeval(tv_sec: 10, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        let outcome = withUnsafePointer(to: &raw) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard outcome == 0, !faults.refusesToOpen else {
            close(descriptor)
            if dialect.generation == .v1 { say("\(link),CLOSED\r\n") }
            return result("ERROR")
        }
        _ = clinux_set_nonblocking(descriptor)
        var on: Int32 = 1
        setsockopt(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &on, 4)
        dialect.links[link] = Dialect.Link(descriptor: descriptor, isStream: isStream, isConnecting: false)
        shared.withLock { $0.statistics.linksOpened += 1 }
        say("\(link),CONNECT\r\n")
        result("OK")
    }

    private func resolve(_ name: String) {
        guard let address = Self.resolve(name, 0) else {
            say("DNS Fail\r\n")
            return result("ERROR")
        }
        let value = UInt32(bigEndian: address.sin_addr.s_addr)
        let text = "\(value >> 24).\(value >> 16 & 255).\(value >> 8 & 255).\(value & 255)"
        say(dialect.generation == .v1 ? "+CIPDOMAIN:\(text)\r\n" : "+CIPDOMAIN:\"\(text)\"\r\n")
        result("OK")
    }

    static func resolve(_ name: String, _ port: UInt16) -> sockaddr_in? {
        var hints = addrinfo()
        hints.ai_family = AF_INET
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var list: UnsafeMutablePointer<addrinfo>?
        guard getaddrinfo(name, String(port), &hints, &list) == 0, let first = list, let raw = first.pointee.ai_addr
        else {
            return nil
        }
        defer { freeaddrinfo(list) }
        return UnsafeRawPointer(raw).load(as: sockaddr_in.self)
    }

    func closeLink(_ link: Int) {
        if let descriptor = dialect.links[link]?.descriptor, descriptor >= 0 { close(descriptor) }
        dialect.links[link] = nil
    }

    private func closeByHost(_ text: String) {
        guard let link = Int(text) else { return result("ERROR") }
        if link == Dialect.linkCount {
            for index in dialect.links.indices where dialect.links[index] != nil {
                closeLink(index)
                say("\(index),CLOSED\r\n")
            }
            return result("OK")
        }
        guard dialect.links.indices.contains(link), dialect.links[link] != nil else {
            if dialect.generation == .v1 { say("UNLINK\r\n") }
            return result("ERROR")
        }
        closeLink(link)
        say("\(link),CLOSED\r\n")
        result("OK")
    }

    // MARK: Data to the network

    private func startSend(_ parameters: [String]) {
        guard let link = Int(parameters[0]), let count = Int(parameters[1]), count > 0, count <= dialect.maximumSend
        else {
            return result("ERROR")
        }
        guard dialect.links.indices.contains(link), let state = dialect.links[link], !state.hasEnded else {
            say("link is not valid\r\n")
            return result("ERROR")
        }
        result("OK")
        say(dialect.generation == .v1 ? "> " : "\r\n>", afterMilliseconds: faults.promptDelayMilliseconds)
        dialect.payload = (link, count, [])
    }

    func finishSend(_ link: Int, _ bytes: [UInt8]) {
        sendCount += 1
        say("\r\nRecv \(bytes.count) bytes\r\n")
        if faults.failsSendEvery > 0, sendCount % faults.failsSendEvery == 0 { return result("SEND FAIL") }
        guard dialect.links[link] != nil else { return result("ERROR") }
        dialect.links[link]?.outgoing += bytes
        flush(link)
        result("SEND OK")
    }

    private func flush(_ link: Int) {
        guard let state = dialect.links[link], !state.outgoing.isEmpty else { return }
        let count = send(state.descriptor, state.outgoing, state.outgoing.count, Int32(MSG_NOSIGNAL))
        if count > 0 { dialect.links[link]?.outgoing.removeFirst(count) }
    }

    // MARK: Data from the network

    func serveLink(_ link: Int) {
        guard let state = dialect.links[link] else { return }
        flush(link)
        if !state.hasEnded, state.buffer.count < Dialect.linkBufferBytes { receive(link) }
        guard let state = dialect.links[link] else { return }
        if !state.buffer.isEmpty {
            if !dialect.passive {
                push(link)
            } else if !state.wasNotified {
                dialect.links[link]?.wasNotified = true
                say("\r\n+IPD,\(link),\(state.buffer.count)\r\n")
            }
        }
        if let state = dialect.links[link], state.hasEnded, state.buffer.isEmpty {
            closeLink(link)
            say("\(link),CLOSED\r\n")
        }
    }

    private func receive(_ link: Int) {
        guard let state = dialect.links[link] else { return }
        let room = state.isStream ? Dialect.linkBufferBytes - state.buffer.count : 2_048
        var chunk = [UInt8](repeating: 0, count: room)
        let count = recv(state.descriptor, &chunk, room, Int32(MSG_DONTWAIT))
        if count > 0 {
            dialect.links[link]?.buffer += chunk[..<count]
            if !state.isStream { dialect.links[link]?.boundaries.append(count) }
        } else if count == 0 && state.isStream || count < 0 && clinux_errno() != EAGAIN && clinux_errno() != EINTR {
            dialect.links[link]?.hasEnded = true
        }
    }

    private func push(_ link: Int) {
        while let state = dialect.links[link], !state.buffer.isEmpty {
            let count = state.boundaries.first ?? min(state.buffer.count, 1_460)
            let data = Array(state.buffer.prefix(count))
            dialect.links[link]?.buffer.removeFirst(count)
            if !state.boundaries.isEmpty { dialect.links[link]?.boundaries.removeFirst() }
            say(Array("\r\n+IPD,\(link),\(count):".utf8) + data)
        }
    }

    private func readData(_ parameters: [String]) {
        guard let link = Int(parameters[0]), let wanted = Int(parameters[1]), wanted > 0,
            dialect.links.indices.contains(link), let state = dialect.links[link], !state.buffer.isEmpty
        else { return result("ERROR") }
        let count = min(wanted, state.boundaries.first ?? state.buffer.count, 2_048)
        let data = Array(state.buffer.prefix(count))
        dialect.links[link]?.buffer.removeFirst(state.boundaries.first ?? count)
        if !state.boundaries.isEmpty { dialect.links[link]?.boundaries.removeFirst() }
        // The notice is given again once the buffer was empty.
        if dialect.links[link]?.buffer.isEmpty == true { dialect.links[link]?.wasNotified = false }
        let head = dialect.generation == .v1 ? "+CIPRECVDATA,\(count):" : "+CIPRECVDATA:\(count),"
        say(Array(head.utf8) + data)
        result("OK", before: "\r\n")
    }
}
