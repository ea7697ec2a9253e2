internal import Kernel
internal import SAL

/// What follows from what the modem says.
extension Modem {
    func handle(_ event: ATEvent, in bytes: Span<UInt8>) {
        switch event {
        case .line: handleLine()
        case .payload(let start, let count): deliver(bytes.extracting(start..<start + count))
        case .decoded:
            let decoded = engine.decoded
            deliver(decoded.span)
        case .whole: service?.payloadEnded(isWhole: true)
        case .prompt: sendPayload()
        case .finished(let error): finish(error)
        case .damaged where engine.payloadLink == ATHeader.ofService: service?.payloadEnded(isWhole: false)
        case .damaged where engine.payloadLink == ATHeader.ofNobody: lostPayload()
        case .damaged:
            let socket = engine.payloadLink < 0 ? requestSocket : socket(at: engine.payloadLink)
            if let socket, socket.phase == .open { socket.end(.streamDamaged(code: 0)) }
        case .recovered: break
        case .restarted:
            deviceRestarted()
            engine.resynchronize(at: loop.now)
        case .resetting: deviceRestarted()
        case .needsHardwareReset: if handler?.resetModem() == true { deviceRestarted() }
        case .failed: change(to: .failed(.notResponding))
        }
    }

    /// A payload that nobody can tell whose it was: that of the read in flight, or of any stream where they are pushed.
    private func lostPayload() {
        if request.kind == .read { return isReadDamaged = true }
        if dialect.isPassive { return }
        while let socket = firstSocket(where: { $0.phase == .open && !$0.isDatagram && !$0.isEnded }) {
            socket.end(.streamDamaged(code: 0))
        }
    }

    private func deviceRestarted() {
        engine.counters.restarts += 1
        loseDevice()
        attachStep = 0
        resumesAt = .zero
        change(to: .searching)
    }

    private func sendPayload() {
        let now = loop.now
        if request.kind == .service { return sendServicePayload() }
        #if !hasFeature(Embedded)
        if request.kind == .transparent {
            request.kind = .none
            pipe?.prompted()
            return
        }
        #endif
        guard let socket = requestSocket else { return }
        let count = request.count
        if socket.isEnded {
            // The modem waits for as many bytes, although the owner has gone; the link is closed behind them.
            let filler = [UInt8](repeating: UInt8(ascii: "\r"), count: count)
            engine.send(payload: filler.span, at: now)
        } else {
            wasGivenPayload = true
            socket.withChunk(count) { engine.send(payload: $0, at: now) }
        }
    }

    private func sendServicePayload() {
        let count = engine.command.payloadBytes
        var payload = service?.takePayload() ?? []
        if payload.count != count { payload = [UInt8](repeating: UInt8(ascii: "\r"), count: count) }
        engine.send(payload: payload.span, at: loop.now)
    }

    // MARK: Lines

    private func handleLine() {
        let line = engine.line
        #if !hasFeature(Embedded)
        trace?(.modem(line))
        #endif
        var notice = dialect.notice(line.span, during: request)
        if case .unknown = notice, let service {
            switch service.heard(line.span) {
            case .unknown: break
            case .ignored: notice = .ignored
            case .done: notice = .done
            case .failed: notice = .failed
            }
        }
        if case .unknown = notice {
            if request.kind != .user { engine.counters.unknownLines += 1 }
            if engine.isGlued { dataWasLonger() }
        }
        if request.kind == .user, isAnswer(line, notice), answer.count + line.count < configuration.lineBytes {
            answer += line
            answer.append(UInt8(ascii: "\n"))
        }
        handle(notice, line.span)
    }

    /// The last data had more bytes than announced.
    private func dataWasLonger() {
        if engine.payloadLink == ATHeader.ofRead {
            isReadDamaged = true
        } else if let socket = socket(at: engine.payloadLink), socket.phase == .open {
            socket.end(.streamDamaged(code: 0))
        }
    }

    /// Whether a line belongs to the answer of a user's command: it means nothing else, or begins with the command's own name.
    private func isAnswer(_ line: [UInt8], _ notice: ATNotice) -> Bool {
        if case .unknown = notice { return true }
        // Behind `AT`, and up to `=`, `?` or the end.
        let name = engine.command.line.dropFirst(2).prefix { $0 != UInt8(ascii: "=") && $0 != UInt8(ascii: "?") }
        return !name.isEmpty && line.starts(with: name) && line.dropFirst(name.count).first == UInt8(ascii: ":")
    }

