internal import CLinux

/// The program `hub-simulator`, or what else it is called: runs a hub until SIGINT or SIGTERM. `arguments` are those behind the program's name. Returns the
/// exit status: 0 after a signal, 1 if the hub failed, 2 if the arguments were wrong.
public func runHubSimulator(as program: String = "hub-simulator", arguments: [String]) -> Int32 {
    let options: HubOptions
    do {
        options = try HubOptions(arguments)
    } catch {
        printLine("\(program): \(error)\n\(HubOptions.usage(of: program))", to: STDERR_FILENO)
        return 2
    }
    guard !options.wantsHelp else {
        printLine(HubOptions.help(of: program))
        return 0
    }
    // Blocked before any thread is started, so that the signals wait for `nextSignal`.
    var signals = sigset_t()
    sigemptyset(&signals)
    sigaddset(&signals, SIGINT)
    sigaddset(&signals, SIGTERM)
    pthread_sigmask(SIG_BLOCK, &signals, nil)
    clinux_ignore_sigpipe()
    do {
        let hub = try HubSimulator(directory: options.directory, configuration: options.configuration)
        hub.onEvent { printEvent($0, isVerbose: options.isVerbose) }
        try hub.start()
        defer { hub.stop() }
        printLine(try welcome(hub))
        var pause = timespec(tv_sec: 0, tv_nsec: 200_000_000)
        while sigtimedwait(&signals, nil, &pause) < 0 {
            guard hub.isBrokerRunning else { throw HubSimulatorError.brokerFailed(hub.brokerLog) }
        }
        return 0
    } catch {
        printLine("\(program): \(error)", to: STDERR_FILENO)
        return 1
    }
}

/// What the command line asks for.
struct HubOptions {
    struct Fault: Error, CustomStringConvertible {
        let description: String
    }

    static func usage(of program: String) -> String {
        """
        usage: \(program) [--directory D] [--address A] [--mqtt-port N] [--psk-port N] [--tls-port N]
               [--tls-key-port N] [--coap-port N] [--coaps-port N] [--http-port N] [--https-port N]
               [--control-port N] [--seed N] [--verbose] [--help]
        """
    }

    static func help(of program: String) -> String {
        """
        \(usage(of: program))

        Runs a hub on this host that checks logins and topics as Tencent Cloud IoT Hub does, until Ctrl-C.

          --directory D     where keys, devices and sessions are kept (\(defaultDirectory));
                            a first start makes a device registry there, D/registry.json, which may be edited at any time
          --address A       the numeric address to listen on (127.0.0.1); 0.0.0.0 lets devices of the network in
          --mqtt-port N     MQTT without TLS: device key and password (11883); 0 takes a free port, here and below
          --psk-port N      MQTT over TLS with a pre-shared key (18883)
          --tls-port N      MQTT over TLS with certificates (18884)
          --tls-key-port N  MQTT over TLS with a certificate of the hub only: device key and password (18885)
          --coap-port N     CoAP over UDP (15683)
          --coaps-port N    CoAP over DTLS with a pre-shared key (15684)
          --http-port N     the HTTP gateway: registration, messages, log lines, files (18080)
          --https-port N    the same over TLS (18443)
          --control-port N  the control API, for tests and operators of this host (18090)
          --seed N          decides what is random in the services, so that a run can be repeated
          --verbose         whole payloads, and logins and disconnections too
        """
    }

    var directory = Self.defaultDirectory
    var configuration = HubConfiguration()
    var isVerbose = false
    var wantsHelp = false

    init(_ arguments: [String]) throws {
        configuration.mqttPort = 11_883
        configuration.pskPort = 18_883
        configuration.tlsPort = 18_884
        configuration.tlsKeyPort = 18_885
        configuration.coapPort = 15_683
        configuration.coapsPort = 15_684
        configuration.httpPort = 18_080
        configuration.httpsPort = 18_443
        configuration.controlPort = 18_090
        var rest = arguments[...]
        while let option = rest.popFirst() {
            func value() throws -> String {
                guard let value = rest.popFirst() else { throw Fault(description: "\(option) needs a value") }
                return value
            }
            func port() throws -> UInt16 {
                let text = try value()
                guard let port = UInt16(text) else {
                    throw Fault(description: "\(option) needs a number of 0 to 65535, not \(text)")
                }
                return port
            }
            switch option {
            case "--directory": directory = try value()
            case "--address": configuration.address = try value()
            case "--mqtt-port": configuration.mqttPort = try port()
            case "--psk-port": configuration.pskPort = try port()
            case "--tls-port": configuration.tlsPort = try port()
            case "--tls-key-port": configuration.tlsKeyPort = try port()
            case "--coap-port": configuration.coapPort = try port()
            case "--coaps-port": configuration.coapsPort = try port()
            case "--http-port": configuration.httpPort = try port()
            case "--https-port": configuration.httpsPort = try port()
            case "--control-port": configuration.controlPort = try port()
            case "--seed":
                let text = try value()
                guard let seed = UInt64(text) else { throw Fault(description: "--seed needs a number, not \(text)") }
                configuration.seed = seed
            case "--verbose", "-v": isVerbose = true
            case "--help", "-h": wantsHelp = true
            default: throw Fault(description: "there is no option \(option)")
            }
        }
    }

    private static var defaultDirectory: String {
        if let state = environmentValue("XDG_STATE_HOME") { return "\(state)/apus-hub" }
        if let home = environmentValue("HOME") { return "\(home)/.local/state/apus-hub" }
        return "apus-hub"
    }
}

/// Writes a line at once, whatever the output is.
func printLine(_ line: String, to file: Int32 = STDOUT_FILENO) {
    let bytes = Array(line.utf8) + [UInt8(ascii: "\n")]
    var start = 0
    while start < bytes.count {
        let count = bytes[start...].withUnsafeBytes { write(file, $0.baseAddress, $0.count) }
        guard count > 0 else { return }
        start += count
    }
}
