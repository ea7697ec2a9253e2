internal import Kernel
internal import SAL

/// What the modem is asked to do, and when.
extension Modem {
    /// What a socket holds for its handler.
    var receiveLimit: Int { configuration.receiveBufferBytes }

    func socket(at link: Int) -> ModemSocket? {
        firstSocket { $0.link == link && $0.phase != .gone }
    }

    func firstSocket(where condition: (ModemSocket) -> Bool) -> ModemSocket? {
        var rest = firstSocket
        while let socket = rest {
            if condition(socket) { return socket }
            rest = socket.next
        }
        return nil
    }

    /// The link of `socket` was closed.
    func rest(_ socket: ModemSocket) {
        socket.phase = .resting
        socket.restsAfter = engine.serial
    }

    // MARK: The bring-up

    /// The modem is to be found and set up, whatever state it is in.
    func startOver() {
        attachStep = 0
        attachFailures = 0
        resumesAt = .zero
        engine.resynchronize(at: loop.now)
        change(to: .searching)
        askForEndOfTurn()
    }

    /// The modem has forgotten all that it was told.
    func loseDevice() {
        endAllSockets(.deviceRestarted)
        if request.kind == .user { finishUserCommand(.failure(.deviceRestarted)) }
        if request.kind == .service { service?.commandEnded(.deviceRestarted) }
        request.kind = .none
        requestSocket = nil
        isPolling = false
        pollsAt = ATEngine.never
    }

    /// Ends the sockets that have a link; those that wait for one go on waiting.
    func endAllSockets(_ error: SocketError) {
        #if !hasFeature(Embedded)
        pipe?.lineEnded(error)
        #endif
        while let socket = firstSocket(where: { $0.phase != .waiting && $0.phase != .gone }) {
            socket.end(error)
            socket.phase = .gone
        }
    }

    func attachStepEnded(_ step: Int, _ error: ATError?) {
        // Meanwhile the bring-up may have begun anew.
        guard attachStep == step else { return }
        switch dialect.attachStepEnded(step, error, isOptional: attachIsOptional) {
        case .next: attachStep = step + 1
        case .jump(let step, let milliseconds):
            attachFailures = 0
            attachStep = step
            resumesAt = time(after: milliseconds)
        case .failed(let error): attachFailed(error)
        }
    }

    /// The bring-up begins anew after 1 s, then after twice as long each time, up to 32 s.
    private func attachFailed(_ error: ATError) {
        attachStep = 0
        attachFailures = min(attachFailures + 1, 6)
        resumesAt = time(after: 500 << attachFailures)
        change(to: .failed(error))
    }

    // MARK: The next command

    /// Starts the next command, if there is one and none is in flight.
    func startNext() {
        guard engine.isIdle else { return }
        if attachStep >= 0 {
            guard isDue(resumesAt) else {
                // The modem answers, and is only left alone for a while.
                if attachStep > 0 || attachFailures > 0 { startUserCommand() }
                return
            }
            if startRate() { return }
            while template(for: ATRequest(kind: .attach, step: attachStep))?.utf8CodeUnitCount == 0 { attachStep += 1 }
            if start(ATRequest(kind: .attach, step: attachStep), nil) { return change(to: .searching) }
            attachStep = -1
            attachFailures = 0
            change(to: .attached)
        }
        #if !hasFeature(Embedded)
        if let pipe {
            _ = pipe.takeTurn()
            return
        }
        #endif
        if let socket = firstSocket(where: { $0.phase == .closing }) {
            _ = start(ATRequest(kind: .close), socket)
            return
        }
        // Reading, writing, opening and asking take turns, so that none of them waits for ever.
        for offset in 1...4 {
            let work = (lastWork &+ offset) & 3
            guard startWork(work) else { continue }
            lastWork = work
            return
        }
    }

    private func startWork(_ work: Int) -> Bool {
        if work == 2 { return startOpening() }
        if work == 3 { return startQuery() }
        for offset in 1...traits.links.count {
            guard let socket = socket(at: link(offset, after: lastLink)), socket.phase == .open else { continue }
            var request = ATRequest(kind: .read, isDatagram: socket.isDatagram)
            if work == 0 {
                guard dialect.isPassive, socket.hasData, socket.isReceiving, socket.untaken.isEmpty else { continue }
                // Of a datagram the modem may drop what is not read.
                request.count = socket.isDatagram ? max(traits.readBytes, socket.announcedBytes) : streamReadBytes
                socket.announcedBytes = 0
                readBuffer = []
                isReadDamaged = false
                socket.hasData = false
                socket.sendsSinceRead = 0
                socket.isReading = true
            } else {
                request.kind = .send
                request.count = socket.chunkBytes
                if request.count == 0 || socket.isPeerDone || !isDue(socket.resendsAt) { continue }
                wasGivenPayload = traits.sendsDigits
                acceptedBytes = nil
            }
            lastLink = socket.link
            return start(request, socket)
        }
        return false
    }

    private var streamReadBytes: Int { min(traits.readBytes, configuration.readChunkBytes) }

    /// The link `offset` places behind `last`.
    private func link(_ offset: Int, after last: Int) -> Int {
        let first = traits.links.lowerBound
        return first + (last - first + offset) % traits.links.count
    }

