internal import Kernel
internal import SAL

extension Modem {
    // MARK: Setting up

    func startSetUp() {
        operation = .none
        mustSynchronize = false
        synchronizeTries = 0
        retryAt = nil
        nextStep = .attention
        change(to: .attaching)
    }

    /// The modem has restarted by itself, or was told to: what it knew is gone.
    func restarted() {
        if case .setUp(.reset) = operation {
            // That is what the command was for; it has answered before.
            return
        }
        engine.reset()
        endAllSockets(.deviceRestarted)
        startSetUp()
    }

    func endAllSockets(_ error: SocketError) {
        for index in links.indices {
            if let socket = links[index].socket {
                socket.end(error)
                socket.untaken = []
                ended.append(socket)
            }
            links[index] = Link()
        }
        askForEndOfTurn()
    }

    private func failSetUp(_ error: ATError) {
        setUpTries += 1
        change(to: .failed(error))
        // 1 s, then twice as long each time, up to 32 s.
        retryAt = loop.now + .seconds(1 << min(setUpTries - 1, 5))
        setTimer()
    }

    private func setUp(_ step: Step) {
        operation = .setUp(step)
        var command: [UInt8] = []
        var timeout = Duration.seconds(5)
        switch step {
        case .attention:
            if synchronizeTries == 2 {
                // An earlier run may have left the modem in the middle of a payload: it is given what it waits for.
                command = [UInt8](repeating: 0x20, count: configuration.sendChunkBytes)
                command.append("\r\n")
            }
            command.append("AT\r\n")
            timeout = .seconds(1)
        // Links may be left from an earlier run; five means all of them. With none open it is refused, which is as good.
        case .closeAll: command.append("AT+CIPCLOSE=5\r\n")
        case .reset: command.append("AT+RST\r\n")
        case .echoOff: command.append("ATE0\r\n")
        case .stationMode: command.append("AT+CWMODE=1\r\n")
        case .join:
            guard let (name, password) = configuration.accessPoint else {
                // There is no answer to wait for, which would start the next step.
                stepFinished(step, nil)
                return askForEndOfTurn()
            }
            command.append("AT+CWJAP=")
            ESPAT.append(string: name, to: &command)
            command.append(UInt8(ascii: ","))
            ESPAT.append(string: password, to: &command)
            command.append("\r\n")
            timeout = .seconds(60)
        case .multiplex: command.append("AT+CIPMUX=1\r\n")
        // Firmware 3.3 and later has it per link: 5 stands for all.
        case .passiveReception: command.append(triesRecvType ? "AT+CIPRECVTYPE=5,1\r\n" : "AT+CIPRECVMODE=1\r\n")
        }
        send(command, timeout: timeout)
    }

    private func stepFinished(_ step: Step, _ error: ATError?) {
        operation = .none
        switch (step, error) {
        case (.attention, .some):
            synchronizeTries += 1
            if synchronizeTries >= 5 {
                synchronizeTries = 0
                failSetUp(.timedOut)
            }
            return
        case (.attention, nil): nextStep = .closeAll
        case (.closeAll, _): nextStep = .echoOff
        case (.passiveReception, .some) where !triesRecvType:
            triesRecvType = true
            return
        case (.passiveReception, _):
            isPassive = error == nil
            triesRecvType = false
            nextStep = nil
            setUpTries = 0
            change(to: .attached)
        case (.reset, _):
            nextStep = .attention
        case (_, .some(let error)):
            nextStep = nil
            failSetUp(error)
        case (.echoOff, nil): nextStep = .stationMode
        case (.stationMode, nil): nextStep = .join
        case (.join, nil): nextStep = .multiplex
        case (.multiplex, nil): nextStep = .passiveReception
        }
    }

    // MARK: Choosing the next command

    func startNext() {
        if retryAt != nil { return }
        if let step = nextStep { return setUp(step) }
        if mustSynchronize {
            operation = .synchronize
            return send(command("AT\r\n"), timeout: .seconds(1))
        }
        guard state == .attached else { return }
        turn = (turn + 1) % links.count
        if let link = firstLink(where: { $0.mustClose }) { return startClose(link) }
        if let link = firstLink(where: {
            $0.mayHaveData && ($0.socket.map { $0.untaken.isEmpty && !$0.isClosing } ?? false)
        }) {
            return startRead(link)
        }
        if let link = firstLink(where: { $0.socket.map { $0.isOpen && !$0.outgoing.isEmpty } ?? false }) {
            return startWrite(link)
        }
        if !waiting.isEmpty, let link = firstLink(where: { $0.socket == nil && !$0.isOpen }) { return startOpen(link) }
        if wantsSignal {
            wantsSignal = false
            operation = .querySignal
            send(command("AT+CWJAP?\r\n"), timeout: .seconds(5))
        }
    }

    private func firstLink(where condition: (Link) -> Bool) -> Int? {
        for offset in links.indices where condition(links[(turn + offset) % links.count]) {
            return (turn + offset) % links.count
        }
        return nil
    }

