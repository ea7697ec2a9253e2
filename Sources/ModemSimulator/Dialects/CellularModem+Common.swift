internal import CLinux

/// The commands that all cellular modems share (V.250; 3GPP 27.007, chapters 5 to 10).
extension CellularModem {
    /// Executes a command that is not of the family; false if it is unknown.
    func executeCommon(_ command: ATCommand) -> Bool {
        switch (command.name, command.form) {
        case ("E", _): setSwitch(command) { echo = $0 }
        case ("V", _): setSwitch(command) { verbose = $0 }
        case ("Q", _): setSwitch(command) { quiet = $0 }
        case ("Z", _), ("&F", _):
            (echo, verbose, quiet, errorMode) = (true, true, false, defaultErrorMode)
            ok()
        case ("&W", _), ("H", _), ("X", _), ("+IFC", .set), ("+CTZU", .set), ("+CTZR", .set),
            ("+CGEREP", .set), ("+CSCON", .set), ("+CMGF", .set), ("+CNMI", .set):
            ok()
        case ("+IPR", .set): setNumber(command, 0...3_000_000) { worker.setRate($0 == 0 ? nil : $0) }
        // By 1 it sleeps as the DTR line says, which is always low here.
        case ("+CSCLK", .set): setNumber(command, 0...2) { worker.setSleep($0 == 2) }
        case ("+CPSMS", _), ("+CEDRXS", _): executePowerSaving(command)
        case ("I", _):
            answer(identity.maker, identity.model, "Revision: \(identity.revision)")
        case ("+CGMI", .action), ("+GMI", .action): answer(identity.maker)
        case ("+CGMM", .action), ("+GMM", .action): answer(identity.model)
        case ("+CGMR", .action), ("+GMR", .action): answer(identity.revision)
        case ("+CGSN", .action), ("+GSN", .action): answer("860000000000017")
        case ("+CGSN", .set): answer("+CGSN\(colon)\"860000000000017\"")
        case ("+CIMI", .action): answer("460001234567890")
        case ("+CCID", _), ("+ICCID", _), ("+QCCID", _), ("+NCCID", _):
            sim == .absent ? error(10) : answer("\(command.name)\(colon)89860012345678901234")
        case ("+CMEE", .read): answer("+CMEE\(colon)\(errorMode)")
        case ("+CMEE", .set): setNumber(command, 0...2) { errorMode = $0 }
        case ("+CPIN", .read): answerPIN()
        case ("+CPIN", .set): enterPIN(command)
        case ("+CSQ", .action): answer("+CSQ\(colon)\(signal),99")
        case ("+CESQ", .action): answer("+CESQ\(colon)99,99,255,255,20,\(max(0, worker.configuration.signal + 141))")
        case ("+CFUN", .read): answer("+CFUN\(colon)\(functionality)")
        case ("+CFUN", .set): setFunctionality(command)
        case ("+CREG", _), ("+CGREG", _), ("+CEREG", _): return executeRegistration(command)
        case ("+CMUX", .set) where hasMultiplexer: multiplex(command)
        default: return executeNetwork(command)
        }
        return true
    }

    private func executeNetwork(_ command: ATCommand) -> Bool {
        switch (command.name, command.form) {
        case ("+COPS", .read):
            answer(isRegistered ? "+COPS\(colon)0,2,\"46000\",\(accessTechnology)" : "+COPS\(colon)0")
        case ("+COPS", .test): answer("+COPS\(colon)(2,\"OK net\",\"OK\",\"46000\",\(accessTechnology)),,(0-4),(0-2)")
        case ("+COPS", .set): isRegistered ? ok() : error(30)
        case ("+CGATT", .read): answer("+CGATT\(colon)\(isAttached ? 1 : 0)")
        case ("+CGATT", .set):
            switch command.number(0) {
            case 0:
                detach()
                ok()
            case 1: attach() ? ok() : error(30)
            default: error(50)
            }
        case ("+CGDCONT", .read):
            for (number, fields) in contexts.sorted(by: { $0.key < $1.key }) {
                inform("+CGDCONT\(colon)\(number)," + fields.map { "\"\($0)\"" }.joined(separator: ","))
            }
            ok()
        case ("+CGDCONT", .set):
            guard let number = command.number(0), 1...16 ~= number,
                ["IP", "IPV6", "IPV4V6"].contains(command.text(1) ?? "IP")
            else {
                error(50)
                break
            }
            contexts[number] = command.parameters.count == 1 ? nil : Array(command.parameters.dropFirst())
            ok()
        case ("+CGACT", .read): answer("+CGACT\(colon)1,\(isContextActive ? 1 : 0)")
        case ("+CGACT", .set):
            guard isAttached else {
                error(30)
                break
            }
            if command.number(0) == 1 { isContextActive = true } else { deactivate() }
            ok()
        case ("+CGPADDR", _): answer("+CGPADDR\(colon)1" + (isAttached ? ",\"\(Self.address)\"" : ""))
        case ("+CCLK", .read): answer("+CCLK\(colon)\"\(Self.clock())\"")
        default: return false
        }
        return true
    }

