#if os(Linux)
internal import CLinux

/// An address in the form of the system's calls: the one place that knows `sockaddr`.
struct SystemAddress: Sendable {
    let family: Int32
    /// `nil` for a path.
    let address: SocketAddress?
    let path: [UInt8]

    init(_ address: SocketAddress) {
        self.address = address
        path = []
        self.family =
            switch address.address {
            case .v4: AF_INET
            case .v6: AF_INET6
            }
    }

    /// The address as a socket of `family` wants it: an IPv6 socket sends to IPv4 peers by their mapped addresses.
    init(_ address: SocketAddress, for family: Int32) {
        self.init(family == AF_INET6 ? SocketAddress(address: address.address.mapped, port: address.port) : address)
    }

    /// The address of a Unix-domain socket; `nil` for a path that is too long.
    init?(path: String) {
        self.path = Array(path.utf8)
        // One byte ends the name.
        guard self.path.count < 108, !self.path.contains(0) else { return nil }
        address = nil
        family = AF_UNIX
    }

    /// Reads what a system call has filled in; `nil` for families that are not IP.
    init?(_ pointer: UnsafePointer<sockaddr>) {
        switch unsafe Int32(pointer.pointee.sa_family) {
        case AF_INET:
            let raw = unsafe UnsafeRawPointer(pointer).load(as: sockaddr_in.self)
            self.init(
                SocketAddress(
                    address: .v4(UInt32(bigEndian: raw.sin_addr.s_addr)),
                    port: UInt16(bigEndian: raw.sin_port)
                )
            )
        case AF_INET6:
            let raw = unsafe UnsafeRawPointer(pointer).load(as: sockaddr_in6.self)
            self.init(
                SocketAddress(
                    address: IPAddress(raw.sin6_addr, scope: raw.sin6_scope_id),
                    port: UInt16(bigEndian: raw.sin6_port)
                )
            )
        default: return nil
        }
    }

    /// Where a socket is; `nil` for what has no IP address.
    static func local(of descriptor: Int32) -> SystemAddress? {
        unsafe read { unsafe getsockname(descriptor, $0, $1) }
    }

    /// Where a socket's peer is; `nil` for what has no IP address.
    static func peer(of descriptor: Int32) -> SystemAddress? {
        unsafe read { unsafe getpeername(descriptor, $0, $1) }
    }

    /// The address that a system call fills in.
    static func read(
        _ call: (UnsafeMutablePointer<sockaddr>, UnsafeMutablePointer<socklen_t>) -> Int32
    ) -> SystemAddress? {
        var storage = sockaddr_storage()
        var size = socklen_t(MemoryLayout<sockaddr_storage>.size)
        return unsafe withUnsafeMutablePointer(to: &storage) { pointer in
            let pointer = unsafe UnsafeMutableRawPointer(pointer).assumingMemoryBound(to: sockaddr.self)
            guard unsafe call(pointer, &size) >= 0 else { return nil }
            return unsafe SystemAddress(pointer)
        }
    }

    private static func size<Raw>(of raw: Raw) -> socklen_t { socklen_t(MemoryLayout<Raw>.size) }

    func withPointer<Result>(_ body: (UnsafePointer<sockaddr>, socklen_t) -> Result) -> Result {
        let port = address?.port ?? 0
        switch address?.address {
        case nil:
            var raw = sockaddr_un()
            raw.sun_family = sa_family_t(AF_UNIX)
            unsafe withUnsafeMutableBytes(of: &raw.sun_path) { unsafe $0.copyBytes(from: path) }
            return unsafe withUnsafePointer(to: raw) { pointer in
                unsafe body(UnsafeRawPointer(pointer).assumingMemoryBound(to: sockaddr.self), Self.size(of: raw))
            }
        case .v4(let value):
            var raw = sockaddr_in()
            raw.sin_family = sa_family_t(AF_INET)
            raw.sin_port = port.bigEndian
            raw.sin_addr.s_addr = value.bigEndian
            return unsafe withUnsafePointer(to: raw) { pointer in
                unsafe body(UnsafeRawPointer(pointer).assumingMemoryBound(to: sockaddr.self), Self.size(of: raw))
            }
        case .v6(let high, let low, let scope):
            var raw = sockaddr_in6()
            raw.sin6_family = sa_family_t(AF_INET6)
            raw.sin6_port = port.bigEndian
            raw.sin6_scope_id = scope
            raw.sin6_addr = in6_addr(.v6(high: high, low: low, scope: scope))
            return unsafe withUnsafePointer(to: raw) { pointer in
                unsafe body(UnsafeRawPointer(pointer).assumingMemoryBound(to: sockaddr.self), Self.size(of: raw))
            }
        }
    }
}

