/// What all cellular modems have in common: the frame of commands and answers (V.250), and the state of SIM, network and data context.
/// The commands of 3GPP 27.007 are in an extension; families add their own sockets.
class CellularModem: CommandModem {
    /// How a family introduces itself.
    struct Identity {
        var maker: String
        var model: String
        var revision: String
    }

    enum SIM: Equatable { case absent, busy, wantsPIN(left: Int), wantsPUK, ready }

    /// The registration with the network (3GPP 27.007, 10.1.22).
    enum Registration: Int { case off = 0, home, searching, denied, roaming = 5 }

    /// The address that the network assigns.
    static let address = "10.64.12.7"
    static let cell = "\"9D6F\",\"01B8DCC8\""

    // What a host can set.
    var verbose = true
    var quiet = false
    /// The form of errors: plain, number, text.
    var errorMode: Int
    /// By command: which of its reports come unasked.
    /// What `AT+CPSMS?` and `AT+CEDRXS?` show.
    var powerSettings: [String: String] = [:]
    var registrationReports = ["+CREG": 0, "+CGREG": 0, "+CEREG": 0]
    var functionality = 1
    var contexts: [Int: [String]] = [:]

    var sim: SIM
    private(set) var registration = Registration.off
    /// Tells a search from one that was begun before.
    private var searchCount = 0
    private(set) var isAttached = false
    /// What happens belongs to the time before the host came.
    private var isStartingSilently = false
    /// The host has detached on purpose.
    private var staysDetached = false
    /// Sockets can be opened. Families without an activation of their own leave it to the network.
    var isContextActive = false
    /// The commands of the line that wait for the one under way.
    private var rest: ArraySlice<ATCommand> = []

    override init(_ worker: Worker) {
        let configuration = worker.configuration
        errorMode = 0
        sim = !configuration.hasSIM ? .absent : configuration.pin == nil ? .ready : .wantsPIN(left: 3)
        super.init(worker)
        errorMode = defaultErrorMode
    }

    // MARK: What families define

    var identity: Identity { Identity(maker: "Apus", model: "Modem", revision: "1") }
    var defaultErrorMode: Int { 1 }
    /// What stands behind the name in an information line.
    var colon: String { ": " }
    /// The access technology in registration reports: 0 GSM, 7 LTE, 9 NB-IoT.
    var accessTechnology: Int { 7 }
    /// Which of the registration commands it knows.
    var registrationCommands: [String] { ["+CREG", "+CGREG", "+CEREG"] }
    /// The lines of a start, without their line ends; one that begins with NUL comes as it is.
    var banner: [String] { ["RDY", "+CPIN: READY"] }
    /// Whether it can carry several channels over its line (3GPP 27.010).
    var hasMultiplexer: Bool { true }
    /// The context comes and goes with the attachment.
    var contextIsAutomatic: Bool { false }
    /// A link that has ended, and been read to its end, has no number any more.
    var endTakesNumber: Bool { false }
    /// Executes a command of the family; false if that is none.
    func executeOwn(_ command: ATCommand) -> Bool { false }
    /// The packet network has been attached to.
    func attached() {}
    /// Says that the context is lost.
    func noticeContextLoss() {}

    override var idleNotices: [String] {
        [
            "\r\n+CTZV\(colon)+32,0\r\n", "\r\n+CIEV\(colon)2,3\r\n",
            "\r\n*PSNWID: \"460\",\"00\",\"A>B OK\",0,\"ERROR\",0\r\n",
        ]
    }

    override var busyAnswer: String { rendered(errorText(14)) }
    override var failureAnswer: String { rendered(errorText(faults.errorCode)) }

    // MARK: Answers

    /// A line or a final result in the form that `ATV` and `ATQ` have set.
    private func rendered(_ result: String) -> String {
        let digits = ["OK": "0", "CONNECT": "1", "NO CARRIER": "3", "ERROR": "4"]
        if quiet { return "" }
        return verbose ? "\r\n\(result)\r\n" : (digits[result] ?? result) + "\r"
    }

    /// An information line of an answer.
    func inform(_ line: String) {
        say(verbose ? "\r\n\(line)\r\n" : "\(line)\r\n")
        insertNotices()
    }

    /// An information line with data behind it.
    func inform(_ line: String, data: [UInt8]) {
        put(Array("\(verbose ? "\r\n" : "")\(line)\r\n".utf8) + data)
    }

    /// A line that comes unasked.
    func notice(_ line: String) { say("\r\n\(line)\r\n") }

    /// Ends the command with a final result, and goes on with the rest of the line if it went well.
    func end(_ result: String, isSuccess: Bool = false) {
        guard isSuccess, let next = rest.popFirst() else {
            rest = []
            return finish(Array(rendered(result).utf8))
        }
        run(next)
    }

    func ok() { end("OK", isSuccess: true) }

    /// Ends a command that has no final result of its own.
    func endWithoutResult() {
        guard let next = rest.popFirst() else { return finish() }
        run(next)
    }

    func error() { end("ERROR") }

    /// `+CME ERROR`, in the form that `AT+CMEE` has set.
    func error(_ code: Int) { end(errorText(code)) }

    private func errorText(_ code: Int) -> String {
        switch errorMode {
        case 0: "ERROR"
        case 1: "+CME ERROR: \(code)"
        default: "+CME ERROR: \(CMEError.text(code))"
        }
    }

