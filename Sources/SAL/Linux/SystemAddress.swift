#if os(Linux)
internal import CLinux

/// An address in the form of the system's calls: the one place that knows `sockaddr`.
struct SystemAddress: Sendable {
    let family: Int32
    let address: SocketAddress

    init(_ address: SocketAddress) {
        self.address = address
        self.family =
            switch address.address {
            case .v4: AF_INET
            case .v6: AF_INET6
            }
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

    private static func size<Raw>(of raw: Raw) -> socklen_t { socklen_t(MemoryLayout<Raw>.size) }

    func withPointer<Result>(_ body: (UnsafePointer<sockaddr>, socklen_t) -> Result) -> Result {
        switch address.address {
        case .v4(let value):
            var raw = sockaddr_in()
            raw.sin_family = sa_family_t(AF_INET)
            raw.sin_port = address.port.bigEndian
            raw.sin_addr.s_addr = value.bigEndian
            return unsafe withUnsafePointer(to: raw) { pointer in
                unsafe body(UnsafeRawPointer(pointer).assumingMemoryBound(to: sockaddr.self), Self.size(of: raw))
            }
        case .v6(let high, let low, let scope):
            var raw = sockaddr_in6()
            raw.sin6_family = sa_family_t(AF_INET6)
            raw.sin6_port = address.port.bigEndian
            raw.sin6_scope_id = scope
            unsafe withUnsafeMutableBytes(of: &raw.sin6_addr) { bytes in
                unsafe bytes.storeBytes(of: high.bigEndian, toByteOffset: 0, as: UInt64.self)
                unsafe bytes.storeBytes(of: low.bigEndian, toByteOffset: 8, as: UInt64.self)
            }
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
            case ENETUNREACH, EHOSTUNREACH, ENETDOWN, EHOSTDOWN, EADDRNOTAVAIL: .unreachable(code: code)
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
