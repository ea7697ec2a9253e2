internal import Kernel

/// The line before there are frames: the modem is found, and asked for them.
extension Multiplexer {
    func handle(_ event: ATEvent) {
        switch event {
        case .recovered: askForFrames()
        case .finished(let error): answered(error)
        case .restarted: engine.resynchronize(at: loop.now)
        case .needsHardwareReset: if handler?.resetModem() == true { engine.resynchronize(at: loop.now) }
        case .failed: change(to: .failed(.notResponding))
        case .line, .payload, .decoded, .whole, .prompt, .damaged, .resetting: break
        }
    }

    func askForFrames() {
        // Not all rates have a number, which is what this way tells.
        if step == 0, configuration.rateNumber == nil { step = 1 }
        var request = ATRequest(kind: .multiplex, step: step)
        request.link = Int(configuration.option.rawValue)
        request.count = configuration.frameBytes
        guard engine.isIdle, let template = dialect.template(for: request, ModemConfiguration()) else { return }
        let command = ATCommand(
            template: template,
            request: request,
            host: [],
            port: configuration.rateNumber ?? 0,
            escaping: false,
            configuration: ModemConfiguration()
        )
        engine.start(command, at: loop.now)
    }

    func answered(_ error: ATError?) {
        switch error {
        case nil: phase = .settling(until: loop.now + .milliseconds(configuration.settlingMilliseconds))
        // The engine finds back to the modem first.
        case .timedOut?: break
        case .some(let error):
            step += 1
            if dialect.template(for: ATRequest(kind: .multiplex, step: step), ModemConfiguration()) != nil {
                return askForFrames()
            }
            failures = min(failures + 1, 6)
            phase = .pausing(until: loop.now + .milliseconds(500 << failures))
            change(to: .failed(error))
        }
    }
}

extension MultiplexerConfiguration {
    /// The number of the line's rate (3GPP 27.007, 5.7; beyond 6 as makers have gone on).
    fileprivate var rateNumber: UInt16? {
        switch baudRate {
        case 9_600: 1
        case 19_200: 2
        case 38_400: 3
        case 57_600: 4
        case 115_200: 5
        case 230_400: 6
        case 460_800: 7
        case 921_600: 8
        default: nil
        }
    }
}