    /// `AT+CMUX=option[,subset[,speed[,N1…]]]` (3GPP 27.007, 5.7).
    private func multiplex(_ command: ATCommand) {
        guard let option = command.number(0), 0...1 ~= option, command.number(1) ?? 0 == 0, channel == 1 else {
            return error(50)
        }
        let frameBytes = command.number(3) ?? (option == 0 ? 31 : 64)
        guard 1...1_540 ~= frameBytes else { return error(50) }
        ok()
        worker.startMultiplexer(Multiplexer.Parameters(isAdvanced: option == 1, frameBytes: frameBytes))
    }

    /// Information lines, and `OK`.
    func answer(_ lines: String...) {
        for line in lines { inform(line) }
        ok()
    }

    private func setSwitch(_ command: ATCommand, _ body: (Bool) -> Void) {
        switch command.parameters.first {
        case nil, "0": body(false)
        case "1": body(true)
        default: return error()
        }
        ok()
    }

    /// Takes a number in `range`, or answers that the parameter is wrong.
    func setNumber(_ command: ATCommand, _ range: ClosedRange<Int>, _ body: (Int) -> Void) {
        guard let number = command.number(0), range.contains(number) else { return error(50) }
        body(number)
        ok()
    }

    /// The strength of the signal in steps of 2 dB above -113 dBm (3GPP 27.007, 8.5).
    private var signal: Int {
        let varied = worker.configuration.signal + Int.random(in: -3...3, using: &worker.randomness)
        return min(max((varied + 113) / 2, 0), 31)
    }

    // MARK: Sleep

    /// Power saving and extended discontinuous reception (3GPP 27.007, 7.38 and 7.40): kept, and told as they were given.
    private func executePowerSaving(_ command: ATCommand) {
        let isPowerSaving = command.name == "+CPSMS"
        switch command.form {
        case .read:
            let settings = powerSettings[command.name] ?? (isPowerSaving ? "0" : "")
            settings.isEmpty ? ok() : answer("\(command.name)\(colon)\(settings)")
        case .set:
            guard let mode = command.number(0), 0...(isPowerSaving ? 1 : 3) ~= mode else { return error(50) }
            let bits = command.parameters.dropFirst(isPowerSaving ? 3 : 2).map { $0.filter { $0 != "\"" } }
            guard bits.allSatisfy({ $0.count == (isPowerSaving ? 8 : 4) && $0.allSatisfy { "01".contains($0) } }) else {
                return error(50)
            }
            let quoted = bits.map { "\"\($0)\"" }.joined(separator: ",")
            if mode == 0 || mode == 3 {
                powerSettings[command.name] = nil
            } else if isPowerSaving {
                powerSettings[command.name] = "1,,,\(quoted)"
            } else {
                guard let technology = command.number(1), 1...5 ~= technology else { return error(50) }
                powerSettings[command.name] = "\(technology),\(quoted)"
            }
            ok()
        case .action, .test: error(50)
        }
    }

    // MARK: SIM

    private func answerPIN() {
        switch sim {
        case .absent: error(10)
        case .busy: error(14)
        case .ready: answer("+CPIN\(colon)READY")
        case .wantsPIN: answer("+CPIN\(colon)SIM PIN")
        case .wantsPUK: answer("+CPIN\(colon)SIM PUK")
        }
    }

    private func enterPIN(_ command: ATCommand) {
        guard case .wantsPIN(let left) = sim else { return error(sim == .wantsPUK ? 12 : sim == .busy ? 14 : 3) }
        guard command.text(0) == worker.configuration.pin else {
            sim = left > 1 ? .wantsPIN(left: left - 1) : .wantsPUK
            return error(16)
        }
        sim = .ready
        ok()
        notice("+CPIN\(colon)READY")
        search(milliseconds: worker.configuration.registrationMilliseconds)
    }

    // MARK: Network

    private func setFunctionality(_ command: ATCommand) {
        guard let mode = command.number(0), [0, 1, 4].contains(mode) else { return error(50) }
        ok()
        if command.number(1) == 1 { return restartSoon() }
        switchRadio(mode)
    }

    private func executeRegistration(_ command: ATCommand) -> Bool {
        guard registrationCommands.contains(command.name) else { return false }
        switch command.form {
        case .read:
            let mode = registrationReports[command.name, default: 0]
            answer("\(command.name)\(colon)\(mode),\(registrationFields(command.name))")
        case .set:
            setNumber(command, 0...(command.name == "+CEREG" ? 5 : 3)) { registrationReports[command.name] = $0 }
        case .action, .test: return false
        }
        return true
    }

    /// The time of this machine, as the network would give it: `yy/MM/dd,hh:mm:ss+zz`, here two hours ahead of UTC.
    private static func clock() -> String {
        var now = time(nil) + 7_200
        var parts = tm()
        gmtime_r(&now, &parts)
        let numbers = [parts.tm_year % 100, parts.tm_mon + 1, parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec]
        let digits = numbers.map { $0 < 10 ? "0\($0)" : "\($0)" }
        return digits[..<3].joined(separator: "/") + "," + digits[3...].joined(separator: ":") + "+08"
    }
}
