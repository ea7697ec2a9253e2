internal import CCoAP
internal import CLinux
internal import Kernel

/// The hub's CoAP side on loopback, over UDP and with pre-shared keys over DTLS: devices authenticate, post their topics, and get control messages as answers.
///
/// It is written on libcoap, so that no code of this project's own client is at both ends. Any number of them may run in one process, each with
/// a thread of its own.
public final class CoAPEndpoint: Sendable {
    /// Whether a device exists and is enabled, by product and device name.
    public typealias IsKnown = @Sendable (_ productID: String, _ deviceName: String) -> Bool
    /// The key of the device with this PSK identity, which is its product ID and name; `nil` if there is none.
    public typealias KeyOf = @Sendable (_ identity: String) -> [UInt8]?
    /// Takes a message of a device, and returns the control message for it, if there is one. The device gets it only if it wants an answer.
    public typealias OnMessage =
        @Sendable (
            _ productID: String, _ deviceName: String, _ topic: String, _ payload: [UInt8], _ wantsAnswer: Bool
        ) -> [UInt8]?

    /// The UDP port on 127.0.0.1.
    public let port: UInt16
    /// The UDP port on 127.0.0.1 for DTLS; `nil` without keys.
    public let securePort: UInt16?
    private let worker: CoAPWorker

    /// Starts an endpoint on 127.0.0.1 and `port`, and with `keyOf` at `securePort` for DTLS too; 0 takes a free one. The closures are called on the
    /// endpoint's thread.
    ///
    /// A device that comes over DTLS is the one whose key it has: another's topics are forbidden, whatever the token says.
    public init(
        port: UInt16 = 0,
        securePort: UInt16 = 0,
        behavior: CoAPBehavior = CoAPBehavior(),
        keyOf: KeyOf? = nil,
        isKnown: @escaping IsKnown,
        onMessage: @escaping OnMessage
    ) throws(CoAPEndpointError) {
        let rules = CoAPHubRules(isKnown: isKnown, onMessage: onMessage)
        worker = try CoAPWorker(
            port: port,
            securePort: securePort,
            behavior: behavior,
            rules: rules,
            keys: keyOf.map(DTLSKeys.init)
        )
        self.port = worker.port
        self.securePort = worker.securePort
        try worker.start()
    }

    deinit { worker.stop() }

    /// How it answers; may be changed at any time.
    public var behavior: CoAPBehavior {
        get { worker.shared.withLock { $0.behavior } }
        set { worker.shared.withLock { $0.behavior = newValue } }
    }

    /// What it has seen since its start.
    public var statistics: CoAPStatistics { worker.shared.withLock { $0.statistics } }

    /// Makes all authentication tokens invalid: the next requests are answered with 4.01.
    public func expireTokens() { worker.shared.withLock { $0.tokens = [:] } }

    /// Closes the port and ends the thread; does nothing the second time.
    public func stop() { worker.stop() }
}

/// Why an endpoint did not start.
public enum CoAPEndpointError: Error, Equatable, Sendable {
    /// The port could not be bound; with the `errno`.
    case cannotBind(port: UInt16, code: Int32)
    /// The library could not be set up.
    case setUpFailed
}

/// How a ``CoAPEndpoint`` answers.
public struct CoAPBehavior: Equatable, Sendable {
    /// How an answer that the device asked for travels.
    public enum AnswerStyle: Equatable, Sendable {
        /// In the acknowledgement of the request.
        case piggybacked
        /// In a confirmable message of its own, after an acknowledgement that is empty.
        case separateAfterEmpty
        /// In a confirmable message of its own, after an acknowledgement of code 2.03, as the hub does it.
        case separateAfterValid
    }

    /// How answers travel.
    public var answerStyle = AnswerStyle.piggybacked
    /// How many of the requests that come next are not answered at all, copies of the same one included. Counts down.
    public var requestsToDrop = 0
    /// How long responses are held back; acknowledgements that carry none are not.
    public var responseDelay: Duration = .zero

    /// Piggybacked answers, no faults.
    public init() {}
}

/// What a ``CoAPEndpoint`` has seen.
public struct CoAPStatistics: Equatable, Sendable {
    /// Requests that were dealt with, each once.
    public var requests = 0
    /// Copies of requests, which were answered as before.
    public var duplicates = 0
    /// Requests that were dropped as ``CoAPBehavior/requestsToDrop`` says.
    public var dropped = 0
    /// Messages that were handed on.
    public var messages = 0
}
