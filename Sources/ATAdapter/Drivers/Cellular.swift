internal import SAL

/// What cellular modems have in common: the commands of 3GPP 27.007, which bring a modem up to a registered SIM.
///
/// A driver is a subclass with the commands of its family, the steps of its data connection, and the lines that the modem says.
class Cellular: ATDialect {
    final let traits: ATTraits
    var isPassive: Bool { true }
    #if !hasFeature(Embedded)
    var transparency: ATTransparency? { nil }
    #endif

    init(_ traits: ATTraits) { self.traits = traits }

    // MARK: What a driver gives

    /// The template of a request's command, for all kinds but `attach`.
    func command(_ request: ATRequest) -> StaticString? { nil }

    /// The step of the data connection after registration, counted from 0.
    func connectionStep(_ step: Int, _ configuration: ModemConfiguration) -> StaticString? { nil }

    func header(_ line: Span<UInt8>, isOver: Bool) -> ATHeader { .none }

    /// What a whole line says that is not common to all.
    func familyNotice(_ line: Span<UInt8>, during request: ATRequest) -> ATNotice { .unknown }

    // MARK: Bring-up

    private enum Step {
        static let pin = 2
        static let enterPIN = 3
        static let packetRegistration = 7
        static let gprsRegistration = 8
        static let circuitRegistration = 9
        static let connection = 11
    }

    private enum SIM: UInt8 { case unknown, ready, wantsPIN, locked }

    private var sim = SIM.unknown
    /// The PIN was tried, and has not made the SIM ready yet; it was refused. It is never tried again then.
    private var hasTriedPIN = false
    private var isPINRefused = false
    private var hasPIN = false
    private var pinRounds = 0
    /// How often the present one of the first commands was refused.
    private var setupTries = 0
    /// What the last answer about registration said; negative for none.
    private var registration = -1
    /// Which of the two questions about data services this modem does not know.
    private var refusedRegistrations = 0

    final func template(for request: ATRequest, _ configuration: ModemConfiguration) -> StaticString? {
        switch request.kind {
        case .attach: attachStep(request.step, configuration)
        case .signal: "5!AT+CSQ"
        // 3GPP 27.007, 5.7. Some modems want nothing but the option.
        case .multiplex where !traits.hasMultiplexer || request.step > 1: nil
        case .multiplex: request.step == 0 ? "5!AT+CMUX=#,0,@,%" : "5!AT+CMUX=#"
        default: command(request)
        }
    }

    private func attachStep(_ step: Int, _ configuration: ModemConfiguration) -> StaticString? {
        hasPIN = !configuration.pin.isEmpty
        switch step {
        case 0:
            pinRounds = 0
            return "2?ATE0"
        case 1: return "2?AT+CMEE=1"
        case Step.pin:
            sim = .unknown
            return "5!AT+CPIN?"
        case Step.enterPIN:
            hasTriedPIN = true
            return "20!AT+CPIN=&n"
        case 4: return configuration.apn.isEmpty ? "" : "5?AT+CGDCONT=1,\"IP\",&a"
        case 5: return configuration.user.isEmpty ? "" : authenticationCommand
        case 6: return "180?AT+CFUN=1"
        case Step.packetRegistration:
            (registration, refusedRegistrations) = (-1, 0)
            return "5?AT+CEREG?"
        case Step.gprsRegistration: return "5?AT+CGREG?"
        case Step.circuitRegistration: return "5?AT+CREG?"
        case 10: return "5?AT+CSQ"
        default: return connectionStep(step - Step.connection, configuration)
        }
    }

    /// How user and password are given: 3GPP 27.007, 10.1.31.
    var authenticationCommand: StaticString { "5?AT+CGAUTH=1,&t,&u,&p" }

    #if !hasFeature(Embedded)
    final var registeredStep: Int { Step.circuitRegistration + 1 }
    #endif

    final func attachStepEnded(_ step: Int, _ error: ATError?, isOptional: Bool) -> ATOutcome {
        switch step {
        // A modem that echoes payload, too, says what its peers want it to say.
        case 0 where error == .timedOut: return .failed(.timedOut)
        // Before AT+CMEE=1 a modem that is busy says just ERROR.
        case 0, 1:
            if error == nil || setupTries == 3 {
                setupTries = 0
                return .next
            }
            setupTries += 1
            return .jump(to: step, milliseconds: 500)
        case Step.pin: return simAnswered(error)
        case Step.enterPIN:
            isPINRefused = error != nil
            return isPINRefused ? .failed(.pinRequired) : .jump(to: Step.pin, milliseconds: 500)
        case Step.packetRegistration...Step.circuitRegistration: return registrationAnswered(step, error)
        default: break
        }
        if step >= Step.connection { return connectionStepEnded(step - Step.connection, error, isOptional: isOptional) }
        guard let error, !isOptional else { return .next }
        return .failed(error)
    }

    /// A step of the data connection has ended.
    func connectionStepEnded(_ step: Int, _ error: ATError?, isOptional: Bool) -> ATOutcome {
        error == nil || isOptional ? .next : .failed(.noDataConnection)
    }

