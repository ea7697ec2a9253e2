internal import Kernel
internal import SAL

/// What follows from what the modem says.
extension Modem {
    func handle(_ event: ATEvent, in bytes: Span<UInt8>) {
        switch event {
        case .line: handleLine()
        case .payload(let start, let count): deliver(bytes.extracting(start..<start + count))
        case .prompt: sendPayload()
        case .finished(let error): finish(error)
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

    private func deviceRestarted() {
        engine.counters.restarts += 1
        loseDevice()
        attachStep = 0
        resumesAt = .zero
        change(to: .searching)
    }

    private func sendPayload() {
        guard let socket = requestSocket else { return }
        let count = request.count
        let now = loop.now
        if socket.isEnded {
            // The modem waits for as many bytes, although the owner has gone; the link is closed behind them.
            let filler = [UInt8](repeating: UInt8(ascii: "\r"), count: count)
            engine.send(payload: filler.span, at: now)
        } else {
            let head = socket.headBytes
            socket.outgoing.withSpan { engine.send(payload: $0.extracting(head..<head + count), at: now) }
        }
    }

    // MARK: Lines

    private func handleLine() {
        let line = engine.line
        switch dialect.notice(line.span) {
        case .unknown:
            guard request.kind == .user else {
                engine.counters.unknownLines += 1
                return
            }
            if answer.count + line.count < configuration.lineBytes {
                answer += line
                answer.append(UInt8(ascii: "\n"))
            }
        case .ignored: break
        case .closed(let link): peerClosed(link)
        case .dataWaits(let link): socket(at: link)?.hasData = true
        case .lengths(var position):
            for link in 0..<dialect.linkCount {
                guard let length = line.span.number(at: &position) else { return }
                position += 1
                if length > 0 { socket(at: link)?.hasData = true }
                // There was no notice of it.
                if length < 0 { peerClosed(link) }
            }
        case .networkLost:
            guard state == .attached else { return }
            endAllSockets(.noNetwork)
            attachStep = 0
            change(to: .searching)
        case .restarted: handle(.restarted, in: line.span)
        case .address(let start, let end):
            guard request.kind == .resolve, start <= end else { return }
            requestSocket?.host = [UInt8](copying: line.span.extracting(start..<end))
        case .signal(let value): signal = value
        case .reason(let reason): self.reason = reason
        case .joinFailed(let code): joinCode = Int32(truncatingIfNeeded: code)
        }
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
        let isAnswer = engine.payloadLink < 0
        if isAnswer { readBytes += bytes.count }
        guard let socket = isAnswer ? requestSocket : socket(at: engine.payloadLink), socket.isReceiving else {
            engine.counters.droppedBytes += bytes.count
            return
        }
        socket.deliver(bytes, isLast: engine.payloadLeft == 0)
    }

    // MARK: Results

    private func finish(_ error: ATError?) {
        let request = self.request
        let socket = requestSocket
        self.request.kind = .none
        requestSocket = nil
        finishedSerial = engine.serial
        switch request.kind {
        case .attach: attachStepEnded(request.count, error)
        case .user: finishUserCommand(error.map { .failure($0) } ?? .success(answer))
        case .lengths: isPolling = false
        case .signal, .rest, .none: break
        case .openStream, .openDatagrams, .send, .read, .close, .resolve:
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
        case .openStream, .openDatagrams: openEnded(socket, error)
        case .send: sendEnded(socket, request.count, error)
        case .read:
            // A full read may have left something, and so may any after the peer's end, or of datagrams, which come one by
            // one; a refused one had nothing.
            let isLast = readBytes < request.count && !socket.isPeerDone && !socket.isDatagram
            if error != nil || isLast { socket.hasData = false }
            if error == .timedOut { socket.end(.streamDamaged(code: 0)) }
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
            } else if socket.needsAddress {
                socket.end(.nameNotFound)
            }
        case .lengths, .signal, .rest, .attach, .user, .none: break
        }
    }

    private func openEnded(_ socket: ModemSocket, _ error: ATError?) {
        if error == nil {
            // Its owner may have gone meanwhile.
            socket.phase = socket.isEnded ? .closing : .open
            socket.hasData = dialect.isPassive && socket.isPeerDone
            if !socket.isEnded { socket.tellOpened() }
            return
        }
        socket.isPeerDone = false
        socket.mustReopen = reason == .alreadyConnected
        if socket.mustReopen || error == .timedOut {
            // After a timeout it may be half open.
            socket.phase = .closing
        } else {
            rest(socket)
        }
        if socket.mustReopen { return }
        switch reason {
        case .nameNotFound: socket.end(.nameNotFound)
        case .noNetwork: socket.end(.noNetwork)
        case .none, .alreadyConnected, .linkNotValid: socket.end(error == .timedOut ? .timedOut : .refused(code: 0))
        }
    }

    private func sendEnded(_ socket: ModemSocket, _ count: Int, _ error: ATError?) {
        if error == nil || socket.isDatagram && error != .timedOut {
            // The owner may have gone meanwhile, and what it had sent.
            if !socket.isEnded { socket.outgoing.removeFirst(socket.headBytes + count) }
        } else if reason != .linkNotValid {
            socket.end(.streamDamaged(code: 0))
        }
        if reason == .linkNotValid {
            // The peer has closed. What it sent before is read first.
            socket.error = .reset(code: 0)
            peerClosed(socket.link)
        }
    }
}
