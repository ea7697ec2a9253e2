/// The delivery guarantee of a message (MQTT 5.0, 4.3).
public enum QoS: UInt8, Sendable {
    /// Sent once, never acknowledged; may be lost.
    case atMostOnce = 0
    /// Sent until acknowledged; may arrive more than once.
    case atLeastOnce = 1
    /// Sent until acknowledged, and arrives once, as long as both ends keep the session.
    case exactlyOnce = 2
}

/// The version of the protocol.
public enum MQTTVersion: UInt8, Sendable {
    /// MQTT 3.1.1.
    case v3_1_1 = 4
    #if os(Linux) || MQTT5
    /// MQTT 5.0.
    case v5_0 = 5
    #endif
}
