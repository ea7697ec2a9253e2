#if !hasFeature(Embedded)
/// Where a session is kept, so that it outlives the process: what is published with an acknowledgement, and what has been received with QoS 2. It is used on the
/// client's loop only, and must not call the client or its connection from there.
public protocol MQTTStore: AnyObject, Sendable {
    /// All messages that are kept, in the order of their numbers.
    func load() throws(MQTTError) -> [MQTTStoredMessage]
    /// The packet identifiers of messages with QoS 2 that were received and are not released.
    func loadReceived() throws(MQTTError) -> [UInt16]
    /// Keeps a message: its state, and its packet.
    func put(_ number: UInt32, header: Span<UInt8>, packet: Span<UInt8>)
    /// Keeps another state of a message.
    func update(_ number: UInt32, header: Span<UInt8>)
    /// Takes a message out.
    func remove(_ number: UInt32)
    /// Keeps the packet identifier of a message with QoS 2.
    func addReceived(_ packetID: UInt16)
    /// Takes a packet identifier out.
    func removeReceived(_ packetID: UInt16)
    /// Takes all packet identifiers out.
    func removeAllReceived()
    /// Makes all since the last time last: when it returns, a power cut does not undo it. It is called before anything that follows from it is sent. What failed
    /// before is told here.
    func commit() throws(MQTTError)
}

/// A message as an ``MQTTStore`` keeps it.
public struct MQTTStoredMessage: Sendable {
    /// What it is known by.
    public let number: UInt32
    /// Its state, as the session writes it.
    public let header: [UInt8]
    /// Its packet, as it is sent first.
    public let packet: [UInt8]

    /// A message as it was kept.
    public init(number: UInt32, header: [UInt8], packet: [UInt8]) {
        self.number = number
        self.header = header
        self.packet = packet
    }
}
#endif
