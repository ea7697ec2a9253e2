internal import CLinux

/// A TCP port that is kept for a listener of ours: nobody is given it as a free one, even while nothing listens on it.
///
/// A socket is bound to it that never listens. Since both it and the broker's have SO_REUSEADDR, the broker can bind it too.
final class ReservedPort: Sendable {
    let number: UInt16
    private let socket: Int32

    /// Reserves a port of a numeric address; 0 takes a free one.
    init(address: String, port: UInt16) throws(HubSimulatorError) {
        var hints = addrinfo()
        hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var found: UnsafeMutablePointer<addrinfo>?
        guard getaddrinfo(address, String(port), &hints, &found) == 0, let found else {
            throw .addressUnusable(address, code: EINVAL)
        }
        defer { freeaddrinfo(found) }
        let type = Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue)
        let socket = CLinux.socket(found.pointee.ai_family, type, 0)
        guard socket >= 0 else { throw .addressUnusable(address, code: clinux_errno()) }
        var yes: Int32 = 1
        setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, socklen_t(MemoryLayout<Int32>.size))
        var bound = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        guard bind(socket, found.pointee.ai_addr, found.pointee.ai_addrlen) == 0 else {
            let code = clinux_errno()
            close(socket)
            throw code == EADDRINUSE ? .portInUse(port) : .addressUnusable(address, code: code)
        }
        withUnsafeMutablePointer(to: &bound) { bound in
            bound.withMemoryRebound(to: sockaddr.self, capacity: 1) { _ = getsockname(socket, $0, &length) }
        }
        self.socket = socket
        // The port is at the same place in IPv4 and IPv6 addresses.
        number = withUnsafeBytes(of: &bound) { UInt16(bigEndian: $0.loadUnaligned(fromByteOffset: 2, as: UInt16.self)) }
    }

    deinit { close(socket) }

    /// A descriptor of the port's socket, which listens from now on. Whoever it is given to closes it.
    func makeListener() throws(HubSimulatorError) -> Int32 {
        let listener = dup(socket)
        guard listener >= 0, clinux_set_close_on_exec(listener) == 0, listen(listener, 128) == 0 else {
            let code = clinux_errno()
            close(listener)
            throw .addressUnusable("port \(number)", code: code)
        }
        return listener
    }

    /// Whether something accepts connections on a port.
    static func accepts(address: String, port: UInt16) -> Bool {
        var hints = addrinfo()
        hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var found: UnsafeMutablePointer<addrinfo>?
        guard getaddrinfo(address, String(port), &hints, &found) == 0, let found else { return false }
        defer { freeaddrinfo(found) }
        let socket = CLinux.socket(found.pointee.ai_family, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard socket >= 0 else { return false }
        defer { close(socket) }
        return connect(socket, found.pointee.ai_addr, found.pointee.ai_addrlen) == 0
    }
}
