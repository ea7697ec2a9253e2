internal import ATAdapter
internal import CLinux
internal import Kernel
internal import SAL

/// A modem that is driven by requests in JSON, one after the other.
final class ModemSession: ModemHandler, TimerHandler, @unchecked Sendable {
    // @unchecked: everything is touched on `loop` only, but for what does not change.

    /// What a request asks for went wrong.
    struct Problem: Error {
        let message: String
        init(_ message: String) { self.message = message }
        init(_ error: SocketError) { message = name(of: error) }
    }

    private typealias Outcome = Result<JSONObject, Problem>

    let loop = EventLoop.start()
    private let line: ModemLine
    private lazy var timer = Timer(on: loop)
    private var modem: Modem?
    private var multiplexer: Multiplexer?
    private var sockets: [Int: ModemSessionSocket] = [:]
    private var lastSocket = 0
    /// The request in progress: what it waits for, and who is told.
    private var check: (() -> Outcome?)?
    private var finish: ((Outcome) -> Void)?

    init(_ line: ModemLine) { self.line = line }

    /// The reply to a request, and whether it was the last.
    func reply(to line: [UInt8]) async -> (reply: [UInt8], isLast: Bool) {
        await withCheckedContinuation { continuation in
            loop.execute { [self] in
                let request = JSONObject(parsing: line)
                let operation = (request?.string("op") ?? request?.string("cmd") ?? "").lowercased()
                start(request, operation) { outcome in
                    let reply: JSONObject
                    switch outcome {
                    case .success(let object):
                        reply = object
                        reply.set("ok", isTrue: true)
                    case .failure(let problem):
                        reply = JSONObject()
                        reply.set("ok", isTrue: false)
                        reply.set("error", problem.message)
                    }
                    continuation.resume(returning: (reply.text(), operation == "quit"))
                }
            }
        }
    }

