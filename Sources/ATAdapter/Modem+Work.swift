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
        request.kind = .none
        requestSocket = nil
        isPolling = false
        pollsAt = ATEngine.never
    }

    /// Ends the sockets that have a link; those that wait for one go on waiting.
    func endAllSockets(_ error: SocketError) {
        while let socket = firstSocket(where: { $0.phase != .waiting && $0.phase != .gone }) {
            socket.end(error)
            socket.phase = .gone
        }
    }

    func attachStepEnded(_ step: Int, _ error: ATError?) {
        // Meanwhile the bring-up may have begun anew.
        guard attachStep == step else { return }
        let isSearching = reason == .noNetwork
        if dialect.attachStepEnded(step, isSuccess: error == nil), !isSearching {
            attachStep = step + 1
            return
        }
        // 1 s, then twice as long each time, up to 32 s; a modem that looks for its network by itself is asked every second.
        attachStep = 0
        attachFailures = isSearching ? 0 : min(attachFailures + 1, 6)
        resumesAt = time(after: isSearching ? 1_000 : 500 << attachFailures)
        let problem = joinCode.map { ATError.joinFailed(code: $0) } ?? error
        if let problem, !isSearching { change(to: .failed(problem)) }
    }

    // MARK: The next command

    /// Starts the next command, if there is one and none is in flight.
    func startNext() {
        guard engine.isIdle else { return }
        if attachStep >= 0 {
            guard isDue(resumesAt) else { return }
            if start(ATRequest(kind: .attach, count: attachStep), nil) { return change(to: .searching) }
            attachStep = -1
            attachFailures = 0
            change(to: .attached)
        }
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
        for offset in 1...dialect.linkCount {
            guard let socket = socket(at: (lastLink &+ offset) % dialect.linkCount), socket.phase == .open else {
                continue
            }
            var request = ATRequest(kind: .read, count: configuration.readChunkBytes)
            if work == 0 {
                guard dialect.isPassive, socket.hasData, socket.isReceiving, socket.untaken.isEmpty else { continue }
                readBytes = 0
            } else {
                request = ATRequest(kind: .send, count: socket.chunkBytes)
                if request.count == 0 || socket.isPeerDone { continue }
            }
            lastLink = socket.link
            return start(request, socket)
        }
        return false
    }

    private func startOpening() -> Bool {
        guard let socket = firstSocket(where: { $0.phase == .waiting }) else { return false }
        if socket.needsAddress { return start(ATRequest(kind: .resolve), socket) }
        // The number that was used the longest time ago comes first.
        var isResting = false
        for offset in 1...dialect.linkCount {
            let link = (lastLink &+ offset) % dialect.linkCount
            if let other = self.socket(at: link) {
                if other.phase == .resting { isResting = true }
                continue
            }
            socket.phase = .opening
            socket.link = link
            lastLink = link
            return start(ATRequest(kind: socket.isDatagram ? .openDatagrams : .openStream), socket)
        }
        return isResting && start(ATRequest(kind: .rest), nil)
    }

    private func startQuery() -> Bool {
        if let user = firstUserCommand {
            answer = []
            start(ATRequest(kind: .user), nil, user.command)
            return true
        }
        if wantsSignal {
            wantsSignal = false
            return start(ATRequest(kind: .signal), nil)
        }
        guard isDue(pollsAt) else { return false }
        pollsAt = ATEngine.never
        return start(ATRequest(kind: .lengths), nil)
    }

    /// Starts a command; returns whether the dialect has one.
    private func start(_ request: ATRequest, _ socket: ModemSocket?) -> Bool {
        var request = request
        request.link = socket?.link ?? 0
        guard
            let command = dialect.command(
                for: request,
                host: socket?.host ?? [],
                port: socket?.port ?? 0,
                configuration: configuration
            )
        else { return false }
        start(request, socket, command)
        return true
    }

    private func start(_ request: ATRequest, _ socket: ModemSocket?, _ command: ATCommand) {
        self.request = request
        requestSocket = socket
        reason = .none
        joinCode = nil
        engine.start(command, at: loop.now)
    }
}
