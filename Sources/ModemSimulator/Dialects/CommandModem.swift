/// What all modems that take command lines have in common: one command is under way at a time, a prompt asks for a payload of a known
/// length, and the faults of commands and answers.
class CommandModem: Dialect {
    /// What became of a payload.
    enum Taken: Equatable {
        /// So many bytes are on their way.
        case bytes(Int)
        /// Nothing was taken; it may be tried again.
        case nothing
        /// The link is gone.
        case gone
    }

    unowned let worker: Worker
    /// The channel of the multiplexer that it speaks on.
    var channel = 1
    var echo = true
    /// A command is under way.
    fileprivate(set) var isExecuting = false
    private var payload: (count: Int, bytes: [UInt8], body: ([UInt8]) -> Void)?
    /// Whether what there is of a payload ends it early, and how often one was asked for.
    private var endsPayload: ([UInt8]) -> Bool = { _ in false }
    private var payloadSerial = 0
    private var isDown = false
    /// The link that the line carries the data of.
    var dataMode: DataMode?
    /// Who waits for the opening of a link.
    private var openings: [Int: (serial: Int, body: (Bool) -> Void)] = [:]

    init(_ worker: Worker) { self.worker = worker }

    var sockets: Sockets { worker.sockets }
    var faults: Faults { worker.faults }

    // MARK: What families define

    /// What ends a command line.
    var lineEnd: UInt8 { 0x0D }
    /// The longest command line.
    var maximumLine: Int { 1_024 }
    /// Whether an escape character instead of a payload ends the wait for it.
    var escapeEndsPayload: Bool { true }
    /// Lines that can come at any time and change nothing.
    var idleNotices: [String] { [] }

    func powerUp(hasBanner: Bool) {}

    func powerDown() {
        isDown = true
        payload = nil
        openings = [:]
    }

    func echoed(_ line: String) -> String { line + "\r" }
    /// Executes a command line. Its last act is a call of ``finish(_:)``, now or later.
    func execute(_ line: String) { finish() }
    /// What refuses a command since another is under way.
    var busyAnswer: String { "" }
    /// What a command answers that fails with ``Faults/errorCode``.
    var failureAnswer: String { "" }
    /// Data waits on `link`.
    func dataWaits(_ link: Int) {}
    /// The peer has closed `link`, and the host was not told.
    func linkEnded(_ link: Int) {}
    /// Loses an open link, with or without telling the host.
    func cutLink(_ link: Int, hasNotice: Bool) {}
    func loseContext() {}
    func loseMQTT(hasNotice: Bool) {}
    /// The peer of a link has closed it whose data the line carries; returns whether the host is told.
    func tellsEndOfData(_ link: Int) -> Bool { true }
    /// Whether what is not for a link has a way to the network.
    var hasNetwork: Bool { false }

    // MARK: Input

    func receive(_ input: inout [UInt8]) {
        while !input.isEmpty, !isDown {
            if dataMode != nil { return takeData(&input) }
            if payload != nil {
                guard takePayload(&input) else { return }
            } else if isExecuting, faults.overlap == .queue {
                return
            } else if let line = takeLine(&input) {
                begin(line)
            } else {
                return
            }
        }
    }

    /// The next command line that is not empty, if it is complete.
    private func takeLine(_ input: inout [UInt8]) -> String? {
        while let end = input.firstIndex(of: lineEnd) {
            let isTooLong = end > maximumLine
            // What stands before `AT` and is no text is noise (V.250, 5.2.1).
            let text = input[..<end].filter { $0 != 0x0A && $0 != 0x0D && $0 != 0x1B }.drop { $0 < 0x21 || $0 > 0x7E }
            input.removeFirst(end + 1)
            if isTooLong {
                say("\r\nERROR\r\n")
            } else if !text.isEmpty {
                return String(decoding: text, as: UTF8.self)
            }
        }
        // What no command can be is dropped, so that memory stays bounded.
        if input.count > 2 * maximumLine { input.removeFirst(input.count - maximumLine - 1) }
        return nil
    }

