#if !hasFeature(Embedded)
public import CoAPClient
public import SAL

/// A device of the hub over CoAP: it posts, and gets what the hub has for it in the answer.
///
/// The hub deviates from RFC 7252 in three ways, which are kept here: a topic is one Uri-Path option with its slashes inside, options
/// 61 and 62 carry the login's token and whether an answer is wanted, and an acknowledgement with code 2.03 announces a separate response.
public actor HubCoAPDevice {
    /// Who the device is.
    public nonisolated let identity: DeviceIdentity
    /// The CoAP client below.
    public nonisolated let client: CoAPClient
    private var token: [UInt8]?

    /// The option of the login's token.
    private static let tokenOption = CoAPOptionNumber(rawValue: 61)
    /// The option that says whether an answer is wanted: the character 0 or 1.
    private static let answerOption = CoAPOptionNumber(rawValue: 62)

    /// A device of the hub at `endpoint`.
    public init(_ identity: DeviceIdentity, hub endpoint: Endpoint, over network: any DatagramNetwork) {
        self.identity = identity
        var configuration = CoAPConfiguration()
        configuration.treatsEmptyValidAsAcknowledgement = true
        configuration.understoodOptions = [Self.tokenOption, Self.answerOption]
        client = CoAPClient(to: endpoint, over: network, configuration: configuration)
    }

    /// Asks the hub for a token, which it checks in each later request. Requests do so themselves when there is none.
    public func authenticate() async throws(HubCoAPError) {
        var generator = SystemRandomNumberGenerator()
        var payload = Array("21010406;".utf8) + HubLogin.connectionID(random: generator.next() as UInt32)
        // The vendor's client sends 16 bytes, and the hub cuts at the first zero.
        payload += [0, 0]
        let response = try await post(
            HubTopic.topic(identity, "txauth9w0BAQsFA"),
            payload,
            token: nil,
            wantsAnswer: false
        )
        guard response.code == .content, !response.payload.isEmpty else { throw .refused(response.code) }
        token = response.payload
    }

    /// Reports an event and returns what the hub has for the device; empty for nothing.
    ///
    /// A token that has run out is renewed, once.
    public func reportEvent(_ payload: [UInt8]) async throws(HubCoAPError) -> [UInt8] {
        if token == nil { try await authenticate() }
        let topic = HubTopic.event(of: identity)
        var response = try await post(topic, payload, token: token, wantsAnswer: true)
        if response.code == .unauthorized {
            try await authenticate()
            response = try await post(topic, payload, token: token, wantsAnswer: true)
        }
        guard response.code.rawValue >> 5 == 2 else { throw .refused(response.code) }
        return response.payload
    }

    /// Closes the socket.
    public func close() async { await client.close() }

    private func post(
        _ topic: [UInt8],
        _ payload: [UInt8],
        token: [UInt8]?,
        wantsAnswer: Bool
    ) async throws(HubCoAPError) -> CoAPResponse {
        var options = CoAPOptions()
        options.add(.uriPath, topic)
        if let token { options.add(Self.tokenOption, token) }
        options.add(Self.answerOption, [wantsAnswer ? UInt8(ascii: "1") : UInt8(ascii: "0")])
        do {
            return try await client.send(CoAPRequest(.post, options: options, payload: payload))
        } catch { throw .transport(error) }
    }
}

/// Why a request over CoAP did not reach the hub, or was not taken.
@nonexhaustive
public enum HubCoAPError: Error, Equatable, Sendable {
    /// The hub answered with this code: 4.03 for a device that it does not know, or a topic that is not the device's.
    case refused(CoAPCode)
    /// The CoAP exchange failed.
    case transport(CoAPError)
}
#endif
