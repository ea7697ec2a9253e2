#if !hasFeature(Embedded)
/// A message to publish.
public struct MQTTPublish: Sendable {
    /// The topic name, UTF-8.
    public var topic: [UInt8]
    /// The payload.
    public var payload: [UInt8]
    /// The guarantee.
    public var qos: QoS
    /// Whether the server keeps it for new subscribers.
    public var isRetained: Bool
    /// What else is told of it (5.0).
    public var properties: MQTTProperties

    /// A message from its parts.
    public init(
        _ payload: [UInt8],
        to topic: String,
        qos: QoS = .atLeastOnce,
        isRetained: Bool = false,
        properties: MQTTProperties = MQTTProperties()
    ) {
        self.topic = Array(topic.utf8)
        self.payload = payload
        self.qos = qos
        self.isRetained = isRetained
        self.properties = properties
    }
}
#endif