    // MARK: Modems whose data connection comes by itself

    /// The answer to `AT+CGATT?`; negative for none.
    private var attachment = -1

    /// The step that asks whether the data connection is there; ``attachAnswered(_:)`` says how to go on.
    final func attaching() -> StaticString {
        attachment = -1
        return "5?AT+CGATT?"
    }

    final func attachAnswered(_ step: Int) -> ATOutcome {
        // A modem that does not answer this is registered all the same.
        attachment == 0 ? .jump(to: Step.connection + step, milliseconds: 1_000) : .next
    }

    // MARK: SIM and registration

    private func simAnswered(_ error: ATError?) -> ATOutcome {
        let afterPIN = Step.enterPIN + 1
        pinRounds += 1
        switch (sim, error) {
        case (.ready, _):
            // After a restart it is asked for anew.
            hasTriedPIN = false
            return .jump(to: afterPIN, milliseconds: 0)
        case (.locked, _): return .failed(.simLocked)
        case (.wantsPIN, _) where !hasPIN || isPINRefused: return .failed(.pinRequired)
        case (.wantsPIN, _) where !hasTriedPIN: return .next
        // It may take a while until the SIM shows that the PIN was right.
        case (.wantsPIN, _): return pinRounds < 20 ? .jump(to: Step.pin, milliseconds: 1_000) : .failed(.pinRequired)
        // SIM busy.
        case (.unknown, .equipment(14)?), (.unknown, nil):
            return pinRounds < 20 ? .jump(to: Step.pin, milliseconds: 1_000) : .failed(error ?? .refused)
        case (.unknown, .equipment(11)?), (.unknown, .equipment(17)?): return .failed(.pinRequired)
        case (.unknown, .equipment(12)?), (.unknown, .equipment(18)?): return .failed(.simLocked)
        // SIM not inserted, failure, wrong.
        case (.unknown, .equipment(10)?), (.unknown, .equipment(13)?), (.unknown, .equipment(15)?),
            (.unknown, .timedOut?):
            return .failed(error ?? .refused)
        // A modem without the question.
        case (.unknown, _): return .jump(to: afterPIN, milliseconds: 0)
        }
    }

    /// Data services are what counts; a modem that cannot say how they are is asked about calls.
    private func registrationAnswered(_ step: Int, _ error: ATError?) -> ATOutcome {
        let isForCalls = step == Step.circuitRegistration
        if !isForCalls && error != nil { refusedRegistrations += 1 }
        let isRegistered = registration == 1 || registration == 5
        let isDenied = registration == 3
        registration = -1
        if isRegistered && (!isForCalls || refusedRegistrations == 2) {
            return .jump(to: Step.circuitRegistration + 1, milliseconds: 0)
        }
        if !isForCalls { return .next }
        return isDenied ? .failed(.registrationDenied) : .jump(to: Step.packetRegistration, milliseconds: 1_000)
    }

    // MARK: Lines

    private static let notices: StaticString = """
        +CREG:#,#*
        +CGREG:#,#*
        +CEREG:#,#*
        +CPIN:READY
        +CPIN:SIM PIN
        +CPIN:SIM PUK
        +CPIN:PH-*
        +CPIN:SIM P*
        +CSQ:#,#
        +CGEV:NW DETACH*
        +CGEV:ME DETACH*
        +CGEV:NW PDN DEACT*
        +CGEV:NW DEACT*
        RDY
        NORMAL POWER DOWN
        POWERED DOWN
        "
        +CREG:*
        +CGREG:*
        +CEREG:*
        +CPIN:*
        +CFUN:#
        +CGEV:*
        +CGATT:#
        """

    final func notice(_ line: Span<UInt8>, during request: ATRequest) -> ATNotice {
        let known = familyNotice(line, during: request)
        guard case .unknown = known else { return known }
        let match = ATMatch(line, in: Self.notices)
        switch match.index {
        case 0...2: if isRegistrationAnswer(line, match) { registration = match[1] }
        case 3: sim = .ready
        case 4: sim = .wantsPIN
        case 5...7: sim = .locked
        case 8: return signal(match[0])
        case 9...12: return .networkLost
        case 13...15: return .restarted
        case 23:
            attachment = match[0]
            return attachment == 0 ? .networkLost : .ignored
        case 16...: break
        default: return .unknown
        }
        return .ignored
    }

    /// `+CREG: n,stat` answers, and so does one with a cell behind it; `+CREG: stat,"area",…` comes by itself.
    private func isRegistrationAnswer(_ line: Span<UInt8>, _ match: ATMatch) -> Bool {
        if match.position == line.count { return true }
        return match[1] < 11 && line[match.position] == UInt8(ascii: ",")
    }

    /// 3GPP 27.007, 8.5: from 0 for -113 dBm in steps of 2; and from 100 on in steps of 1, as some modems with LTE say it.
    private func signal(_ value: Int) -> ATNotice {
        switch value {
        case 0...31: .signal(2 * value - 113)
        case 100...191: .signal(value - 216)
        default: .ignored
        }
    }
}