    private func startOpen(_ link: Int) {
        let socket = waiting.removeFirst()
        links[link] = Link(socket: socket)
        operation = .open(link: link)
        openFailure = nil
        var command: [UInt8] = []
        command.append("AT+CIPSTART=")
        command.append(number: link)
        command.append(",\"TCP\",")
        ESPAT.append(string: socket.endpoint.host, to: &command)
        command.append(UInt8(ascii: ","))
        command.append(number: Int(socket.endpoint.port))
        command.append("\r\n")
        send(command, timeout: .seconds(75))
    }

    private func startRead(_ link: Int) {
        operation = .read(link: link)
        readCount = 0
        send(command("AT+CIPRECVDATA=", link, configuration.readChunkBytes), timeout: .seconds(5))
    }

    private func startWrite(_ link: Int) {
        let count = min(links[link].socket?.outgoing.count ?? 0, configuration.sendChunkBytes)
        operation = .write(link: link, count: count)
        send(command("AT+CIPSEND=", link, count), hasPayload: true, timeout: .seconds(5))
    }

    private func startClose(_ link: Int) {
        operation = .close(link: link)
        send(command("AT+CIPCLOSE=", link, nil), timeout: .seconds(10))
    }

    /// Bytes from a constant: a `String` would bring the tables of Unicode with it.
    private func command(_ text: StaticString) -> [UInt8] {
        var command: [UInt8] = []
        command.append(text)
        return command
    }

    private func command(_ name: StaticString, _ link: Int, _ count: Int?) -> [UInt8] {
        var command: [UInt8] = []
        command.append(name)
        command.append(number: link)
        if let count {
            command.append(UInt8(ascii: ","))
            command.append(number: count)
        }
        command.append("\r\n")
        return command
    }

    // MARK: Answers

    func finished(_ error: ATError?) {
        let operation = self.operation
        self.operation = .none
        if error == .timedOut {
            if case .setUp = operation {} else { mustSynchronize = true }
        }
        switch operation {
        case .none: break
        case .setUp(let step): stepFinished(step, error)
        case .open(let link): openFinished(link, error)
        case .read(let link):
            // A full read may have left more. One that brought nothing has emptied the link.
            links[link].mayHaveData = error == nil && readCount >= configuration.readChunkBytes
        case .write(let link, let count): writeFinished(link, count, error)
        case .close(let link):
            // Refused means that it is closed already. After a timeout nobody knows; it is tried again.
            if error == .timedOut { break }
            if let socket = links[link].socket {
                socket.end(socket.error)
                ended.append(socket)
            }
            links[link] = Link()
        case .querySignal: break
        case .synchronize:
            if error == nil {
                mustSynchronize = false
                synchronizeTries = 0
            } else {
                synchronizeTries += 1
                if synchronizeTries >= 3 {
                    // The modem no longer makes sense: it is restarted, and all its sockets with it.
                    endAllSockets(.deviceRestarted)
                    startSetUp()
                    nextStep = .reset
                }
            }
        }
        askForEndOfTurn()
    }

    private func openFinished(_ link: Int, _ error: ATError?) {
        guard let socket = links[link].socket else { return }
        if error == nil || openFailure == .closed {
            links[link].isOpen = true
            if socket.isEnded { return }
            socket.isOpen = true
            socket.handler?.opened()
        } else {
            // After a timeout the modem may still open it, so it is closed to be sure.
            links[link].isOpen = error == .timedOut
            socket.end(error == .timedOut ? .timedOut : openFailure ?? .refused(code: 0))
        }
    }

    private func writeFinished(_ link: Int, _ count: Int, _ error: ATError?) {
        guard let socket = links[link].socket else { return }
        if error == nil {
            socket.outgoing.removeFirst(min(count, socket.outgoing.count))
        } else if !links[link].isEnding {
            // Nobody knows how much of it was taken, so the stream cannot go on.
            socket.end(openFailure == .reset(code: 0) ? .reset(code: 0) : .streamDamaged(code: 0))
            links[link].mustClose = true
        }
    }

    func handleLine(_ line: [UInt8]) {
        switch ESPAT.notice(line) {
        case .opened, .networkUp, .other: break
        case .dataWaiting(let link): links[link].mayHaveData = links[link].socket != nil
        case .closed(let link):
            // While it opens or is closed the result says the same.
            if operation == .open(link: link) || operation == .close(link: link) { break }
            links[link].isEnding = true
            // Firmware 1.7 says so while data waits: it is asked for once more.
            if isPassive, links[link].socket != nil { links[link].mayHaveData = true }
        case .networkDown: for link in links { link.socket?.end(.noNetwork) }
        case .alreadyConnected: openFailure = .closed
        case .nameNotFound: openFailure = .nameNotFound
        case .noNetwork: openFailure = .noNetwork
        case .linkNotValid:
            if case .write(let link, _) = operation { links[link].isEnding = true }
        }
        if case .querySignal = operation, let dBm = ESPAT.signal(line) { signal = dBm }
    }

    /// Payload behind the header ``ATEngine/line``.
    func deliver(_ bytes: Span<UInt8>, isLast: Bool) {
        if let link = ESPAT.link(ofPayload: engine.line) {
            // Data for links that this run did not open is from an earlier one.
            if link < links.count { links[link].socket?.deliver(bytes) }
        } else if case .read(let link) = operation {
            readCount += bytes.count
            links[link].socket?.deliver(bytes)
        }
    }
}