    private func startOpening() -> Bool {
        if let socket = firstSocket(where: { $0.isStepDue && $0.phase == .opening }) { return startStep(socket) }
        guard let socket = firstSocket(where: { $0.phase == .waiting }) else { return false }
        if socket.needsAddress { return start(ATRequest(kind: .resolve), socket) }
        guard socket.wantsLink else {
            socket.end(nil)
            return startOpening()
        }
        (socket.openStep, socket.openNotice, socket.opensUntil) = (0, nil, nil)
        if traits.choosesLinks {
            guard traits.links.contains(where: { self.socket(at: $0) == nil }) else { return false }
            // The modem may give the number of a link that its peer has closed to another one: that is read to its end first.
            if firstSocket(where: { $0.isPeerDone && $0.hasData && $0.isReceiving && $0.untaken.isEmpty }) != nil {
                return false
            }
            socket.link = -1
            return startStep(socket)
        }
        // The number that was used the longest time ago comes first.
        var isResting = false
        for offset in 1...traits.links.count {
            let link = link(offset, after: lastLink)
            if let other = self.socket(at: link) {
                if other.phase == .resting { isResting = true }
                continue
            }
            socket.link = link
            lastLink = link
            return startStep(socket)
        }
        return isResting && start(ATRequest(kind: .rest), nil)
    }

    private func startStep(_ socket: ModemSocket) -> Bool {
        socket.isStepDue = false
        socket.phase = .opening
        return start(openRequest(socket), socket)
    }

    private func openRequest(_ socket: ModemSocket) -> ATRequest {
        var request = ATRequest(kind: .open, isDatagram: socket.isDatagram, step: socket.openStep)
        // Another one each time: it goes on with each millisecond or so, without a division.
        request.localPort = 49_152 + Int(truncatingIfNeeded: loop.now.attoseconds >> 50) & 0x3FFF
        return request
    }

    private func startQuery() -> Bool {
        if startUserCommand() { return true }
        if wantsSignal {
            wantsSignal = false
            return start(ATRequest(kind: .signal), nil)
        }
        return startPoll() || service?.takeTurn() == true
    }

    /// Starts the command that changes the rate of the line, if that is to be done now: echo is off, and no socket is open.
    private func startRate() -> Bool {
        #if os(Linux)
        guard attachStep > 0, let line = rateKeeper?.nextCommand() else { return false }
        start(ATRequest(kind: .rate), nil, ATCommand(line: line))
        return true
        #else
        return false
        #endif
    }

    @discardableResult
    private func startUserCommand() -> Bool {
        guard let user = firstUserCommand else { return false }
        answer = []
        start(ATRequest(kind: .user), nil, user.command)
        return true
    }

    /// Starts a command of the service.
    func start(service command: ATCommand) { start(ATRequest(kind: .service), nil, command) }

    private func startPoll() -> Bool {
        guard isDue(pollsAt) else { return false }
        pollsAt = ATEngine.never
        if traits.readsUntilEmpty {
            var rest = firstSocket
            while let socket = rest {
                if socket.phase == .open { socket.hasData = dialect.isPassive }
                rest = socket.next
            }
        }
        pollStep ^= 1
        if start(ATRequest(kind: .poll, step: pollStep), traits.pollsEachLink ? nextPolled() : nil) { return true }
        isPolling = false
        askForEndOfTurn()
        return false
    }

    /// The socket whose turn it is to be polled.
    private func nextPolled() -> ModemSocket? {
        for offset in 1...traits.links.count {
            guard let socket = socket(at: link(offset, after: lastPolled)), socket.phase == .open else { continue }
            lastPolled = socket.link
            return socket
        }
        return nil
    }

    func template(for request: ATRequest) -> StaticString? {
        request.kind == .rest ? "2!AT" : dialect.template(for: request, configuration)
    }

    #if !hasFeature(Embedded)
    /// Starts a command of a ``pipe``; returns whether the dialect has one.
    func start(_ request: ATRequest, _ endpoint: Endpoint) -> Bool {
        guard let template = template(for: request) else { return false }
        let command = ATCommand(
            template: template,
            request: request,
            host: endpoint.host,
            port: endpoint.port,
            escaping: traits.hasEscapes,
            configuration: configuration
        )
        start(request, nil, command)
        return true
    }
    #endif

    /// Starts a command; returns whether the dialect has one.
    private func start(_ request: ATRequest, _ socket: ModemSocket?) -> Bool {
        var request = request
        request.link = socket?.link ?? 0
        guard let template = template(for: request) else { return false }
        var command = ATCommand(
            template: template,
            request: request,
            host: socket?.host ?? [],
            port: socket?.port ?? 0,
            escaping: traits.hasEscapes,
            configuration: configuration
        )
        if request.kind == .attach {
            attachIsOptional = command.isOptional
            if let problem = command.problem(maximumBytes: traits.commandBytes) {
                attachFailed(problem)
                return true
            }
        } else if request.kind == .send, let socket {
            if traits.sendsDigits {
                socket.withChunk(request.count) { command.line.append(hexadecimal: $0) }
            } else {
                command.payloadBytes = request.count
            }
        }
        start(request, socket, command)
        return true
    }

    private func start(_ request: ATRequest, _ socket: ModemSocket?, _ command: ATCommand) {
        self.request = request
        requestSocket = socket
        reason = .none
        #if !hasFeature(Embedded)
        trace(command)
        #endif
        var wakes = false
        if let silence = configuration.wakesAfter { wakes = loop.now - lastActivity >= silence }
        engine.start(command, at: loop.now, wakes: wakes)
    }
}