    private func handle(_ notice: ATNotice, _ line: Span<UInt8>) {
        switch notice {
        case .unknown, .ignored: break
        case .done: commandEnded(nil)
        case .failed: commandEnded(request.kind == .send ? .sendFailed : .refused)
        case .accepted(let count):
            acceptedBytes = count
            if engine.command.ending != .ok { commandEnded(nil) }
        case .link(let link): modemChose(link)
        case .opened(let link), .openFailed(let link, _):
            guard let socket = socket(at: link), socket.phase == .opening else { return }
            socket.openNotice = notice
            if socket.opensUntil != nil { openEnded(socket, nil) }
        case .closed(let link): peerClosed(link)
        case .dataWaits(let link, let bytes):
            guard let socket = socket(at: link) else { return }
            socket.hasData = true
            socket.announcedBytes = bytes
        case .lengths(var position):
            for link in traits.links {
                guard let length = line.number(at: &position) else { return }
                position += 1
                if length > 0 { socket(at: link)?.hasData = true }
                // There was no notice of it.
                if length < 0 { peerClosed(link) }
            }
        case .states(var position):
            for link in traits.links {
                guard let state = line.number(at: &position) else { return }
                position += 1
                if state == 0, socket(at: link)?.phase == .open { peerClosed(link) }
            }
        case .free(var position):
            while let link = line.number(at: &position) { if socket(at: link)?.phase == .open { peerClosed(link) } }
        case .networkLost: lostNetwork()
        case .restarted: handle(.restarted, in: line)
        case .address(let range):
            guard request.kind == .resolve else { return }
            requestSocket?.host = [UInt8](copying: line.extracting(range))
            if engine.command.ending != .ok { commandEnded(nil) }
        case .signal(let value): signal = value
        case .reason(let reason): self.reason = reason
        }
    }

    private func lostNetwork() {
        guard state == .attached else { return }
        endAllSockets(.noNetwork)
        attachStep = 0
        change(to: .searching)
    }

    private func commandEnded(_ error: ATError?) {
        let nothing: [UInt8] = []
        if let event = engine.notice(error) { handle(event, in: nothing.span) }
    }

    private func modemChose(_ link: Int) {
        guard request.kind == .open, let socket = requestSocket, socket.link < 0, traits.links.contains(link) else {
            return
        }
        // Whoever had the number has lost it.
        if let other = self.socket(at: link) {
            other.end(other.isPeerDone && !other.hasData ? other.error : .reset(code: 0))
            other.phase = .gone
        }
        socket.link = link
    }

    private func peerClosed(_ link: Int) {
        guard let socket = socket(at: link), socket.phase == .open || socket.phase == .opening else { return }
        socket.isPeerDone = true
        if socket.isClosing {
            socket.end(socket.outgoing.isEmpty ? nil : .reset(code: 0))
            rest(socket)
        } else {
            // What the modem still holds is read to its end.
            socket.hasData = dialect.isPassive
        }
    }

    private func deliver(_ bytes: Span<UInt8>) {
        if engine.payloadLink == ATHeader.ofService {
            guard let service else { return engine.counters.droppedBytes += bytes.count }
            let (header, total, left) = (engine.line, engine.payloadBytes, engine.payloadLeft)
            if service.received(bytes, behind: header.span, total: total, left: left) { commandEnded(nil) }
        } else if engine.payloadLink == ATHeader.ofRead {
            guard request.kind == .read else { return engine.counters.droppedBytes += bytes.count }
            // More than was asked for is none of it.
            if engine.payloadBytes > request.count { isReadDamaged = true }
            readSender = engine.payloadSender
            if !isReadDamaged { readBuffer.append(bytes) }
        } else if let socket = socket(at: engine.payloadLink) {
            deliver(bytes, to: socket, from: engine.payloadSender, isLast: engine.payloadLeft == 0)
        } else {
            engine.counters.droppedBytes += bytes.count
        }
    }

