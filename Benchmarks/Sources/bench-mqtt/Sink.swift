import Glibc

/// A broker that takes everything, acknowledges what wants it, and keeps nothing: with it the client is the limit.
enum Sink {
    /// Starts a sink as a process of its own; returns its process ID and its port.
    static func start() -> (pid: pid_t, port: UInt16) {
        let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                _ = bind(listener, $0, size)
                _ = getsockname(listener, $0, &size)
            }
        }
        listen(listener, 16)
        var pid: pid_t = 0
        var name = "\(listener)".utf8CString
        var path = "/proc/self/exe".utf8CString
        var verb = "sink".utf8CString
        path.withUnsafeMutableBufferPointer { path in
            verb.withUnsafeMutableBufferPointer { verb in
                name.withUnsafeMutableBufferPointer { name in
                    var arguments = [path.baseAddress, verb.baseAddress, name.baseAddress, nil]
                    posix_spawn(&pid, "/proc/self/exe", nil, nil, &arguments, environ)
                }
            }
        }
        close(listener)
        return (pid, UInt16(bigEndian: address.sin_port))
    }

    /// The sink itself: one connection after another.
    static func run(listener: Int32) -> Never {
        while true {
            let descriptor = accept(listener, nil, nil)
            guard descriptor >= 0 else { exit(1) }
            var on: Int32 = 1
            setsockopt(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &on, 4)
            serve(descriptor)
            close(descriptor)
        }
    }

    private static func serve(_ descriptor: Int32) {
        let capacity = 1 << 18
        let input = UnsafeMutablePointer<UInt8>.allocate(capacity: capacity)
        defer { input.deallocate() }
        var have = 0
        var answer: [UInt8] = []
        while true {
            let count = read(descriptor, input + have, capacity - have)
            guard count > 0 else { return }
            have += count
            var at = 0
            while have - at >= 2 {
                var length = 0
                var header = 1
                var shift = 0
                while at + header < have {
                    let byte = input[at + header]
                    length |= Int(byte & 0x7F) << shift
                    header += 1
                    shift += 7
                    if byte < 0x80 { break }
                }
                guard have - at >= header + length else { break }
                let body = input + at + header
                switch input[at] >> 4 {
                case 1: answer += [0x20, 2, 0, 0]
                case 3 where input[at] & 6 != 0:
                    let topic = Int(body[0]) << 8 | Int(body[1])
                    answer += [0x40, 2, body[2 + topic], body[3 + topic]]
                case 12: answer += [0xD0, 0]
                case 14: return
                default: break
                }
                at += header + length
            }
            if at < have { memmove(input, input + at, have - at) }
            have -= at
            if !answer.isEmpty {
                _ = write(descriptor, answer, answer.count)
                answer.removeAll(keepingCapacity: true)
            }
        }
    }
}
