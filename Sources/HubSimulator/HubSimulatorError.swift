/// Why a hub did not do what it was asked.
@nonexhaustive
public enum HubSimulatorError: Error, Equatable, Sendable {
    /// A program is not installed; `package` is where Debian has it.
    case programMissing(String, package: String)
    /// The broker's plugin is at none of these paths.
    case pluginMissing([String])
    /// Another hub runs in this directory.
    case directoryInUse(String)
    /// Another program listens on this port of the hub's address.
    case portInUse(UInt16)
    /// A port of this address could not be had; with the `errno`.
    case addressUnusable(String, code: Int32)
    /// A file or directory could not be used; with the `errno`.
    case file(String, code: Int32)
    /// A program could not be started; with the `errno`.
    case cannotStart(String, code: Int32)
    /// The script that makes keys and certificates failed; with what it said.
    case identitiesFailed(String)
    /// The broker ended or did not answer; with the last lines of its log.
    case brokerFailed(String)
    /// The cloud's own MQTT client failed; with Paho's words or return code.
    case cloudFailed(String)
    /// The CoAP library could not be set up.
    case coapFailed
    /// The HTTP library could not be set up for this port.
    case httpFailed(UInt16)
    /// The registry file cannot be read as one.
    case registryMalformed(path: String, reason: String)
    /// A product ID, device name or secret breaks the hub's rules.
    case invalidIdentity(String)
    /// There is no such device in the registry.
    case unknownDevice(String)
    /// The device is there already.
    case duplicateDevice(String)
    /// The hub is not running.
    case notRunning
    /// The hub runs already.
    case alreadyRunning
    /// What the services remember could not be read or written; with SQLite's number of the error.
    case stateFailed(String, code: Int32)
    /// The device did not answer a call in time.
    case noAnswer(String)
    /// There is more of something than the hub keeps.
    case tooMany(String, limit: Int)
    /// Something is longer, in bytes, than the hub takes.
    case tooLong(String, limit: Int)
    /// What the application asked for breaks a service's rules.
    case invalidRequest(String)
}

extension HubSimulatorError: CustomStringConvertible {
    /// A sentence for people, with what to do where that is known.
    public var description: String {
        switch self {
        case .programMissing(let name, let package):
            "the program \(name) is not installed; install it with: apt-get install \(package)"
        case .pluginMissing(let paths):
            "the broker's plugin is missing (looked at \(paths.joined(separator: ", "))); "
                + "build it with: swift build --product HubPlugin, or name it in APUS_HUB_PLUGIN"
        case .directoryInUse(let path): "another hub runs in \(path); stop it or use another directory"
        case .portInUse(let port): "port \(port) is used by another program; choose another, or 0 for any free one"
        case .addressUnusable(let address, let code): "cannot listen on \(address): \(errorText(code))"
        case .file(let path, let code): "\(path): \(errorText(code))"
        case .cannotStart(let path, let code): "cannot start \(path): \(errorText(code))"
        case .identitiesFailed(let output): "could not make keys and certificates: \(output)"
        case .brokerFailed(let log): "mosquitto failed; it says: \(log)"
        case .cloudFailed(let reason): "the hub's own connection to its broker failed: \(reason)"
        case .coapFailed: "the CoAP library could not be set up"
        case .httpFailed(let port):
            "the HTTP library could not be set up for port \(port); is the hub's certificate in order?"
        case .registryMalformed(let path, let reason): "\(path) is not a device registry: \(reason)"
        case .invalidIdentity(let reason): reason
        case .unknownDevice(let name): "there is no device \(name) in the registry"
        case .duplicateDevice(let name): "the device \(name) is in the registry already"
        case .notRunning: "the hub is not running"
        case .alreadyRunning: "the hub runs already"
        case .stateFailed(let path, let code):
            "\(path): SQLite says error \(code); if the file is damaged, remove it while the hub is stopped"
        case .noAnswer(let what): "no answer to \(what) came in time; is the device online and subscribed?"
        case .tooMany(let what, let limit): "there are more than \(limit) \(what); let some end or take them back first"
        case .tooLong(let what, let limit): "\(what) is longer than \(limit) bytes"
        case .invalidRequest(let reason): reason
        }
    }
}