    /// Closes all sockets, and waits a few seconds for the modem to do so.
    func quit() async { _ = await reply(to: Array(#"{"op":"quit"}"#.utf8)) }

    /// Has a modem with a multiplexer speak plainly again, for the next program.
    func end() async {
        let hasFrames = await loop.call { [self] in
            multiplexer?.close()
            return multiplexer != nil
        }
        if hasFrames { try? await Task.sleep(for: Multiplexer.closingTime) }
    }

    // MARK: Waiting

    /// Something has changed: perhaps it is what the request waits for.
    func changed() { if let outcome = check?() { end(outcome) } }

    func timerFired(_ timer: Timer) { end(check?() ?? .failure(Problem("timeout"))) }

    private func end(_ outcome: Outcome) {
        let finish = self.finish
        (check, self.finish) = (nil, nil)
        timer.stop()
        finish?(outcome)
    }

    /// Has the request wait until `check` says how it ends.
    private func wait(_ seconds: Double, until check: @escaping () -> Outcome?) {
        self.check = check
        timer.start(after: .seconds(seconds), handler: self)
        changed()
    }

    func modemChanged(_ state: ModemState) { changed() }

    // MARK: Requests

    private func start(_ request: JSONObject?, _ operation: String, _ finish: @escaping (Outcome) -> Void) {
        self.finish = finish
        guard let request else { return end(.failure(Problem("not a JSON object"))) }
        do throws(Problem) {
            switch operation {
            case "start": try setUp(request)
            case "open": try open(request)
            case "send": try send(request)
            case "recv": try receive(request)
            case "close": try close(request)
            case "resolve": try resolve(request)
            case "quit": closeAll()
            case "": throw Problem("op is missing")
            default: throw Problem("unknown op '\(operation)'")
            }
        } catch { end(.failure(error)) }
    }

    private func attachedModem() throws(Problem) -> Modem {
        if let modem { return modem }
        do {
            let (modem, multiplexer) = try line.open(on: loop)
            modem.handler = self
            self.modem = modem
            self.multiplexer = multiplexer
            return modem
        } catch { throw Problem(sentence(for: error)) }
    }

    private func setUp(_ request: JSONObject) throws(Problem) {
        let seconds = try request.seconds(unlessGiven: 180)
        let modem = try attachedModem()
        var problem: ATError?
        wait(seconds) {
            switch modem.state {
            case .attached:
                let reply = JSONObject()
                if let signal = modem.signal { reply.set("signal", signal) }
                return .success(reply)
            case .failed(let error):
                problem = error
                return error.isForUser || !self.timer.isRunning ? .failure(Problem(name(of: error))) : nil
            case .down, .searching:
                // The time is over: what went wrong last says more than that.
                return self.timer.isRunning ? nil : problem.map { .failure(Problem(name(of: $0))) }
            }
        }
    }

    private func open(_ request: JSONObject) throws(Problem) {
        guard let host = request.string("host") else { throw Problem("host is missing") }
        guard let number = request.integer("port"), let port = UInt16(exactly: number), port > 0 else {
            throw Problem("port is a number from 1 to 65535")
        }
        let kind = (request.string("proto") ?? "tcp").lowercased()
        guard kind == "tcp" || kind == "udp" else { throw Problem("proto is tcp or udp") }
        let seconds = try request.seconds(unlessGiven: 150)
        let modem = try attachedModem()
        let endpoint = Endpoint(host: host, port: port)
        let deadline = loop.now + .seconds(seconds)
        let socket = ModemSessionSocket(self)
        if kind == "tcp" {
            socket.stream = modem.connect(to: endpoint, deadline: deadline, handler: socket)
        } else {
            socket.datagramSocket = modem.openDatagrams(to: endpoint, deadline: deadline, handler: socket)
        }
        // The network itself keeps the deadline.
        wait(seconds + 5) {
            if let error = socket.ending { return .failure(error.map { Problem($0) } ?? Problem("closed")) }
            guard socket.isOpen else { return nil }
            self.lastSocket += 1
            self.sockets[self.lastSocket] = socket
            let reply = JSONObject()
            reply.set("sock", self.lastSocket)
            return .success(reply)
        }
    }

    private func socket(_ request: JSONObject) throws(Problem) -> (number: Int, socket: ModemSessionSocket) {
        guard let number = request.integer("sock") else { throw Problem("sock is missing") }
        guard let socket = sockets[number] else { throw Problem("no such socket") }
        return (number, socket)
    }

    private func send(_ request: JSONObject) throws(Problem) {
        let (_, socket) = try socket(request)
        guard let bytes = request.string("hex").flatMap(hexadecimal) else { throw Problem("hex is not hexadecimal") }
        let seconds = try request.seconds(unlessGiven: 60)
        let modem = try attachedModem()
        if let error = socket.ending { throw error.map { Problem($0) } ?? Problem("closed") }
        do throws(SocketError) { try socket.send(bytes, over: modem) } catch { throw Problem(error) }
        wait(seconds) {
            if socket.isSent {
                let reply = JSONObject()
                reply.set("sent", bytes.count)
                return .success(reply)
            }
            guard let error = socket.ending else { return nil }
            return .failure(error.map { Problem($0) } ?? Problem("closed"))
        }
    }

    private func receive(_ request: JSONObject) throws(Problem) {
        let (_, socket) = try socket(request)
        let maximum = request.integer("max") ?? 4_096
        guard maximum > 0 else { throw Problem("max is a positive number") }
        let seconds = try request.seconds(unlessGiven: 10)
        wait(seconds) { socket.next(maximum) }
    }

    private func close(_ request: JSONObject) throws(Problem) {
        let (number, socket) = try socket(request)
        sockets[number] = nil
        socket.close()
        wait(15) { socket.ending == nil ? nil : .success(JSONObject()) }
    }

    private func resolve(_ request: JSONObject) throws(Problem) {
        guard let host = request.string("host") else { throw Problem("host is missing") }
        let seconds = try request.seconds(unlessGiven: 60)
        var outcome: Outcome?
        let modem = try attachedModem()
        modem.resolve(Array(host.utf8), deadline: loop.now + .seconds(seconds)) { result in
            switch result {
            case .success(let address):
                let reply = JSONObject()
                reply.set("addr", text(of: address))
                outcome = .success(reply)
            case .failure(let error): outcome = .failure(Problem(error))
            }
            self.changed()
        }
        wait(seconds + 5) { outcome }
    }

    private func closeAll() {
        var isOver = true
        for socket in sockets.values {
            if socket.ending == nil { isOver = false }
            socket.close()
        }
        guard let modem, !isOver else { return end(.success(JSONObject())) }
        // Its turn comes behind that of the closings.
        try? modem.execute(Array("AT".utf8)) { _ in
            isOver = true
            self.changed()
        }
        wait(10) { isOver ? .success(JSONObject()) : nil }
    }
}

extension ATError {
    /// Whether waiting will not help.
    var isForUser: Bool {
        switch self {
        case .pinRequired, .simLocked, .joinFailed, .unsendable, .lineTooLong: true
        // No SIM, or one that does not work.
        case .equipment(let code): code == 10 || code == 13 || code == 15
        default: false
        }
    }
}

/// What a program finds in a reply.
private func name(of error: SocketError) -> String {
    switch error {
    case .refused(let code): code == 0 ? "refused" : "refused (\(code))"
    case .timedOut: "timeout"
    case .reset: "reset"
    case .nameNotFound: "name not found"
    case .noNetwork: "no network"
    case .tooManySockets: "too many sockets"
    case .messageTooLong: "message too long"
    case .streamDamaged: "send failed"
    case .overflow: "overflow"
    case .deviceRestarted: "modem restarted"
    case .closed: "closed"
    case .other(let code): "modem error \(code)"
    default: error.description
    }
}

private func name(of error: ATError) -> String {
    switch error {
    case .timedOut, .notResponding: "the modem does not answer"
    case .pinRequired: "the SIM wants its PIN"
    case .simLocked: "the SIM is locked"
    case .registrationDenied: "registration denied"
    case .noDataConnection: "no data connection"
    case .joinFailed(let code): "the network cannot be joined (\(code))"
    case .equipment(let code): "+CME ERROR: \(code)"
    case .messaging(let code): "+CMS ERROR: \(code)"
    default: "\(error)"
    }
}

private func text(of address: IPAddress) -> String {
    guard case .v4(let value) = address else { return "\(address)" }
    return "\(value >> 24).\(value >> 16 & 255).\(value >> 8 & 255).\(value & 255)"
}

extension JSONObject {
    /// A whole number, also one in a string.
    fileprivate func integer(_ name: String) -> Int? {
        number(name).flatMap { Int(exactly: $0) } ?? string(name).flatMap { Int($0) }
    }

    /// The request's `timeout`.
    fileprivate func seconds(unlessGiven seconds: Double) throws(ModemSession.Problem) -> Double {
        guard let given = number("timeout") ?? string("timeout").flatMap(Double.init) else { return seconds }
        guard given >= 0, given <= 1_000_000 else { throw ModemSession.Problem("timeout is a time in seconds") }
        return given
    }
}
