internal import ATAdapter
internal import CLinux
internal import CoAPClient
internal import HubSimulator
internal import MQTTClient
internal import ModemSimulator
internal import QCloudIoTHub
internal import SAL
internal import SecureTransport

/// What an error means for the user, and what to do next.
func sentence(for error: any Error) -> String {
    switch error {
    case let error as Failure: error.message
    case let error as UsageError: error.message
    case let error as MQTTError: sentence(for: error)
    case let error as CoAPError: sentence(for: error)
    case let error as CoAPLinkError: "the links cannot be read: \(error)"
    case let error as SocketError: error.description
    case let error as ATError: sentence(for: error)
    case let error as ModemMQTTError: sentence(for: error)
    case let error as SecureTransportError: sentence(for: error)
    case let error as HubIdentityError: sentence(for: error)
    case let error as HubCoAPError: sentence(for: error)
    case let error as HubSimulatorError: error.description
    case let error as ModemSimulatorError: error.description
    case is CancellationError: "interrupted"
    default: "\(error)"
    }
}

func sentence(for error: CoAPError) -> String {
    switch error {
    case .notAcknowledged(let transmissions):
        "the server does not answer, after \(transmissions) transmissions; is it running, and are host and port right?"
    case .noResponse: "the server has the request, and no response has come in time"
    case .notSent: "the request could not be sent in its time"
    case .reset: "the server rejected the request; is it a CoAP server?"
    case .unacceptableOption(let number): "the response has the critical option \(number), which is not known here"
    case .responseTruncated: "the response is longer than the network takes; try smaller blocks with -b"
    case .unexpectedBlock: "the server sends blocks that do not fit together"
    case .representationChanged: "the resource changes faster than it can be fetched; try again"
    case .refused(let code, let diagnostic):
        "the server answers \(code)" + (diagnostic.isEmpty ? "" : ": \(String(decoding: diagnostic, as: UTF8.self))")
    case .bodyTooLarge(let bytes, let limit): "the body has \(bytes) bytes, over the limit of \(limit)"
    case .bodyPartLength(let bytes, let expected, let offset):
        "the body gave \(bytes) bytes instead of \(expected) at offset \(offset); has it changed since the upload began?"
    case .invalidOption(let number): "the value of option \(number) is not allowed"
    case .invalidMethod(let code): "\(code) is no method"
    case .messageTooLarge(let bytes, let limit): "a message of \(bytes) bytes is over the limit of \(limit)"
    case .tooManyRequests(let limit): "\(limit) requests are unfinished; wait for some first"
    case .connectionLost: "the connection ended before the response; whether the server has acted is not known"
    case .aborted(let diagnostic):
        "the server aborted the connection"
            + (diagnostic.isEmpty ? "" : ": \(String(decoding: diagnostic, as: UTF8.self))")
    case .protocolViolation: "the server does not speak CoAP over TCP; is the port right?"
    case .invalidURL(let offset): "it goes wrong at character \(offset + 1)"
    case .cancelled: "cancelled"
    case .closed: "the client is closed"
    case .transport(let error): error.description
    }
}

func sentence(for error: MQTTError) -> String {
    switch error {
    case .connectionRefused(let reason):
        switch reason.code {
        case .badUserNameOrPassword: "the server refused the user name or the password\(words(reason))"
        case .notAuthorized:
            "the server refused the login; its log says why (wrong key, expired, disabled, unknown)\(words(reason))"
        case .clientIdentifierNotValid:
            "the server refused the client identifier; try another with -i\(words(reason))"
        case .unsupportedProtocolVersion: "the server does not speak this version of MQTT; try another with -V"
        case .serverUnavailable: "the server says that it is not available now\(words(reason))"
        default: "the server refused the connection: \(reason)"
        }
    case .publishRefused(let reason): "the server refused the message: \(reason)"
    case .subscriptionRefused(let reason):
        "the server refused the subscription (\(reason)); the topic may belong to somebody else"
    case .unsubscriptionRefused(let reason): "the server refused to end the subscription: \(reason)"
    case .disconnectedByServer(let reason): "the server ended the connection: \(reason)"
    case .unsupportedByServer(let feature): "the server does not support this: \(feature)"
    case .invalidProperties: "the properties are not ones that this packet may have"
    case .invalidTopicName: "the topic is empty, too long, or has a wildcard in it"
    case .invalidTopicFilter: "the topic filter is not valid: '+' stands for one whole level, '#' for all that follow"
    case .invalidConnectOptions: "client identifier, user name, password or keep alive is not allowed by MQTT"
    case .packetTooLarge(let bytes, let limit): "a message of \(bytes) bytes is over the limit of \(limit)"
    case .queueFull(let limit): "as much waits for its acknowledgement as may (\(limit)); wait for some first"
    case .droppedFromQueue: "the message was dropped for a newer one"
    case .expired: "the message has waited for longer than it is worth"
    case .noReply: "no reply has come in time"
    case .authenticationFailed: "the login in several steps has failed"
    case .store(let code): "the messages cannot be kept: error \(code) of the store; is its disk full or read-only?"
    case .notConnected: "there is no connection"
    case .protocolViolation(let violation): "the server does not keep to MQTT (\(violation)); is it an MQTT server?"
    case .connectTimedOut: "something accepted the connection but did not answer; is it an MQTT server?"
    case .keepAliveTimedOut: "the server fell silent"
    case .closedByServer: "the server closed the connection"
    case .closedRepeatedly(let times):
        "the server closed the connection \(times) times in a row; does another client have the same identifier?"
    case .disconnected: "disconnected"
    case .cancelled: "interrupted"
    case .transport(let error): error.description
    case .secure(let error): sentence(for: error)
    case .webSocket(.refused(let status)):
        "the server answered the request for a WebSocket with HTTP status \(status); is the path right?"
    case .webSocket(let error): "the WebSocket failed: \(error)"
    @unknown default: "\(error)"
    }
}

