import Glibc
import Jobs

/// The server that only answers, or what stands before it, as a process of its own.
struct Sink {
    let pid: pid_t
    let port: Int

    static func start(isSecure: Bool = false) throws -> Sink {
        try start { ["sink", $0] + (isSecure ? ["dtls"] : []) }
    }

    /// Counts the round trips to `sink`.
    static func relay(to sink: Sink) throws -> Sink { try start { ["relay", $0, "\(sink.port)"] } }

    func stop() { kill(pid, SIGKILL) }

    private static func start(_ arguments: (String) -> [String]) throws -> Sink {
        let descriptor = socket(AF_INET, Int32(SOCK_DGRAM.rawValue), 0)
        defer { close(descriptor) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let isBound = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, size) == 0 && getsockname(descriptor, $0, &size) == 0
            }
        }
        guard isBound else { throw BenchError("there is no port for the server") }
        let pid = try Process.spawn(["/proc/self/exe"] + arguments("\(descriptor)"), output: nil)
        return Sink(pid: pid, port: Int(UInt16(bigEndian: address.sin_port)))
    }
}
