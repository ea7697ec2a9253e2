internal import Kernel

/// The topics that every device has. Devices may use only their own.
public enum HubTopic {
    /// The device publishes here: `${productID}/${deviceName}/event`.
    public static func event(of identity: DeviceIdentity) -> [UInt8] { topic(identity, "event") }
    /// The device is told here: `${productID}/${deviceName}/control`.
    public static func control(of identity: DeviceIdentity) -> [UInt8] { topic(identity, "control") }
    /// The device publishes and subscribes here: `${productID}/${deviceName}/data`.
    public static func data(of identity: DeviceIdentity) -> [UInt8] { topic(identity, "data") }

    /// A custom topic of the device: `${productID}/${deviceName}/${name}`.
    public static func topic(_ identity: DeviceIdentity, _ name: StaticString) -> [UInt8] {
        var topic = identity.productID
        topic.append(UInt8(ascii: "/"))
        topic.append(identity.deviceName.span)
        topic.append(UInt8(ascii: "/"))
        topic.append(name)
        return topic
    }
}