/// The server's own words, if it has said any.
private func words(_ reason: MQTTReason) -> String { reason.properties.reasonString.map { ": \($0)" } ?? "" }

func sentence(for error: ATError) -> String {
    switch error {
    case .timedOut, .notResponding: "the modem does not answer; 'apus modem probe' finds its rate and dialect"
    case .pinRequired: "the SIM wants its PIN, or has refused it; give it with --pin (three errors lock the SIM)"
    case .simLocked: "the SIM is locked; its operator gives the PUK"
    case .registrationDenied: "the network refuses the SIM; is its contract active, and does it allow this network?"
    case .noDataConnection: "there is no data connection; are --apn, --user and --password right?"
    case .joinFailed(code: 2): "the wireless network has another password; see --join"
    case .joinFailed(code: 3): "there is no such wireless network here; see --join"
    case .joinFailed(let code): "the wireless network cannot be joined (\(code)); is it near enough?"
    case .equipment(code: 10): "there is no SIM in the modem; insert one, and restart the modem"
    case .equipment(code: 13), .equipment(code: 15): "the SIM does not work; see that it sits well, or try another one"
    case .equipment(let code): "the modem answers +CME ERROR: \(code)"
    case .messaging(let code): "the modem answers +CMS ERROR: \(code)"
    case .refused: "the modem answers ERROR; is the dialect right? 'apus modem probe' finds it"
    case .unsendable: "an option holds a control character, which no command can carry"
    case .lineTooLong: "an option is longer than a command of this modem may be"
    case .deviceRestarted: "the modem has restarted"
    case .cancelled: "the serial line has ended"
    case .notKnown: "the modem does not know it yet; ask again when it is attached"
    case .busy, .sendFailed, .queueFull: "the modem has too much to do (\(error)); try again"
    @unknown default: "\(error)"
    }
}

func sentence(for error: ModemMQTTError) -> String {
    switch error {
    case .notInFirmware: "this dialect has no MQTT inside; --modem-mqtt is for --dialect espat-tencent and l610-tencent"
    case .failed(.notAuthorized), .failed(.badUserNameOrPassword), .failed(.secureConnectFailed):
        "the hub refuses the device (\(error)); are product, name and secret right?"
    case .failed(let code): "the modem's firmware says: \(code)"
    case .connectionLost(let code): "the modem has lost its connection: \(code)"
    case .modem(let error): sentence(for: error)
    case .modemDetached: "the modem has lost its network"
    case .unanswered: "the modem has not answered in time"
    case .queueFull(let limit): "\(limit) messages wait for the modem; report less often"
    case .disconnected: "disconnected"
    case .cancelled: "cancelled"
    default: "the modem's firmware cannot do that: \(error)"
    }
}

func sentence(for error: SecureTransportError) -> String {
    switch error {
    case .badConfiguration(let part, let code):
        switch part {
        case .anchors: "the trusted certificates cannot be read (mbedTLS \(code)); they must be PEM or DER"
        case .certificateChain: "the client's certificate cannot be read (mbedTLS \(code)); it must be PEM or DER"
        case .privateKey: "the private key cannot be read (mbedTLS \(code)); is it PEM or DER, and the password right?"
        case .keyDoesNotMatchCertificate: "the private key is not that of the certificate"
        case .preSharedKey: "the pre-shared key or its identity is empty or too long"
        case .serverName: "the server's name cannot be used for TLS"
        case .revocationLists: "the lists of revoked certificates cannot be read (mbedTLS \(code))"
        case .applicationProtocols: "the application protocols cannot be used for TLS"
        case .version: "this mbedTLS has no TLS so new"
        case .connectionID: "this mbedTLS has no connection IDs"
        case .other: "mbedTLS cannot be set up (\(code))"
        }
    case .certificateUnreadable(let code):
        "the server's certificate cannot be read, or has a critical extension that is not known here (mbedTLS \(code))"
    case .wrongSignature: "the server does not have the key of its certificate"
    case .signingFailed: "the key of the client's certificate did not sign"
    case .certificateRejected(let rejection): rejection.description
    case .unknownIdentity: "the client's identity has no key here"
    case .nothingInCommon: "the client has offered no cipher suite that is agreed to"
    case .alertReceived(let alert): "the server refused the secure connection: \(alert)"
    case .protocolFailure(let code): "the secure connection failed (mbedTLS \(code)); is it a TLS server?"
    case .closedInHandshake: "the server closed the connection in the handshake; does it expect TLS, or a certificate?"
    case .truncated: "the connection was cut: the server did not say goodbye"
    case .timedOut: "the server did not finish the handshake in time; is it a TLS server?"
    case .outOfMemory: "out of memory"
    case .transport(let error): error.description
    @unknown default: "\(error)"
    }
}

func sentence(for error: HubIdentityError) -> String {
    switch error {
    case .invalidProductID: "a product ID is 10 characters of A-Z and 0-9"
    case .invalidDeviceName: "a device name is 1 to 48 characters of A-Z, a-z, 0-9, '_' and '-'"
    case .invalidDeviceSecret: "a device secret is base64 text, as the hub shows it"
    case .invalidConnectionID: "a connection ID is 5 letters and digits"
    @unknown default: "\(error)"
    }
}

func sentence(for error: HubCoAPError) -> String {
    switch error {
    case .refused(.forbidden): "the hub does not know the device, or it is disabled (4.03)"
    case .refused(let code): "the hub refused the request (\(code))"
    case .transport(let error): "\(error)"
    @unknown default: "\(error)"
    }
}