    private func deliver(_ bytes: Span<UInt8>, to socket: ModemSocket, from sender: SocketAddress?, isLast: Bool) {
        var isWanted = socket.isReceiving
        if let sender, socket.isDatagram, !socket.isPeer(sender) { isWanted = false }
        if isWanted { socket.deliver(bytes, isLast: isLast) } else { engine.counters.droppedBytes += bytes.count }
    }

    // MARK: Results

    private func finish(_ error: ATError?) {
        let request = self.request
        let socket = requestSocket
        self.request.kind = .none
        requestSocket = nil
        finishedSerial = engine.serial
        #if !hasFeature(Embedded)
        trace?(.result(error))
        #endif
        switch request.kind {
        case .attach: attachStepEnded(request.step, error)
        case .user: finishUserCommand(error.map { .failure($0) } ?? .success(answer))
        case .service: service?.commandEnded(error)
        case .transparent, .leave:
            #if !hasFeature(Embedded)
            pipe?.commandEnded(error)
            #endif
        case .poll: isPolling = false
        case .signal, .rest, .multiplex, .none: break
        case .rate:
            #if os(Linux)
            rateKeeper?.commandEnded(error)
            #endif
        case .open, .send, .read, .close, .resolve:
            if let socket { finish(request, socket, error) }
        }
    }

    func finishUserCommand(_ result: Result<[UInt8], ATError>) {
        guard let user = firstUserCommand else { return }
        firstUserCommand = user.next
        user.completion(result)
    }

    private func finish(_ request: ATRequest, _ socket: ModemSocket, _ error: ATError?) {
        switch request.kind {
        case .open: openEnded(socket, error)
        case .send: sendEnded(socket, request.count, error)
        case .read: readEnded(socket, request.count, error)
        case .close:
            // Without an answer it is asked for again.
            guard error != .timedOut else { return }
            if socket.mustReopen, !socket.isEnded {
                socket.mustReopen = false
                socket.phase = .waiting
            } else {
                rest(socket)
            }
        case .resolve:
            if error == .timedOut {
                socket.end(.timedOut)
            } else if socket.address == nil {
                socket.end(.nameNotFound)
            }
        case .poll, .signal, .rest, .attach, .user, .service, .rate, .transparent, .leave, .multiplex, .none: break
        }
    }

    private func readEnded(_ socket: ModemSocket, _ count: Int, _ error: ATError?) {
        socket.isReading = false
        let bytes = readBuffer
        readBuffer = []
        if isReadDamaged || error == .timedOut || error != nil && !bytes.isEmpty {
            return socket.end(.streamDamaged(code: 0))
        }
        switch error {
        case nil:
            // An empty answer is no empty datagram.
            if bytes.isEmpty { return }
            deliver(bytes.span, to: socket, from: readSender, isLast: true)
            // A full read may have left something, and so may any after the peer's end, or of datagrams, which come one by one.
            let isLast = bytes.count < count && !socket.isPeerDone && !socket.isDatagram && !traits.readsUntilEmpty
            if !isLast { socket.hasData = true }
        case .some(let error):
            if case .nothingWaits = reason { return }
            // What the peer has sent last may not have been read.
            if socket.isPeerDone, !error.isOfClosedLink { return socket.end(.streamDamaged(code: 0)) }
            // Else the next poll asks again.
            guard traits.refusesReadsOfClosedLinks, !socket.isPeerDone, error.isOfClosedLink else { return }
            // There was no notice of it.
            peerClosed(socket.link)
            socket.hasData = false
        }
    }

    /// A command of an opening has ended, or the notice has come that says how the opening ended.
    private func openEnded(_ socket: ModemSocket, _ error: ATError?) {
        guard socket.phase == .opening else { return }
        let error = engine.command.isOptional ? nil : error
        if error != nil || socket.link < 0 { return openFailed(socket, reason, error ?? .refused) }
        if case .openFailed(_, let reason)? = socket.openNotice { return openFailed(socket, reason, .refused) }
        if socket.isEnded {
            // Its owner has gone meanwhile.
            socket.phase = .closing
            return
        }
        if socket.opensUntil == nil {
            let command = engine.command
            socket.openStep += 1
            let request = ATRequest(
                kind: .open,
                isDatagram: socket.isDatagram,
                link: socket.link,
                step: socket.openStep
            )
            if template(for: request) != nil {
                socket.isStepDue = true
                return
            }
            if command.isDeferred, socket.openNotice == nil {
                socket.opensUntil = time(after: command.timeout)
                return
            }
        }
        socket.opensUntil = nil
        socket.phase = .open
        socket.hasData = dialect.isPassive && (socket.isPeerDone || traits.forgetsNotices)
        socket.tellOpened()
    }