extension IPAddress {
    /// An IPv4 or IPv6 address from its text form, or `nil`.
    public init?(_ text: String) {
        if let v4 = IPAddress(ipv4: Array(text.utf8).span) {
            self = v4
            return
        }
        var raw = in6_addr()
        var name = text
        var scope: UInt32 = 0
        if let percent = name.firstIndex(of: "%") {
            scope = unsafe if_nametoindex(String(name[name.index(after: percent)...]))
            guard scope != 0 else { return nil }
            name = String(name[..<percent])
        }
        guard unsafe inet_pton(AF_INET6, name, &raw) == 1 else { return nil }
        self.init(raw, scope: scope)
    }

    /// An IPv4 address as an IPv6 one (RFC 4291, 2.5.5.2).
    fileprivate var mapped: IPAddress {
        if case .v4(let value) = self { .v6(high: 0, low: 0xFFFF_0000_0000 | UInt64(value), scope: 0) } else { self }
    }

    fileprivate init(_ raw: in6_addr, scope: UInt32) {
        self = unsafe withUnsafeBytes(of: raw) { bytes in
            unsafe .v6(
                high: UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 0, as: UInt64.self)),
                low: UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self)),
                scope: scope
            )
        }
    }
}

extension IPAddress: CustomStringConvertible {
    /// The usual text form (RFC 5952 for IPv6).
    public var description: String {
        let size = Int(INET6_ADDRSTRLEN)
        return switch self {
        case .v4(let value): "\(value >> 24).\(value >> 16 & 255).\(value >> 8 & 255).\(value & 255)"
        case .v6(let high, let low, let scope):
            unsafe withUnsafeTemporaryAllocation(of: CChar.self, capacity: size) { text in
                var words = (high.bigEndian, low.bigEndian)
                unsafe inet_ntop(AF_INET6, &words, text.baseAddress, socklen_t(size))
                let name = unsafe text.baseAddress.map { unsafe String(cString: $0) } ?? ""
                return scope == 0 ? name : "\(name)%\(scope)"
            }
        }
    }
}

extension in6_addr {
    init(_ address: IPAddress) {
        self.init()
        guard case .v6(let high, let low, _) = address else { return }
        unsafe withUnsafeMutableBytes(of: &self) { bytes in
            unsafe bytes.storeBytes(of: high.bigEndian, toByteOffset: 0, as: UInt64.self)
            unsafe bytes.storeBytes(of: low.bigEndian, toByteOffset: 8, as: UInt64.self)
        }
    }
}

extension SocketAddress {
    /// The IPv4 address that an IPv4 peer of a dual-stack socket really has.
    var withoutMapping: SocketAddress {
        guard case .v6(0, let low, _) = address, low >> 32 == 0xFFFF else { return self }
        return SocketAddress(address: .v4(UInt32(truncatingIfNeeded: low)), port: port)
    }
}

extension SocketAddress: CustomStringConvertible {
    /// The address and the port, `192.0.2.7:1883` or `[2001:db8::7]:1883`.
    public var description: String {
        switch address {
        case .v4: "\(address):\(port)"
        case .v6: "[\(address)]:\(port)"
        }
    }
}

extension SocketError {
    /// The case that an `errno` stands for.
    init(errno code: Int32) {
        self =
            switch code {
            case ECONNREFUSED: .refused(code: code)
            case ENETUNREACH, EHOSTUNREACH, ENETDOWN, EHOSTDOWN: .unreachable(code: code)
            case EADDRINUSE: .addressInUse(code: code)
            case EADDRNOTAVAIL: .addressUnavailable(code: code)
            case ETIMEDOUT: .timedOut
            case ECONNRESET, EPIPE, ECONNABORTED: .reset(code: code)
            case EMFILE, ENFILE: .tooManySockets(code: code)
            case EMSGSIZE: .messageTooLong
            case EACCES, EPERM: .denied(code: code)
            case EIO, ENXIO: .deviceRestarted
            default: .other(code: code)
            }
    }
}
#endif