    private func begin(_ line: String) {
        worker.note("> ", Array(line.utf8))
        worker.count(\.commands)
        if isExecuting {
            if faults.overlap == .busy { say(busyAnswer) }
            return
        }
        if worker.happens(\.restartsEvery) { return worker.restart(hasBanner: !faults.restartsSilently) }
        if echo || faults.echoIsStuck { say(echoed(line)) }
        insertNotices()
        if worker.happens(\.busyEvery) { return say(busyAnswer) }
        isExecuting = true
        if worker.happens(\.failsCommandEvery) {
            finish(Array(failureAnswer.utf8))
        } else {
            execute(line)
        }
        if worker.happens(\.losesContextEvery) { loseContext() }
        if worker.happens(\.deafEvery) { worker.goDeaf(milliseconds: faults.deafMilliseconds) }
    }

    /// False if more is needed.
    private func takePayload(_ input: inout [UInt8]) -> Bool {
        guard var due = payload else { return true }
        let count = min(due.count - due.bytes.count, input.count)
        due.bytes += input[..<count]
        input.removeFirst(count)
        guard due.bytes.count == due.count else {
            payload = due
            if escapeEndsPayload, due.bytes == [0x1B] { watchEscape() }
            guard endsPayload(due.bytes) else { return false }
            payload = nil
            due.body(due.bytes)
            return true
        }
        payload = nil
        due.body(due.bytes)
        return true
    }

    /// An escape with nothing behind it was not meant as payload.
    private func watchEscape() {
        worker.after(milliseconds: 300) { [self] in
            guard payload?.bytes == [0x1B] else { return }
            payload = nil
            finish(Array("\r\nERROR\r\n".utf8))
        }
    }

    // MARK: Output

    func put(_ bytes: [UInt8], afterMilliseconds delay: Int = 0) {
        worker.send(bytes, on: channel, afterMilliseconds: delay)
    }

    func say(_ text: String) { put(Array(text.utf8)) }

    /// Ends the command under way, with its final result if it has one. Late or lost, if the faults say so.
    func finish(_ result: [UInt8] = []) {
        insertNotices()
        let delay = faults.resultDelayMilliseconds
        if result.isEmpty || worker.happens(\.losesResultEvery) {
            isExecuting = false
        } else {
            put(result, afterMilliseconds: delay)
            if delay > 0 {
                worker.after(milliseconds: delay) { [self] in isExecuting = false }
            } else {
                isExecuting = false
            }
        }
        if payload == nil { insertNotices() }
    }

    /// What may stand between any two complete outputs.
    func insertNotices() {
        if faults.insertsNotices, Bool.random(using: &worker.randomness) {
            say(idleNotices.randomElement(using: &worker.randomness) ?? "")
        }
        if faults.insertsGarbage, Bool.random(using: &worker.randomness) {
            let count = Int.random(in: 1...20, using: &worker.randomness)
            put((0..<count).map { _ in UInt8.random(in: 0x80...0xFF, using: &worker.randomness) } + [13, 10])
        }
    }

    /// Says that data waits or a link has ended.
    func announce(_ text: String) {
        say(text)
        if faults.doublesNotices { say(text) }
    }

    /// The length to announce with `count` bytes of data.
    func announced(_ count: Int) -> Int { worker.happens(\.wrongLengthEvery) ? count + 3 : count }

    /// Asks for `count` bytes to send on `link`; `body` is given them.
    func prompt(_ text: String, for link: Int, count: Int, _ body: @escaping ([UInt8]) -> Void) {
        payload = (count, [], body)
        endsPayload = { _ in false }
        payloadSerial += 1
        sayPrompt(text)
        if worker.happens(\.closesDuringSendEvery) {
            sockets.cut(link, isReset: true)
            serve(link)
        }
    }

    /// Asks for `count` bytes that are for no link. `body` is given fewer if `isOver` says so of them, or if they do not come within `seconds`.
    func prompt(
        _ text: String,
        count: Int,
        within seconds: Int,
        isOver: @escaping ([UInt8]) -> Bool,
        _ body: @escaping ([UInt8]) -> Void
    ) {
        payload = (count, [], body)
        endsPayload = isOver
        payloadSerial += 1
        let serial = payloadSerial
        sayPrompt(text)
        worker.after(milliseconds: 1_000 * seconds) { [self] in
            guard serial == payloadSerial, let due = payload else { return }
            payload = nil
            due.body(due.bytes)
        }
    }

    private func sayPrompt(_ text: String) {
        guard !worker.happens(\.losesPromptEvery) else { return }
        let bare = text.last == " " ? String(text.dropLast()) : text
        let prompt =
            switch faults.prompt {
            case .usual: text
            case .spaced: bare + " "
            case .bare: bare
            }
        put(Array(prompt.utf8), afterMilliseconds: faults.promptDelayMilliseconds)
        insertNotices()
    }

