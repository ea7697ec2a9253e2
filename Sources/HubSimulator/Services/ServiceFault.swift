/// Something that goes wrong with a service's messages, on request.
public struct ServiceFault: Equatable, Sendable {
    /// What goes wrong.
    public enum Effect: Equatable, Sendable {
        /// The request never arrives: nothing changes.
        case requestLost
        /// The request is carried out, and its answer is lost.
        case answerLost
        /// The answer comes so much later.
        case late(Duration)
        /// The answer comes twice.
        case duplicated
        /// The answer is cut in the middle, so that it is no JSON.
        case malformed
        /// The answer has another token than the request.
        case wrongToken
        /// The request is refused with this number; nothing changes. A service whose replies have no result is silent.
        case error(Int)
    }

    /// What goes wrong.
    public var effect: Effect
    /// Whose messages it is about; `nil` for all devices.
    public var device: HubDeviceName?
    /// Which service's; `nil` for all.
    public var service: CloudService?
    /// How many requests it is about; then it ends.
    public var count: Int
    /// Whether it is about messages that the cloud sends by itself, instead of requests and their answers.
    public var isForPushes: Bool

    /// A fault of the next `count` requests that fit.
    public init(
        _ effect: Effect,
        device: HubDeviceName? = nil,
        service: CloudService? = nil,
        count: Int = 1,
        isForPushes: Bool = false
    ) {
        self.effect = effect
        self.device = device
        self.service = service
        self.count = count
        self.isForPushes = isForPushes
    }

    func fits(_ service: CloudService, _ device: HubDeviceName, isPush: Bool) -> Bool {
        isPush == isForPushes && (self.service ?? service) == service && (self.device ?? device) == device
    }
}

/// How the services behave for as long as it is set; what the vendor leaves open is a setting here.
public struct ServiceBehavior: Equatable, Sendable {
    /// Whether answers come with their members in any order, and with members that no device knows.
    public var isStrict = false
    /// What is added to the time that devices are told.
    public var timeSkew: Duration = .zero
    /// Whether the time comes without its two numbers in milliseconds.
    public var omitsNTPTimes = false
    /// Whether the shadow's times are in seconds, as on older hubs, instead of milliseconds.
    public var hasShadowTimesInSeconds = false
    /// Whether a configuration is sent as a text that holds JSON.
    public var sendsConfigurationAsText = false
    /// Whether a delta has only what differs from the reported state; else it has all that is desired.
    public var deltaHasOnlyDifferences = true
    /// How far a bind signature's time may be from the hub's; then it has expired.
    public var bindSignatureAge: Duration = .seconds(300)

    /// Whether raw bytes of a data template come back, as from a product's script that does that.
    public var echoesRaw = true
    /// Whether a gateway's request for several sub-devices is answered for the first only.
    public var gatewayAnswersOnlyFirst = false
    /// Whether the reply to `unbind` has the type `bind`, as an example of the vendor's has.
    public var answersUnbindAsBind = false
    /// How far the time in a signature of HTTP may be from the hub's; `nil` for any time. A device that registers may have no clock, so there it is not
    /// looked at.
    public var httpSignatureAge: Duration?
    /// Whether the URLs of files are those of HTTPS.
    public var sendsFilesByTLS = false

    /// The behavior of the real cloud, where it is known.
    public init() {}
}

/// What the services have done.
public struct ServiceStatistics: Equatable, Sendable {
    /// Messages of devices to services.
    public var requests = 0
    /// Those that were not understood, and left without an answer.
    public var malformed = 0
    /// Messages that were dropped because too many waited.
    public var dropped = 0
    /// Messages to devices.
    public var answers = 0
    /// Faults that took effect.
    public var faults = 0
    /// Answers of devices to calls that had ended.
    public var lateCallAnswers = 0
    /// Messages that a service could not deal with because its state or the broker failed; ``CloudServices/lastFailure`` says why.
    public var failures = 0
}

/// A message as the services saw it.
public struct ServiceRecord: Equatable, Sendable {
    /// Counts up from 1.
    public let number: Int
    /// Whether a device sent it.
    public let isFromDevice: Bool
    /// The topic.
    public let topic: String
    /// The bytes.
    public let payload: [UInt8]
    /// When, in milliseconds since 1970 by the hub's clock.
    public let time: Int
}
