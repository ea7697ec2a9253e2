internal import Kernel

/// Whether a cellular network has a modem (3GPP 27.007, 7.2): the numbers are those of the standard.
public enum ModemRegistration: UInt8, Sendable {
    /// Not registered, and not searching.
    case none = 0
    /// Registered in the SIM's own network.
    case home = 1
    /// Not registered yet; it searches.
    case searching = 2
    /// The network refuses the SIM or the device.
    case denied = 3
    /// Not known, such as out of reach of every network.
    case unknown = 4
    /// Registered in another network, which may cost more.
    case roaming = 5
    /// Registered for short messages only, at home.
    case messagesOnly = 6
    /// The same, roaming.
    case roamingMessagesOnly = 7
    /// For emergency calls only.
    case emergencyOnly = 8

    /// Whether data may flow.
    public var isRegistered: Bool { self == .home || self == .roaming }

    /// How it is, by the answers to `+CEREG?`, `+CGREG?` and `+CREG?`: a registration, or what comes closest to one; `nil` without any answer.
    public init?(answers: [[UInt8]]) {
        var found: [Self] = []
        for answer in answers {
            for name: StaticString in ["+CEREG", "+CGREG", "+CREG"] {
                guard var fields = ATFields(answer, of: name) else { continue }
                _ = fields.number()
                guard let number = fields.number() else { continue }
                // 9 and 10 of some networks are like 1 and 5, without calls.
                let status = number == 9 ? 1 : number == 10 ? 5 : number
                found.append(Self(rawValue: UInt8(clamping: status)) ?? .unknown)
            }
        }
        for wanted: Self in [.home, .roaming, .searching, .denied] where found.contains(where: { $0 == wanted }) {
            self = wanted
            return
        }
        guard let first = found.first else { return nil }
        self = first
    }
}

/// Whose network a modem is in.
public struct ModemOperator: Equatable, Sendable {
    /// The operator's name, or the digits of its country and network codes, as the modem tells it.
    public let name: [UInt8]
    /// By what it is reached, if that is told.
    public let technology: RadioTechnology?

    /// By what a network is reached (3GPP 27.007, 7.3): the numbers are those of the standard.
    public enum RadioTechnology: UInt8, Sendable {
        /// GSM.
        case gsm = 0
        /// GSM, compact.
        case gsmCompact = 1
        /// UMTS.
        case umts = 2
        /// EDGE.
        case edge = 3
        /// HSDPA.
        case hsdpa = 4
        /// HSUPA.
        case hsupa = 5
        /// HSPA.
        case hspa = 6
        /// LTE, and LTE-M in most firmware.
        case lte = 7
        /// GSM for the internet of things, and LTE-M in some firmware.
        case ecGSM = 8
        /// NB-IoT.
        case nbIoT = 9
    }

    /// From the answer to `+COPS?`; `nil` without a network.
    public init?(answer: [UInt8]) {
        guard var fields = ATFields(answer, of: "+COPS") else { return nil }
        (_, _) = (fields.number(), fields.number())
        name = fields.string()
        guard !name.isEmpty else { return nil }
        technology = fields.number().flatMap { RadioTechnology(rawValue: UInt8(clamping: $0)) }
    }
}

extension Modem {
    /// Asks how the cellular network has the modem, when the modem has time. A modem without one, as for Wi-Fi, refuses.
    public func queryRegistration(_ completion: @escaping (Result<ModemRegistration, ATError>) -> Void) {
        queryRegistration(step: 0, [], completion)
    }

    private func queryRegistration(
        step: Int,
        _ answers: [[UInt8]],
        _ completion: @escaping (Result<ModemRegistration, ATError>) -> Void
    ) {
        ask(step == 0 ? "AT+CEREG?" : step == 1 ? "AT+CGREG?" : "AT+CREG?") { [self] result in
            var answers = answers
            switch result {
            case .success(let answer): answers.append(answer)
            case .failure(let error) where error.isRefusal: break
            case .failure(let error): return completion(.failure(error))
            }
            if step < 2 { return queryRegistration(step: step + 1, answers, completion) }
            completion(ModemRegistration(answers: answers).map { .success($0) } ?? .failure(.refused))
        }
    }

    /// Asks whose network it is, when the modem has time; the error is `ATError.notKnown` without one.
    public func queryOperator(_ completion: @escaping (Result<ModemOperator, ATError>) -> Void) {
        ask("AT+COPS?", timeoutMilliseconds: 15_000) { result in
            completion(
                result.flatMap { answer in ModemOperator(answer: answer).map { .success($0) } ?? .failure(.notKnown) }
            )
        }
    }
}
