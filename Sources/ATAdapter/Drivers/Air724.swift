extension ModemDriver {
    /// Luat's Air724UG, Air720 and Air780.
    public static var air724: ModemDriver { ModemDriver { Air724() } }
}

/// Luat's Air724UG, Air720 and Air780: the commands of SIM800, with LTE.
final class Air724: SIM800 {
    override init() {
        var traits = ATTraits()
        traits.links = 0..<6
        traits.opensByName = false
        traits.pollsEachLink = true
        (traits.sendBytes, traits.datagramBytes) = (1_000, 1_000)
        super.init(traits)
    }

    override func command(_ request: ATRequest) -> StaticString? {
        switch request.kind {
        case .open where request.step == 0:
            request.isDatagram ? "80*AT+CIPSTART=#,\"UDP\",$,@" : "80*AT+CIPSTART=#,\"TCP\",$,@"
        default: super.command(request)
        }
    }

    override func familyNotice(_ line: Span<UInt8>, during request: ATRequest) -> ATNotice {
        switch ATMatch(line, in: "^MODE*\n+E_UTRAN*\n+NITZ*").index {
        case 0...: .ignored
        default: super.familyNotice(line, during: request)
        }
    }
}
