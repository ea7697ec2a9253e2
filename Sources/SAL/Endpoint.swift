/// Where to connect to: a host, by name or by address, and a port.
public struct Endpoint: Equatable, Sendable {
    /// The name or the address in text form, as UTF-8 bytes: `hub.example`, `192.0.2.7`, `2001:db8::7`.
    public let host: [UInt8]
    /// The port number.
    public let port: UInt16

    /// An endpoint from a host as UTF-8 bytes.
    public init(host: [UInt8], port: UInt16) {
        self.host = host
        self.port = port
    }

    /// An endpoint from a host as text.
    public init(host: String, port: UInt16) { self.init(host: Array(host.utf8), port: port) }

    /// The Unix-domain socket at an absolute path of the file system: no host name has a slash.
    public init(path: String) { self.init(host: path, port: 0) }

    /// Whether this is a path of the file system.
    public var isPath: Bool { host.first == UInt8(ascii: "/") }
}

/// An IPv4 or IPv6 address.
public enum IPAddress: Equatable, Hashable, Sendable {
    /// The four octets, the first in the most significant byte.
    case v4(UInt32)
    /// The sixteen octets as two big-endian halves, and the scope (interface index) of a link-local address, else 0.
    case v6(high: UInt64, low: UInt64, scope: UInt32)

    /// All IPv4 addresses of this machine: `0.0.0.0`.
    public static var anyIPv4: IPAddress { .v4(0) }
    /// All addresses of this machine: `::`. A listener there takes IPv4 peers too.
    public static var anyIPv6: IPAddress { .v6(high: 0, low: 0, scope: 0) }
    /// This machine itself: `127.0.0.1`.
    public static var loopbackIPv4: IPAddress { .v4(0x7F00_0001) }
    /// This machine itself: `::1`.
    public static var loopbackIPv6: IPAddress { .v6(high: 0, low: 1, scope: 0) }

    /// Whether it is the address of a group: 224.0.0.0/4 (RFC 5771), ff00::/8 (RFC 4291, 2.7).
    public var isMulticast: Bool {
        switch self {
        case .v4(let value): value >> 28 == 0xE
        case .v6(let high, _, _): high >> 56 == 0xFF
        }
    }

    /// An IPv4 address from `a.b.c.d`: four decimal numbers without leading zeros, else `nil`.
    public init?(ipv4 text: Span<UInt8>) {
        var value: UInt32 = 0
        var octet: UInt32 = 0
        var digits = 0
        var dots = 0
        for index in text.indices {
            switch text[index] {
            case UInt8(ascii: "."):
                guard digits > 0, dots < 3 else { return nil }
                value = value << 8 | octet
                (octet, digits, dots) = (0, 0, dots + 1)
            case UInt8(ascii: "0")...UInt8(ascii: "9"):
                guard digits == 0 || octet != 0 else { return nil }
                octet = octet * 10 + UInt32(text[index] - UInt8(ascii: "0"))
                digits += 1
                guard octet <= 255 else { return nil }
            default: return nil
            }
        }
        guard dots == 3, digits > 0 else { return nil }
        self = .v4(value << 8 | octet)
    }
}

/// An address and a port: where a datagram came from.
public struct SocketAddress: Equatable, Hashable, Sendable {
    /// The address.
    public let address: IPAddress
    /// The port number.
    public let port: UInt16

    /// A socket address, as given.
    public init(address: IPAddress, port: UInt16) {
        self.address = address
        self.port = port
    }
}
