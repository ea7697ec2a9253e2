/// The delivery guarantee of a message (MQTT 3.1.1, 4.3).
public enum QoS: UInt8, Sendable {
    /// Sent once, never acknowledged; may be lost.
    case atMostOnce = 0
    /// Sent until acknowledged; may arrive more than once.
    case atLeastOnce = 1
}
