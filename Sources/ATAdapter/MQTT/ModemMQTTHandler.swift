/// What a request is known by.
public typealias ModemMQTTRequestID = UInt32

/// The guarantees that the firmware has.
public enum ModemMQTTQoS: UInt8, Sendable {
    /// Sent once; may be lost.
    case atMostOnce = 0
    /// Sent until acknowledged; may arrive more than once.
    case atLeastOnce = 1
}

/// What the firmware says of images for the device that it fetches from the hub.
public enum ModemFirmwareState: Equatable, Sendable {
    /// It has begun to fetch one.
    case downloading
    /// It has one, which can be read.
    case ready
    /// It could not get it.
    case failed(ModemMQTTCode)
    /// The image was for the modem itself, which restarts now.
    case restarting
}

/// The image that the modem holds.
public struct ModemFirmwareInfo: Equatable, Sendable {
    /// Its version, as text.
    public let version: [UInt8]
    /// Its length in bytes.
    public let bytes: Int
    /// Its MD5 in hexadecimal digits.
    public let md5: [UInt8]
}

/// Who is told what the MQTT of a modem's firmware does; all calls are made on the modem's loop.
public protocol ModemMQTTHandler: AnyObject {
    /// The server has accepted the connection.
    func connected()
    /// The connection, or the attempt, is over. It is tried again at `retryAt`; `nil`: this was the last word, and the handler is let go of.
    func disconnected(_ error: ModemMQTTError, retryAt: Duration?)
    /// A message has arrived. The firmware does not say with which QoS, and has acknowledged it already.
    func received(topic: Span<UInt8>, payload: Span<UInt8>)
    /// A message has arrived, but not whole: the line was damaged, or it is longer than ``ModemMQTTConfiguration/messageBytes``.
    func messageLost()
    /// A publish is over: with QoS 1 the server has it, with QoS 0 it is on its way.
    func published(_ request: ModemMQTTRequestID)
    /// The server has granted a subscription.
    func subscribed(_ request: ModemMQTTRequestID)
    /// The server has ended a subscription.
    func unsubscribed(_ request: ModemMQTTRequestID)
    /// A request has failed.
    func failed(_ request: ModemMQTTRequestID, _ error: ModemMQTTError)
    /// After a reconnect, a subscription was refused that had been granted before.
    func subscriptionLost(filter: [UInt8], _ error: ModemMQTTError)
    /// Something has become of an image for the device.
    func firmwareChanged(_ state: ModemFirmwareState)
    /// What was asked for with ``ModemMQTT/listenForFirmware(version:)`` is done.
    func listensForFirmware(_ request: ModemMQTTRequestID)
    /// The image that the modem holds.
    func firmwareInfo(_ request: ModemMQTTRequestID, _ info: ModemFirmwareInfo)
    /// The next bytes of the image.
    func firmwareData(_ request: ModemMQTTRequestID, _ bytes: Span<UInt8>)
}

// A handler implements what it needs.
extension ModemMQTTHandler {
    /// Does nothing.
    public func connected() {}
    /// Does nothing: the connection comes back by itself.
    public func disconnected(_ error: ModemMQTTError, retryAt: Duration?) {}
    /// Does nothing with it.
    public func received(topic: Span<UInt8>, payload: Span<UInt8>) {}
    /// Does nothing; ``ModemMQTT/lostMessages`` counts.
    public func messageLost() {}
    /// Does nothing.
    public func published(_ request: ModemMQTTRequestID) {}
    /// Does nothing.
    public func subscribed(_ request: ModemMQTTRequestID) {}
    /// Does nothing.
    public func unsubscribed(_ request: ModemMQTTRequestID) {}
    /// Does nothing.
    public func failed(_ request: ModemMQTTRequestID, _ error: ModemMQTTError) {}
    /// Does nothing.
    public func subscriptionLost(filter: [UInt8], _ error: ModemMQTTError) {}
    /// Does nothing.
    public func firmwareChanged(_ state: ModemFirmwareState) {}
    /// Does nothing.
    public func listensForFirmware(_ request: ModemMQTTRequestID) {}
    /// Does nothing.
    public func firmwareInfo(_ request: ModemMQTTRequestID, _ info: ModemFirmwareInfo) {}
    /// Does nothing with them.
    public func firmwareData(_ request: ModemMQTTRequestID, _ bytes: Span<UInt8>) {}
}
