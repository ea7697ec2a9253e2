// Which module the declarations of sockets are seen in depends on the order of the compiler's work: this one, or Glibc.
import CCoAP
import CLinux
import CoAPClient
import Glibc
import Kernel
import SAL
import SecureTransport

/// Runs `body`, which may wait, on a thread of its own: those of Swift concurrency are few, and tests need them.
func offPool<Result: Sendable>(_ body: @escaping @Sendable () -> Result) async -> Result {
    let loop = EventLoop.start()
    defer { loop.stop() }
    return await loop.call(body)
}

/// A UDP socket on 127.0.0.1 of the system itself, with none of our code.
final class RawDatagrams: Sendable {
    private let descriptor: Int32

    init(to port: UInt16) {
        descriptor = socket(AF_INET, Int32(SOCK_DGRAM.rawValue), 0)
        var timeout = timeval(tv_sec: 2, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &timeout, socklen_t(MemoryLayout<timeval>.size))
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                _ = Glibc.connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
    }

    deinit { close(descriptor) }

    func send(_ bytes: [UInt8]) { _ = Glibc.send(descriptor, bytes, bytes.count, 0) }

    /// The next datagram; empty if none comes within two seconds.
    func receive() async -> [UInt8] { await offPool { self.waitForDatagram() } }

    /// The next datagram, which may be late on a busy machine; empty if none comes within ten seconds.
    func receivePatiently() async -> [UInt8] {
        for _ in 0..<5 {
            let datagram = await receive()
            if !datagram.isEmpty { return datagram }
        }
        return []
    }

    private func waitForDatagram() -> [UInt8] {
        var buffer = [UInt8](repeating: 0, count: 2_048)
        let count = recv(descriptor, &buffer, buffer.count, 0)
        return Array(buffer.prefix(max(count, 0)))
    }
}

/// A port on 127.0.0.1 that was free a moment ago, for UDP and TCP, as was the next one: servers take that for what is encrypted.
func freePort() -> UInt16 {
    while true {
        let port = UInt16.random(in: 10_000..<32_000)
        let isFree = [(port, SOCK_DGRAM), (port, SOCK_STREAM), (port + 1, SOCK_DGRAM), (port + 1, SOCK_STREAM)]
            .allSatisfy {
                canBind($0, $1)
            }
        if isFree { return port }
    }
}

private func canBind(_ port: UInt16, _ type: __socket_type) -> Bool {
    let descriptor = socket(AF_INET, Int32(type.rawValue), 0)
    defer { close(descriptor) }
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = port.bigEndian
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    return withUnsafePointer(to: &address) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
            bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
        }
    }
}

/// A server of somebody else in a process of its own, which ends with this object.
final class PeerProcess {
    let port: UInt16
    private var pid: pid_t = 0

    /// Starts `arguments`, in which `PORT` stands for the port; `nil` if there is no such program.
    init?(_ arguments: [String]) {
        let port = freePort()
        self.port = port
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0)
        posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0)
        defer { posix_spawn_file_actions_destroy(&actions) }
        // setpriv ends the server when the tests end, however they do.
        let whole = ["setpriv", "--pdeathsig", "KILL"] + arguments.map { $0 == "PORT" ? "\(port)" : $0 }
        var pointers = whole.map { strdup($0) } + [nil]
        defer { for pointer in pointers { free(pointer) } }
        guard posix_spawnp(&pid, "setpriv", &actions, nil, &pointers, clinux_environment()) == 0 else { return nil }
    }

    deinit {
        kill(pid, SIGKILL)
        waitpid(pid, nil, 0)
    }

    /// Starts `arguments`, and waits until it answers pings. Somebody else may take the port meanwhile: then with another one.
    static func started(_ arguments: [String]) async -> PeerProcess? {
        for _ in 0..<3 {
            guard let server = PeerProcess(arguments) else { return nil }
            if await server.isUp() { return server }
        }
        return nil
    }

    /// Waits until the server answers pings, for at most about `seconds`.
    private func isUp(within seconds: Int64 = 10) async -> Bool {
        let deadline = clinux_monotonic_ns() + seconds * 1_000_000_000
        while clinux_monotonic_ns() < deadline {
            let socket = RawDatagrams(to: port)
            socket.send([0x40, 0, 0, 1])
            if !(await socket.receive()).isEmpty { return true }
            await offPool { _ = usleep(50_000) }
        }
        return false
    }
}

/// A client on a loop of its own.
struct LoopedClient {
    let client: CoAPClient
    private let loop = EventLoop.start()

    init(port: UInt16, overStreams isStream: Bool = false, change: (inout CoAPConfiguration) -> Void = { _ in }) {
        var configuration = CoAPConfiguration()
        change(&configuration)
        let endpoint = Endpoint(host: "127.0.0.1", port: port)
        let network = LinuxNetwork(loop: loop)
        client =
            isStream
            ? CoAPClient(to: endpoint, overStreams: network, configuration: configuration)
            : CoAPClient(to: endpoint, over: network, configuration: configuration)
    }

    /// A client over TLS or DTLS with a pre-shared key.
    init(port: UInt16, overStreams isStream: Bool, identity: String, key: String) throws {
        let endpoint = Endpoint(host: "127.0.0.1", port: port)
        let network = LinuxNetwork(loop: loop)
        var tls = TLSConfiguration(
            identity: .preSharedKey(identity: Array(identity.utf8), key: SecretBytes(Array(key.utf8)))
        )
        if isStream {
            tls.applicationProtocols = ["coap"]
            client = CoAPClient(to: endpoint, overStreams: try SecureNetwork(over: network, tls))
        } else {
            client = CoAPClient(to: endpoint, over: try SecureDatagramNetwork(over: network, tls))
        }
    }

    func close() async {
        await client.close()
        loop.stop()
    }
}
