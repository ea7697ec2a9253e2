internal import CLinux

/// The sockets of this machine; a handle is a file descriptor.
final class SystemCarrier: Carrier {
    func open(isStream: Bool, to peer: Peer?, localPort: UInt16) -> Int32? {
        let descriptor = socket(AF_INET, isStream ? clinux_stream_type() : clinux_datagram_type(), 0)
        guard descriptor >= 0 else { return nil }
        var on: Int32 = 1
        if isStream { setsockopt(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &on, 4) }
        if localPort > 0 || peer == nil {
            guard Self.with(Peer(address: 0, port: localPort), { bind(descriptor, $0, $1) }) == 0 else {
                CLinux.close(descriptor)
                return nil
            }
        }
        if let peer {
            guard Self.with(peer, { CLinux.connect(descriptor, $0, $1) }) == 0 || clinux_errno() == EINPROGRESS else {
                CLinux.close(descriptor)
                return nil
            }
        }
        return descriptor
    }

    private static func with(_ peer: Peer, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Int32) -> Int32 {
        var raw = peer.raw
        return withUnsafePointer(to: &raw) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                body($0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
    }

    func outcome(_ handle: Int32) -> CarrierOutcome {
        var poller = pollfd(fd: handle, events: Int16(POLLOUT), revents: 0)
        guard poll(&poller, 1, 0) > 0 else { return .pending }
        var error: Int32 = 0
        var size = socklen_t(MemoryLayout<Int32>.size)
        getsockopt(handle, SOL_SOCKET, SO_ERROR, &error, &size)
        guard error == 0 else { return .failed }
        var local = sockaddr_in()
        size = socklen_t(MemoryLayout<sockaddr_in>.size)
        withUnsafeMutablePointer(to: &local) { pointer in
            _ = pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(handle, $0, &size) }
        }
        return .open(localPort: Peer(local).port)
    }

    func send(_ bytes: [UInt8], on handle: Int32, to peer: Peer?) -> Int {
        guard let peer else { return max(0, CLinux.send(handle, bytes, bytes.count, Int32(MSG_NOSIGNAL))) }
        return max(0, Int(Self.with(peer) { Int32(sendto(handle, bytes, bytes.count, 0, $0, $1)) }))
    }

    func receive(_ maximum: Int, on handle: Int32) -> CarrierArrival {
        var chunk = [UInt8](repeating: 0, count: maximum)
        var sender = sockaddr_in()
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let count = withUnsafeMutablePointer(to: &sender) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                recvfrom(handle, &chunk, maximum, Int32(MSG_DONTWAIT), $0, &size)
            }
        }
        if count > 0 { return .bytes(Array(chunk[..<count]), sender: Peer(sender)) }
        if count == 0 { return .end }
        return clinux_errno() == EAGAIN || clinux_errno() == EINTR ? .nothing : .reset
    }

    func close(_ handle: Int32, isBroken: Bool) { CLinux.close(handle) }

    func resolve(_ name: String, _ completion: @escaping @Sendable ([UInt32]) -> Void) {
        startThread { completion(Resolver.addresses(of: name)) }
    }
}

extension Peer {
    /// A dotted address, or `nil` for a name.
    init?(numeric host: String, port: UInt16) {
        var value = in_addr()
        guard inet_pton(AF_INET, host, &value) == 1 else { return nil }
        self.init(address: UInt32(bigEndian: value.s_addr), port: port)
    }

    init(_ raw: sockaddr_in) {
        self.init(address: UInt32(bigEndian: raw.sin_addr.s_addr), port: UInt16(bigEndian: raw.sin_port))
    }

    var raw: sockaddr_in {
        var raw = sockaddr_in()
        raw.sin_family = sa_family_t(AF_INET)
        raw.sin_addr.s_addr = address.bigEndian
        raw.sin_port = port.bigEndian
        return raw
    }
}
