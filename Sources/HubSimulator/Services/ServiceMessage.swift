/// A service of the cloud that devices talk to.
public enum CloudService: String, CaseIterable, Sendable {
    /// The device shadow: `$shadow`, and its old name `$template`.
    case shadow
    /// Firmware updates: `$ota`.
    case firmware
    /// A gateway's sub-devices: `$gateway`.
    case gateway
    /// Calls of the application that the device answers: `$rrpc`.
    case rrpc
    /// The time, and the switch of remote login: `$sys`.
    case time
    /// Messages to all devices of a product: `$broadcast`.
    case broadcast
    /// Remote configuration: `$config`.
    case configuration
    /// The log level: `$log`.
    case log
    /// Files between device and cloud: `$resource`.
    case resource
    /// Properties of the data template: `$thing/…/property`.
    case property
    /// Events of the data template: `$thing/…/event`.
    case event
    /// Actions of the data template: `$thing/…/action`.
    case action
    /// Other services of the data template: `$thing/…/service`.
    case thing
    /// Binary data of the data template: `$thing/…/raw`.
    case raw
}

/// A device by its product and name.
public struct HubDeviceName: Hashable, Sendable, CustomStringConvertible {
    /// The product's ID.
    public let productID: String
    /// The device's name.
    public let deviceName: String

    /// A device by its product and name.
    public init(_ productID: String, _ deviceName: String) {
        self.productID = productID
        self.deviceName = deviceName
    }

    /// `product/name`, as topics have it.
    public var description: String { "\(productID)/\(deviceName)" }
    var clientID: String { productID + deviceName }

    /// What `text` names: `product/name`.
    init?(_ text: String) {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 2 else { return nil }
        self.init(String(parts[0]), String(parts[1]))
    }
}

/// A message of a device to a service.
struct ServiceMessage: Sendable {
    /// What comes before the device in the topics of each service.
    private static let roots: [String: CloudService] = [
        "$shadow/operation": .shadow, "$template/operation": .shadow, "$ota/report": .firmware,
        "$gateway/operation": .gateway, "$rrpc/txd": .rrpc, "$sys/operation": .time,
        "$config/operation": .configuration, "$config/report": .configuration, "$log/operation": .log,
        "$resource/up/service": .resource, "$thing/up/property": .property, "$thing/up/event": .event,
        "$thing/up/action": .action, "$thing/up/service": .thing, "$thing/up/raw": .raw,
    ]

    let service: CloudService
    let device: HubDeviceName
    /// What came before the device in the topic.
    let root: String
    /// What followed the device: the process ID of RRPC.
    let tail: String?
    let payload: [UInt8]
    /// When it came, in milliseconds since 1970.
    let arrival: Int

    /// `nil` if the topic is no service's.
    init?(topic: String, payload: [UInt8], arrival: Int) {
        let levels = topic.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
        guard topic.hasPrefix("$"), levels.count >= 4 else { return nil }
        for length in [2, 3] {
            let root = levels[..<length].joined(separator: "/")
            guard let service = Self.roots[root] else { continue }
            guard levels.count == length + (service == .rrpc ? 3 : 2) else { return nil }
            self.service = service
            self.root = root
            device = HubDeviceName(levels[length], levels[length + 1])
            tail = service == .rrpc ? levels[length + 2] : nil
            self.payload = payload
            self.arrival = arrival
            return
        }
        return nil
    }
}

/// What a service sends to a device.
struct ServiceAnswer {
    enum Body {
        case json(HubJSON)
        case bytes([UInt8])
    }

    let service: CloudService
    let device: HubDeviceName
    let topic: String
    var body: Body
    var qos = 0
    /// Whether it is for the broker's plugin, and no device's.
    var isInternal = false
    /// Whether it answers a request of the device.
    var isReply = false
    /// The member that a wrong token is put in.
    var tokenName = "clientToken"
}
