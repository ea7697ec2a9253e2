extension ModemDriver {
    /// Quectel's BC26, BC66 and BC660K.
    public static var bc26: ModemDriver { ModemDriver { BC26() } }
}

/// Quectel's BC26, BC66 and BC660K for NB-IoT: the commands of the larger ones, but for the context, which comes by itself; data is pushed.
final class BC26: Quectel {
    override init() {
        var traits = ATTraits()
        traits.links = 0..<5
        (traits.sendBytes, traits.datagramBytes) = (1_024, 1_024)
        traits.promptPause = 5
        traits.hasMultiplexer = false
        traits.repeatsFailedSends = true
        traits.pollsEachLink = true
        traits.reset = "AT+QRST=1\r"
        super.init(traits)
    }

    override var isPassive: Bool { false }
    #if !hasFeature(Embedded)
    override var transparency: ATTransparency? { nil }
    #endif

    override func command(_ request: ATRequest) -> StaticString? {
        switch request.kind {
        case .open where request.step == 1:
            request.isDatagram ? "60*AT+QIOPEN=1,#,\"UDP\",$,@,0,1" : "60*AT+QIOPEN=1,#,\"TCP\",$,@,0,1"
        case .send: "60=AT+QISEND=#,%"
        case .read: nil
        // Whether there is a network, and how the links are.
        case .poll: request.step == 0 ? "5?AT+CGATT?" : "5?AT+QISTATE=1,#"
        default: super.command(request)
        }
    }

    override func connectionStep(_ step: Int, _ configuration: ModemConfiguration) -> StaticString? {
        switch step {
        case 0: "5?AT+QSCLK=0"
        case 1: "5?AT+QICFG=\"dataformat\",0,0"
        case 2: "140?AT+CGATT=1"
        case 3: attaching()
        // Sockets of an earlier run.
        case 4: "10?AT+QICLOSE=0"
        case 5: "10?AT+QICLOSE=1"
        case 6: "10?AT+QICLOSE=2"
        case 7: "10?AT+QICLOSE=3"
        case 8: "10?AT+QICLOSE=4"
        default: nil
        }
    }

    override func connectionStepEnded(_ step: Int, _ error: ATError?, isOptional: Bool) -> ATOutcome {
        // None of the others must succeed.
        step == 3 ? attachAnswered(step) : .next
    }

    override func familyNotice(_ line: Span<UInt8>, during request: ATRequest) -> ATNotice {
        // What the loader says first, and the address that the modem has got.
        switch ATMatch(line, in: "F1:*\n+IP:*\n+QATWAKEUP*").index {
        case 0: .restarted
        case 1, 2: .ignored
        default: super.familyNotice(line, during: request)
        }
    }
}