    // MARK: Links

    /// Opens `link`; `body` is told whether that worked. `host` is a dotted address, or `nil` for datagrams of anybody.
    func open(
        _ link: Int,
        isStream: Bool,
        to host: String?,
        port: UInt16 = 0,
        localPort: UInt16 = 0,
        _ body: @escaping (_ isOpen: Bool) -> Void
    ) {
        worker.own(link, by: channel)
        openings[link] = (sockets.reserve(link, isStream: isStream, at: worker.now), body)
        let peer = host.flatMap { Peer(numeric: $0, port: port) }
        if faults.refusesToOpen || !sockets.connect(link, to: peer, localPort: localPort) {
            endOpening(link, isOpen: false)
        } else {
            lookAtOpening(link)
        }
    }

    private func lookAtOpening(_ link: Int) {
        if let isOpen = sockets.outcomeOfOpening(link, at: worker.now) { endOpening(link, isOpen: isOpen) }
    }

    private func endOpening(_ link: Int, isOpen: Bool) {
        guard let serial = openings[link]?.serial, sockets[link]?.serial == serial else { return }
        guard faults.openDelayMilliseconds > 0 else { return tellOpening(link, serial, isOpen: isOpen) }
        worker.after(milliseconds: faults.openDelayMilliseconds) { [self] in tellOpening(link, serial, isOpen: isOpen) }
    }

    private func tellOpening(_ link: Int, _ serial: Int, isOpen: Bool) {
        guard openings[link]?.serial == serial, sockets[link]?.serial == serial else { return }
        let body = openings.removeValue(forKey: link)?.body
        if isOpen {
            worker.count(\.linksOpened)
        } else {
            // The number stays taken until the family frees it.
            sockets.cut(link, isReset: true)
            sockets[link]?.endWasTold = true
        }
        body?(isOpen)
    }

    func breakLink(_ link: Int, hasNotice: Bool) {
        guard let serial = openings[link]?.serial else { return cutLink(link, hasNotice: hasNotice) }
        tellOpening(link, serial, isOpen: false)
    }

    /// Ends what is being opened without success.
    func abandonOpenings() {
        for (link, opening) in openings.sorted(by: { $0.key < $1.key }) {
            tellOpening(link, opening.serial, isOpen: false)
        }
    }

    /// Whether one more link may be opened.
    var hasRoomForLink: Bool {
        let limit = faults.linkLimit == 0 ? sockets.links.count : faults.linkLimit
        return sockets.links.count { $0.map { !$0.hasEnded } ?? false } < limit
    }

    func serve(_ link: Int) {
        if dataMode?.link == link { return passData(link) }
        if case .opening = sockets[link]?.state { lookAtOpening(link) }
        guard let state = sockets[link], openings[link]?.serial != state.serial else { return }
        if !state.buffer.isEmpty { dataWaits(link) }
        if sockets[link]?.hasEnded == true, sockets[link]?.endWasTold == false { linkEnded(link) }
    }

    /// Tells that data waits, unless the host knows that already.
    func noticeData(_ link: Int, _ text: @autoclosure () -> String) {
        guard sockets[link]?.wasNotified == false else { return }
        sockets[link]?.wasNotified = true
        if !worker.happens(\.losesNoticeEvery) { announce(text()) }
    }

    /// Tells that the peer has closed a link.
    func noticeEnd(_ link: Int, _ text: String) {
        sockets[link]?.endWasTold = true
        if !faults.closesSilently { announce(text) }
    }

    /// Takes a payload for the network; of a stream perhaps only a part.
    func take(_ bytes: [UInt8], on link: Int, to peer: Peer? = nil, inParts: Bool = false) -> Taken {
        guard let state = sockets[link], state.isOpen else { return .gone }
        let inParts = inParts && state.isStream
        if worker.happens(\.failsSendEvery) { return .nothing }
        var offered = bytes
        if inParts {
            let takesPart = worker.happens(\.takesPartEvery)
            offered = Array(bytes.prefix(min(sockets.room(link), takesPart ? (bytes.count + 1) / 2 : bytes.count)))
        }
        guard inParts || sockets.room(link) >= bytes.count else { return .nothing }
        let count = sockets.send(offered, on: link, to: peer)
        return count > 0 ? .bytes(count) : .nothing
    }
}
