internal import CCoAP
internal import CLinux
internal import Glibc
internal import Kernel

/// How libcoap comes to its ports on 127.0.0.1.
enum CoAPPorts {
    /// Ports are found and then bound by libcoap; two endpoints of a process must not find the same one.
    private static let binding = Guarded(false)

    /// Has `context` listen at `port`, or at a free one for 0; returns which it is.
    static func listen(
        _ context: OpaquePointer,
        _ port: UInt16,
        _ transport: coap_proto_t
    ) throws(CoAPEndpointError) -> UInt16 {
        try binding.withLock { (_) throws(CoAPEndpointError) in
            // Between the two, another program may take a port that was free.
            for _ in 0..<(port == 0 ? 20 : 1) {
                let found = try freePort(port)
                var address = loopback(found)
                guard coap_new_endpoint(context, &address, transport) != nil else { continue }
                setCloseOnExec(port: found)
                return found
            }
            throw .cannotBind(port: port, code: EADDRINUSE)
        }
    }

    /// The free port that the system chooses for 0, or `port` itself if nobody has it.
    private static func freePort(_ port: UInt16) throws(CoAPEndpointError) -> UInt16 {
        let descriptor = socket(AF_INET, Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        defer { close(descriptor) }
        var address = loopback(port).addr.sin
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let result = withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, size) == 0 ? getsockname(descriptor, $0, &size) : -1
            }
        }
        guard descriptor >= 0, result == 0 else { throw .cannotBind(port: port, code: clinux_errno()) }
        return UInt16(bigEndian: address.sin_port)
    }

    /// libcoap does not, and hides its socket: a child process would hold the port after us.
    private static func setCloseOnExec(port: UInt16) {
        guard let directory = opendir("/proc/self/fd") else { return }
        defer { closedir(directory) }
        while let entry = readdir(directory) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            guard let descriptor = Int32(name) else { continue }
            var address = sockaddr_in()
            var size = socklen_t(MemoryLayout<sockaddr_in>.size)
            let result = withUnsafeMutablePointer(to: &address) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(descriptor, $0, &size) }
            }
            guard result == 0, address.sin_family == sa_family_t(AF_INET), UInt16(bigEndian: address.sin_port) == port
            else { continue }
            _ = clinux_set_close_on_exec(descriptor)
        }
    }

    private static func loopback(_ port: UInt16) -> coap_address_t {
        var address = coap_address_t()
        coap_address_init(&address)
        address.size = socklen_t(MemoryLayout<sockaddr_in>.size)
        address.addr.sin.sin_family = sa_family_t(AF_INET)
        address.addr.sin.sin_port = port.bigEndian
        address.addr.sin.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        return address
    }
}
