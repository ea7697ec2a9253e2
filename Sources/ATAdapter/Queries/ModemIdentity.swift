internal import Kernel

/// What a modem is, and whose SIM it has; what it does not tell is empty. All texts are bytes as the modem tells them.
public struct ModemIdentity: Equatable, Sendable {
    /// The maker (3GPP 27.007, 5.1).
    public var maker: [UInt8] = []
    /// The model (3GPP 27.007, 5.2).
    public var model: [UInt8] = []
    /// The version of the firmware (3GPP 27.007, 5.3).
    public var firmware: [UInt8] = []
    /// The number of the equipment, IMEI, in 15 digits (3GPP 27.007, 5.4).
    public var imei: [UInt8] = []
    /// The number of the SIM card, ICCID, in 19 or 20 digits.
    public var iccid: [UInt8] = []
    /// The number of the subscriber, IMSI, in up to 15 digits (3GPP 27.007, 5.6).
    public var imsi: [UInt8] = []

    /// One that nothing is known of.
    public init() {}
}

extension Modem {
    /// Asks what the modem is, when it has time. What it refuses to say, such as without a SIM, is left empty.
    public func queryIdentity(_ completion: @escaping (Result<ModemIdentity, ATError>) -> Void) {
        queryIdentity(step: 0, ModemIdentity(), completion)
    }

    private func queryIdentity(
        step: Int,
        _ identity: ModemIdentity,
        _ completion: @escaping (Result<ModemIdentity, ATError>) -> Void
    ) {
        guard let question = ModemIdentity.question(step) else { return completion(.success(identity)) }
        ask(question) { [self] result in
            var identity = identity
            switch result {
            case .success(let answer): identity.take(answer, step: step)
            case .failure(let error) where error.isRefusal: break
            case .failure(let error): return completion(.failure(error))
            }
            queryIdentity(step: step + 1, identity, completion)
        }
    }
}

extension ModemIdentity {
    fileprivate static func question(_ step: Int) -> StaticString? {
        switch step {
        case 0: "AT+CGMI\nAT+GMI"
        case 1: "AT+CGMM\nAT+GMM"
        case 2: "AT+CGMR\nAT+GMR"
        case 3: "AT+CGSN"
        // Some tell a serial number unless asked so.
        case 4: "AT+CGSN=1"
        case 5: "AT+CCID\nAT+ICCID\nAT+QCCID\nAT+NCCID"
        case 6: "AT+CIMI"
        default: nil
        }
    }

    fileprivate mutating func take(_ answer: [UInt8], step: Int) {
        switch step {
        case 0: maker = ATFields.text(of: answer, named: "+CGMI")
        case 1: model = ATFields.text(of: answer, named: "+CGMM")
        case 2:
            firmware = ATFields.text(of: answer, named: "+CGMR")
            // ESP-AT, which tells nothing else.
            guard firmware.begins(with: "AT version:") else { return }
            firmware.removeFirst(11)
            if maker.isEmpty { maker.append("Espressif") }
        case 3, 4:
            let number = ATFields.text(of: answer, named: "+CGSN")
            if number.count == 15 || imei.isEmpty { imei = number }
        case 5:
            for name: StaticString in ["+CCID", "+ICCID", "+QCCID", "+NCCID"] where iccid.isEmpty {
                if var fields = ATFields(answer, of: name) { iccid = fields.string() }
            }
            if iccid.isEmpty { iccid = ATFields.text(of: answer, named: "+CCID") }
        default: imsi = ATFields.text(of: answer, named: "+CIMI")
        }
    }
}
