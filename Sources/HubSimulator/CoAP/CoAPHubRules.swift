/// The hub's rules for a CoAP request, without any of CoAP's own.
struct CoAPHubRules: Sendable {
    struct Request: Sendable {
        /// The topic.
        var path: [UInt8]
        /// Option 61: the authentication token.
        var credential: [UInt8]?
        /// Option 62: whether the device wants an answer.
        var wantsAnswer: Bool
        /// Whether the payload is but a block of a larger one (RFC 7959).
        var isPart = false
        var payload: [UInt8]
    }

    struct Response: Sendable {
        var code: UInt8
        var payload: [UInt8] = []
        /// Whether it is an answer, which may come separately, rather than the hub's "received".
        var isAnswer = false
        /// Whether a device's message was taken.
        var isMessage = false
        /// The device that was authenticated: the payload is its token from now on, instead of any before.
        var tokenOwner: Device?
    }

    struct Device: Hashable, Sendable {
        let productID: String
        let name: String

        /// Whether a DTLS session with this identity is the device's own; without DTLS there is none to check.
        func mayUse(_ identity: String?) -> Bool { identity.map { $0 == productID + name } ?? true }
    }

    static let content: UInt8 = 0x45
    static let badRequest: UInt8 = 0x80
    static let unauthorized: UInt8 = 0x81
    static let forbidden: UInt8 = 0x83
    static let methodNotAllowed: UInt8 = 0x85
    static let requestEntityTooLarge: UInt8 = 0x8D
    static let maximumPayloadBytes = 1024

    let isKnown: CoAPEndpoint.IsKnown
    let onMessage: CoAPEndpoint.OnMessage

    /// Answers a POST. `owner` is the device that the request's token was given to, if it is valid; `identity` is that of the DTLS session, if it
    /// came over one.
    func respond(to request: Request, owner: Device?, identity: String?) -> Response {
        // What comes in blocks is more than it takes.
        guard !request.isPart, request.payload.count <= Self.maximumPayloadBytes else {
            return Response(code: Self.requestEntityTooLarge)
        }
        let levels = request.path.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false).map {
            String(decoding: $0, as: UTF8.self)
        }
        if levels.count == 3, levels[2] == "txauth9w0BAQsFA" {
            let device = Device(productID: levels[0], name: levels[1])
            return device.mayUse(identity) ? authenticate(device, request) : Response(code: Self.forbidden)
        }
        guard let device = owner else { return Response(code: Self.unauthorized) }
        guard device.mayUse(identity) else { return Response(code: Self.forbidden) }
        let ownTopics = [[device.productID, device.name, "event"], [device.productID, device.name, "data"]]
        let otaTopics = [["$ota", "report", device.productID, device.name]]
        guard (ownTopics + otaTopics).contains(levels), isKnown(device.productID, device.name) else {
            return Response(code: Self.forbidden)
        }
        let topic = levels.joined(separator: "/")
        let answer = onMessage(device.productID, device.name, topic, request.payload, request.wantsAnswer)
        guard request.wantsAnswer else { return Response(code: Self.content, isMessage: true) }
        return Response(code: Self.content, payload: answer ?? [], isAnswer: true, isMessage: true)
    }

    /// The payload is `sdkappid;connid`, with anything behind a zero byte.
    private func authenticate(_ device: Device, _ request: Request) -> Response {
        let fields = request.payload.prefix { $0 != 0 }.split(separator: UInt8(ascii: ";"))
        guard fields.count == 2 else { return Response(code: Self.badRequest) }
        guard isKnown(device.productID, device.name) else { return Response(code: Self.forbidden) }
        let token = (0..<10).map { _ in UInt8.random(in: UInt8(ascii: "A")...UInt8(ascii: "Z")) }
        return Response(code: Self.content, payload: token, tokenOwner: device)
    }
}
