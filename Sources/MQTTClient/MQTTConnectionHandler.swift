/// What an ``MQTTConnectionHandler`` does with a message.
public enum MQTTDisposition: Sendable {
    /// It is through with the message, which is acknowledged to the server.
    case taken
    /// It has the message, and says when it is through with it: ``MQTTConnection/acknowledge(_:)``.
    case kept
    /// It has no room: the message is offered again, and nothing more is read, after ``MQTTConnection/resumeReceiving()``.
    case refused
}

/// What an ``MQTTConnection`` tells; all calls are made on its loop.
public protocol MQTTConnectionHandler: AnyObject {
    /// A connection is about to be attempted: the configuration may still be changed, such as for a login that is valid
    /// for one attempt.
    func willConnect(_ configuration: inout MQTTConfiguration)
    /// The server accepted the connection.
    func connected(_ info: MQTTConnectionInfo)
    /// The connection, or the attempt, is over. It is tried again at `retryAt`; `nil`: this was the last word, and the handler
    /// is let go of.
    func disconnected(_ error: MQTTError, retryAt: Duration?)
    /// A message arrived.
    func received(_ message: MQTTMessage) -> MQTTDisposition
    /// The server has taken a publish; in 5.0 the code may say that nobody has subscribed.
    func published(_ request: MQTTRequestID, code: MQTTReasonCode)
    /// A publish, subscription or unsubscription has failed.
    func failed(_ request: MQTTRequestID, _ error: MQTTError)
    /// The server answered a subscription: for each filter a granted QoS, or a ``MQTTReasonCode`` that is a failure.
    func subscribed(_ request: MQTTRequestID, codes: [UInt8])
    /// The server answered an unsubscription.
    func unsubscribed(_ request: MQTTRequestID, codes: [UInt8])
    /// A server that had lost the session refused, after a reconnect, what was granted before.
    func subscriptionLost(filter: [UInt8], code: MQTTReasonCode)
    /// There is room again after a request has failed with ``MQTTError/queueFull(limit:)``.
    func hasRoom()
    #if os(Linux) || MQTT5
    /// A re-authentication has succeeded.
    func reauthenticated()
    #endif
}

// A handler implements what it needs.
extension MQTTConnectionHandler {
    /// Changes nothing.
    public func willConnect(_ configuration: inout MQTTConfiguration) {}
    /// Does nothing.
    public func connected(_ info: MQTTConnectionInfo) {}
    /// Does nothing: the connection comes back by itself.
    public func disconnected(_ error: MQTTError, retryAt: Duration?) {}
    /// Takes the message, and does nothing with it.
    public func received(_ message: MQTTMessage) -> MQTTDisposition { .taken }
    /// Does nothing.
    public func published(_ request: MQTTRequestID, code: MQTTReasonCode) {}
    /// Does nothing.
    public func failed(_ request: MQTTRequestID, _ error: MQTTError) {}
    /// Does nothing.
    public func subscribed(_ request: MQTTRequestID, codes: [UInt8]) {}
    /// Does nothing.
    public func unsubscribed(_ request: MQTTRequestID, codes: [UInt8]) {}
    /// Does nothing.
    public func subscriptionLost(filter: [UInt8], code: MQTTReasonCode) {}
    /// Does nothing.
    public func hasRoom() {}
    #if os(Linux) || MQTT5
    /// Does nothing.
    public func reauthenticated() {}
    #endif
}
