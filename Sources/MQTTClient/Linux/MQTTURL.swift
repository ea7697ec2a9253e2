#if os(Linux)
public import Kernel
public import SAL
public import SecureTransport

/// Where an MQTT server is, and how it is reached: `mqtt://`, `mqtts://`, `ws://` or `wss://`, then `USER:PASSWORD@` if it wants them, the host, and the port if it is not 1883,
/// 8883, 80 or 443. WebSockets have a path, `/mqtt` unless given. `mqtt+unix:///run/broker.sock` is a socket of the file system.
public struct MQTTURL: Equatable, Sendable {
    /// The way.
    public enum Scheme: String, Sendable {
        /// TCP.
        case mqtt
        /// TLS.
        case mqtts
        /// WebSocket.
        case ws
        /// WebSocket over TLS.
        case wss
        /// A Unix-domain socket.
        case unix = "mqtt+unix"
    }

    /// The way.
    public let scheme: Scheme
    /// The server.
    public let endpoint: Endpoint
    /// The user name, without percent-encoding.
    public let userName: [UInt8]?
    /// The password, without percent-encoding.
    public let password: [UInt8]?
    /// The path of a WebSocket, with its query; percent-encoded.
    public let path: String

    /// Reads a URL (RFC 3986); `nil` if it is none, or of another scheme.
    public init?(_ text: String) {
        guard let colon = text.firstRange(of: "://"),
            let scheme = Scheme(rawValue: text[..<colon.lowerBound].lowercased())
        else { return nil }
        self.scheme = scheme
        var rest = text[colon.upperBound...]
        if scheme == .unix {
            guard rest.first == "/", let path = Self.decoded(rest), path.count < 108 else { return nil }
            endpoint = Endpoint(path: String(decoding: path, as: UTF8.self))
            (userName, password, self.path) = (nil, nil, "")
            return
        }
        guard !rest.contains("#"), !rest.utf8.contains(where: { $0 <= 0x20 || $0 == 0x7F }) else { return nil }
        let authority = rest.prefix { $0 != "/" && $0 != "?" }
        rest = rest[authority.endIndex...]
        switch scheme {
        case .ws, .wss: path = rest.isEmpty ? "/mqtt" : rest.first == "?" ? "/\(rest)" : String(rest)
        case .mqtt, .mqtts, .unix:
            guard rest.isEmpty || rest == "/" else { return nil }
            path = ""
        }
        var hostAndPort = authority
        if let at = authority.lastIndex(of: "@") {
            let login = authority[..<at].split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
            guard let user = Self.decoded(login[0]) else { return nil }
            userName = user
            if login.count > 1 {
                guard let word = Self.decoded(login[1]) else { return nil }
                password = word
            } else {
                password = nil
            }
            hostAndPort = authority[authority.index(after: at)...]
        } else {
            (userName, password) = (nil, nil)
        }
        var host = hostAndPort
        var port: UInt16 =
            switch scheme {
            case .mqtt, .unix: 1_883
            case .mqtts: 8_883
            case .ws: 80
            case .wss: 443
            }
        var portText: Substring?
        if hostAndPort.first == "[" {
            guard let end = hostAndPort.firstIndex(of: "]") else { return nil }
            host = hostAndPort[hostAndPort.index(after: hostAndPort.startIndex)..<end]
            let tail = hostAndPort[hostAndPort.index(after: end)...]
            guard tail.isEmpty || tail.first == ":" else { return nil }
            if !tail.isEmpty { portText = tail.dropFirst() }
            guard IPAddress(String(host)) != nil else { return nil }
        } else if let colon = hostAndPort.firstIndex(of: ":") {
            host = hostAndPort[..<colon]
            portText = hostAndPort[hostAndPort.index(after: colon)...]
        }
        if let portText, !portText.isEmpty {
            guard portText.utf8.allSatisfy({ $0 >= 0x30 && $0 <= 0x39 }), let number = UInt16(portText), number > 0
            else {
                return nil
            }
            port = number
        }
        guard let name = Self.decoded(host), !name.isEmpty else { return nil }
        endpoint = Endpoint(host: name, port: port)
    }

    /// Text without percent-encoding; `nil` if that is wrong.
    private static func decoded(_ text: Substring) -> [UInt8]? {
        var bytes: [UInt8] = []
        var rest = text.utf8[...]
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "%") else {
                bytes.append(byte)
                continue
            }
            guard let high = rest.popFirst().flatMap(digit), let low = rest.popFirst().flatMap(digit) else {
                return nil
            }
            bytes.append(high << 4 | low)
        }
        return bytes
    }

    private static func digit(_ byte: UInt8) -> UInt8? {
        switch byte {
        case 0x30...0x39: byte - 0x30
        case 0x41...0x46: byte - 0x37
        case 0x61...0x66: byte - 0x57
        default: nil
        }
    }

    /// Whether it is reached by TLS.
    public var isSecure: Bool { scheme == .mqtts || scheme == .wss }

    /// The way to the server over `network`: with TLS as `tls` says, and with a WebSocket, as far as the scheme wants them.
    public func network(
        over network: any Network,
        tls: TLSConfiguration = TLSConfiguration(trust: .system)
    ) throws(SecureTransportError) -> any Network {
        let inner: any Network = isSecure ? try SecureNetwork(over: network, tls) : network
        switch scheme {
        case .mqtt, .mqtts, .unix: return inner
        case .ws, .wss: return WebSocketNetwork(over: inner, path: path)
        }
    }
}

extension MQTTClient {
    /// A client for the server at `url`, over sockets of Linux on `loop`. The user name and the password of the URL count unless the configuration has its own. `tls` is for
    /// `mqtts:` and `wss:`; the server's certificate is verified by what the system trusts unless it says otherwise.
    public init(
        url: MQTTURL,
        loop: EventLoop,
        configuration: MQTTConfiguration,
        tls: TLSConfiguration = TLSConfiguration(trust: .system),
        reconnects: Bool = true
    ) throws(SecureTransportError) {
        var configuration = configuration
        if configuration.userName == nil {
            configuration.userName = url.userName
            if configuration.password == nil { configuration.password = url.password }
        }
        self.init(
            to: url.endpoint,
            over: try url.network(over: LinuxNetwork(loop: loop), tls: tls),
            configuration: configuration,
            reconnects: reconnects
        )
    }
}
#endif
