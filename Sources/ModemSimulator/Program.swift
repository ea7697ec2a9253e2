internal import CLinux

/// The program `modem-simulator`, or what else it is called: runs a modem until it is interrupted; returns the exit status.
public func runModemSimulator(as program: String = "modem-simulator", arguments: [String]) -> Int32 {
    let help = """
        Simulate a modem with ESP-AT firmware on a pseudo terminal; its links lead to TCP and UDP on this machine.

        Usage: \(program) [OPTIONS]

          --link PATH        A stable path that leads to the terminal.
          --listen PORT      Wait on this TCP port of loopback instead, for QEMU's -serial tcp:127.0.0.1:PORT,nodelay=on.
          --firmware 1|2     The generation of the firmware; 2 unless given.
          --seed N           The seed of everything random.
          --baud N           Hold the line to this rate.
          --pieces WAY       Cut the output: whole, bytes, random.
          --verbose          Print every line.
          --help             Show this help.

        """
    var configuration = ModemSimulatorConfiguration()
    var port: UInt16?
    var isVerbose = false
    var rest = arguments[...]
    func fail(_ message: String) -> Int32 {
        put("\(program): \(message); see --help\n", to: 2)
        return 2
    }
    while let option = rest.popFirst() {
        switch option {
        case "--help":
            put(help, to: 1)
            return 0
        case "--verbose": isVerbose = true
        case "--link", "--listen", "--firmware", "--seed", "--baud", "--pieces":
            guard let value = rest.popFirst() else { return fail("\(option) needs a value") }
            switch (option, UInt64(value), value) {
            case ("--link", _, _): configuration.link = value
            case ("--listen", let number?, _) where number <= 65_535: port = UInt16(number)
            case ("--firmware", 1?, _): configuration.generation = .v1
            case ("--firmware", 2?, _): configuration.generation = .v2
            case ("--seed", let number?, _): configuration.seed = number
            case ("--baud", let number?, _) where number <= 10_000_000: configuration.baudRate = Int(number)
            case ("--pieces", _, "whole"): configuration.faults.pieces = .whole
            case ("--pieces", _, "bytes"): configuration.faults.pieces = .bytes
            case ("--pieces", _, "random"): configuration.faults.pieces = .random
            default: return fail("'\(value)' is no value for \(option)")
            }
        default: return fail("unknown option \(option)")
        }
    }
    // Blocked before the modem's thread starts, so that the signals arrive here.
    var signals = sigset_t()
    sigemptyset(&signals)
    sigaddset(&signals, SIGINT)
    sigaddset(&signals, SIGTERM)
    pthread_sigmask(SIG_BLOCK, &signals, nil)
    var onLine: (@Sendable (String) -> Void)?
    if isVerbose { onLine = { line in put(line + "\n", to: 1) } }
    do throws(ModemSimulatorError) {
        let modem =
            if let port { try ModemSimulator(listeningOn: port, configuration, onLine: onLine) } else {
                try ModemSimulator(configuration, onLine: onLine)
            }
        put("The modem is at \(modem.path)\n", to: 1)
        var signal: Int32 = 0
        sigwait(&signals, &signal)
        modem.stop()
        usleep(50_000)
        return 0
    } catch {
        put("\(program): \(error)\n", to: 2)
        return 1
    }
}

private func put(_ text: String, to descriptor: Int32) {
    let bytes = Array(text.utf8)
    _ = write(descriptor, bytes, bytes.count)
}