    // MARK: Commands

    override func execute(_ line: String) {
        guard let commands = ATCommand.parse(line), let first = commands.first else {
            return line.uppercased() == "AT" ? ok() : error()
        }
        rest = commands.dropFirst()
        run(first)
    }

    private func run(_ command: ATCommand) {
        if !isAllowedWithoutSIM(command) {
            switch sim {
            case .absent: return error(10)
            case .busy: return error(14)
            case .wantsPIN: return error(11)
            case .wantsPUK: return error(12)
            case .ready: break
            }
        }
        if command.form == .test, command.name != "+COPS" { return ok() }
        guard executeOwn(command) || executeCommon(command) else {
            worker.count(\.unknownCommands)
            return error()
        }
    }

    private func isAllowedWithoutSIM(_ command: ATCommand) -> Bool {
        let needing: Set = ["+CIMI", "+COPS", "+CGATT", "+CGACT", "+CGPADDR"]
        return sim == .ready || !(needing.contains(command.name) || needsSIM(command))
    }

    /// Whether a command of the family is refused without a SIM.
    func needsSIM(_ command: ATCommand) -> Bool { false }

    // MARK: Life

    override func powerUp(hasBanner: Bool) {
        let boot = worker.configuration.bootMilliseconds
        if sim != .absent, worker.configuration.simMilliseconds > 0 {
            startSIM(milliseconds: boot + worker.configuration.simMilliseconds)
        }
        if hasBanner {
            for line in banner where line != "+CPIN: READY" || sim == .ready {
                put(Array((line.first == "\0" ? line : "\r\n\(line)\r\n").utf8), afterMilliseconds: boot)
            }
        }
        isStartingSilently = !hasBanner
        search(milliseconds: boot + worker.configuration.registrationMilliseconds)
        isStartingSilently = false
    }

    /// The SIM is busy for a while.
    private func startSIM(milliseconds: Int) {
        let next = sim
        sim = .busy
        worker.after(milliseconds: milliseconds) { [self] in
            sim = next
            notice("+CPIN\(colon)\(next == .ready ? "READY" : "SIM PIN")")
            search(milliseconds: worker.configuration.registrationMilliseconds)
        }
    }

    /// Looks for a network, if SIM and radio permit.
    func search(milliseconds: Int) {
        guard sim == .ready, functionality == 1 else { return setRegistration(.off) }
        setRegistration(.searching)
        searchCount += 1
        if milliseconds == 0 { return register() }
        let search = searchCount
        worker.after(milliseconds: milliseconds) { [self] in
            if registration == .searching, search == searchCount { register() }
        }
    }

    private func register() {
        guard !faults.refusesToJoin else {
            setRegistration(.denied)
            // It tries again now and then.
            let search = searchCount
            return worker.after(milliseconds: 60_000) { [self] in
                if registration == .denied, search == searchCount { self.search(milliseconds: 1) }
            }
        }
        setRegistration(worker.configuration.isRoaming ? .roaming : .home)
        if !staysDetached { attach() }
    }

    var isRegistered: Bool { registration == .home || registration == .roaming }

    private func setRegistration(_ new: Registration) {
        guard new != registration else { return }
        registration = new
        for name in registrationCommands where registrationReports[name, default: 0] > 0 {
            notice("\(name)\(colon)\(registrationFields(name))")
        }
    }

    /// The state, and as much more as the report's mode says.
    func registrationFields(_ name: String) -> String {
        let mode = registrationReports[name, default: 0]
        if registration == .denied, mode == 3 || mode == 5 { return "3,,,,0,11" }
        return mode >= 2 && isRegistered
            ? "\(registration.rawValue),\(Self.cell),\(accessTechnology)" : "\(registration.rawValue)"
    }

    /// Attaches to the packet network; false without a registration.
    @discardableResult func attach() -> Bool {
        staysDetached = false
        guard isRegistered else { return false }
        let wasAttached = isAttached
        isAttached = true
        if contextIsAutomatic { isContextActive = true }
        if !wasAttached, !isStartingSilently { attached() }
        return true
    }

    /// Ends the context and all links without a word.
    func deactivate() {
        sockets.closeAll()
        isContextActive = false
    }

    func detach() {
        staysDetached = true
        isAttached = false
        deactivate()
    }

    func switchRadio(_ mode: Int) {
        functionality = mode
        if mode != 1 {
            isAttached = false
            deactivate()
            return search(milliseconds: 0)
        }
        if registration == .off { search(milliseconds: worker.configuration.registrationMilliseconds) }
    }

    override func loseContext() {
        guard isAttached else { return }
        let hadContext = isContextActive
        abandonOpenings()
        deactivate()
        isAttached = false
        if hadContext { noticeContextLoss() }
        search(milliseconds: max(1, faults.contextReturnMilliseconds))
    }

    override func cutLink(_ link: Int, hasNotice: Bool) {
        sockets.cut(link, isReset: true)
        if hasNotice {
            linkEnded(link)
        } else if endTakesNumber {
            sockets.close(link)
        } else {
            sockets[link]?.endWasTold = true
        }
    }

    /// Restarts after the answer to the command is out.
    func restartSoon() { worker.afterOutput { [worker] in worker.restart(hasBanner: true) } }
}