    private func openFailed(_ socket: ModemSocket, _ reason: ATReason, _ error: ATError) {
        socket.isPeerDone = false
        // No peer refuses datagrams: a number, or a port of this side, was taken.
        if case .alreadyConnected = reason { socket.mustReopen = true }
        if socket.isDatagram, error != .timedOut { socket.mustReopen = true }
        // A modem that chooses the numbers has none to close.
        if socket.hasReopened || socket.link < 0 { socket.mustReopen = false }
        let hadBegun = socket.opensUntil != nil || socket.openNotice != nil || traits.choosesLinks
        socket.opensUntil = nil
        socket.hasReopened = socket.mustReopen
        if socket.link < 0 {
            socket.phase = .gone
        } else if socket.mustReopen || error == .timedOut || hadBegun {
            // It may be half open, or its number taken.
            socket.phase = .closing
        } else {
            rest(socket)
        }
        if socket.mustReopen { return }
        switch (reason, error) {
        case (.error(let error), _): socket.end(error)
        case (_, .timedOut): socket.end(.timedOut)
        case (_, .equipment(let code)): socket.end(.refused(code: code))
        default: socket.end(.refused(code: 0))
        }
        if error.isOfDetachedModem { lostNetwork() }
    }

    private func sendEnded(_ socket: ModemSocket, _ count: Int, _ error: ATError?) {
        // The owner may have gone meanwhile, and what it had sent.
        guard !socket.isEnded else { return }
        if error == nil || socket.isDatagram && error != .timedOut {
            let accepted = acceptedBytes ?? count
            if accepted < 0 { return linkBroke(socket) }
            if accepted == 0, error == nil, !socket.isDatagram { return resend(socket, isLimited: false) }
            socket.outgoing.removeFirst(socket.headBytes + (socket.isDatagram ? count : min(accepted, count)))
            socket.resends = 0
            if traits.forgetsNotices {
                // Asked after each, a modem with pauses around its commands would send a fifth less.
                socket.sendsSinceRead += 1
                if socket.outgoing.isEmpty || socket.sendsSinceRead >= 4 { socket.hasData = true }
            }
        } else if traits.repeatsFailedSends, error == .sendFailed {
            resend(socket, isLimited: false)
        } else if traits.repeatsRefusedSends, !wasGivenPayload, error != .timedOut {
            resend(socket, isLimited: true)
        } else if !wasGivenPayload || traits.sendsDigits, error != .timedOut {
            linkBroke(socket)
        } else {
            socket.end(.streamDamaged(code: 0))
        }
    }

    /// The modem has no such link any more. What the peer sent before is read first.
    private func linkBroke(_ socket: ModemSocket) {
        socket.error = .reset(code: 0)
        peerClosed(socket.link)
    }

    /// The modem has taken nothing, since its memory is full or the link is gone: reading tells. After 0.1 s, then after twice as long each time,
    /// up to 0.8 s, it is tried again: for ten minutes, or where the modem does not say why, for one.
    private func resend(_ socket: ModemSocket, isLimited: Bool) {
        socket.resendsAt = time(after: 100 << min(socket.resends, 3))
        socket.resends += 1
        socket.hasData = dialect.isPassive
        if isLimited {
            if socket.resends > 75 { linkBroke(socket) }
        } else if socket.resends > 750 {
            socket.end(.timedOut)
        }
    }
}

extension ATError {
    /// Whether a read that fails with it says that there is no such link: no reason, "operation not allowed", or Quectel's "socket closed".
    fileprivate var isOfClosedLink: Bool {
        switch self {
        case .refused: true
        case .equipment(let code): code == 3 || code == 567 || code == -1
        default: false
        }
    }

    /// Whether it says that the modem has lost its data connection (3GPP 27.007, 9.2: no network service, network timeout, no GPRS).
    fileprivate var isOfDetachedModem: Bool {
        switch self {
        case .equipment(let code): code == 30 || code == 31 || code == 107 || code == 148
        default: false
        }
    }
}
