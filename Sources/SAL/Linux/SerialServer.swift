#if os(Linux)
public import Kernel

/// A port of a serial server, such as ser2net: a serial line behind TCP, as a network with just that one peer.
///
/// `tcp://HOST:PORT` is a port that passes bytes on as they are; how the line is set up is the server's own affair. `rfc2217://HOST:PORT` is one whose line the client
/// sets up (RFC 2217, Telnet Com Port Control Option). An IPv6 address stands in brackets.
public final class SerialServer: Network {
    /// The loop that its streams live on.
    public let loop: EventLoop
    /// Where the server is.
    public let endpoint: Endpoint
    private let isTelnet: Bool
    private let settings: SerialSettings
    private let network: LinuxNetwork

    /// The port of that name; `nil` if it is the name of something else, such as the path of a device.
    ///
    /// Throws `SocketError.nameNotFound` if host or port is missing or wrong, and `.notSupported` if settings are given for `tcp://`, which has no way
    /// to set them.
    public init?(
        _ name: String,
        settings: SerialSettings = SerialSettings(),
        loop: EventLoop
    ) throws(SocketError) {
        let isTelnet = name.hasPrefix("rfc2217://")
        guard isTelnet || name.hasPrefix("tcp://") else { return nil }
        guard let endpoint = Self.endpoint(name.drop { $0 != "/" }.dropFirst(2)) else { throw .nameNotFound }
        guard isTelnet || settings == SerialSettings() else { throw .notSupported }
        self.loop = loop
        self.endpoint = endpoint
        self.isTelnet = isTelnet
        self.settings = settings
        var options = SocketOptions()
        // A server that loses its power does not say so.
        options.keepAlive = SocketOptions.KeepAlive(idleSeconds: 20, intervalSeconds: 5, count: 4)
        options.lingerSeconds = 5
        network = LinuxNetwork(loop: loop, options: options)
    }

    private static func endpoint(_ text: Substring) -> Endpoint? {
        guard let colon = text.lastIndex(of: ":"), let port = UInt16(text[text.index(after: colon)...]), port > 0 else {
            return nil
        }
        var host = text[..<colon]
        if host.first == "[", host.last == "]" {
            host = host.dropFirst().dropLast()
        } else if host.contains(":") {
            return nil
        }
        return host.isEmpty || host.contains("/") ? nil : Endpoint(host: String(host), port: port)
    }

    /// One stream, with the flow control of TCP.
    public var capabilities: NetworkCapabilities {
        NetworkCapabilities(
            maximumSockets: 1,
            sendChunkBytes: 65_536,
            datagramBytes: 0,
            hasReceiveFlowControl: true
        )
    }

    /// Opens the port; the handler's `opened()` is told when the server has set up the line. It ends with `SocketError.notSupported` if the server
    /// does not know RFC 2217, and with `.other` if it does not set the rate that it was asked for.
    public func open(deadline: Duration, handler: any ByteStreamHandler) -> any ByteStream {
        guard isTelnet else { return network.connect(to: endpoint, deadline: deadline, handler: handler) }
        let port = RemoteSerialPort(settings: settings, loop: loop, deadline: deadline, handler: handler)
        port.connect(to: endpoint, over: network)
        return port
    }

    /// Opens the port, whatever `endpoint` is: part of `Network`.
    public func connect(to endpoint: Endpoint, deadline: Duration, handler: any ByteStreamHandler) -> any ByteStream {
        open(deadline: deadline, handler: handler)
    }
}
#endif
