// Echoes on a port of every interface, over IPv4 and IPv6, with a loop per processor: `swift run echo-server 7000`, then `nc localhost 7000`.
import Kernel
import SAL

@main struct EchoServer {
    static func main() async throws {
        let port = CommandLine.arguments.dropFirst().first.flatMap { UInt16($0) } ?? 7000
        var options = SocketOptions()
        options.sharesPort = true
        options.keepAlive = .init()
        try await withThrowingTaskGroup(of: Void.self) { group in
            for loop in EventLoopGroup().loops {
                let listener = try await Listener.open(
                    at: SocketAddress(address: .anyIPv6, port: port),
                    over: LinuxNetwork(loop: loop, options: options)
                )
                // On the loop, so that serving a connection takes no hop.
                group.addTask(executorPreference: loop) { try await serve(listener) }
            }
            print("echoing on port \(port)")
            try await group.waitForAll()
        }
    }

    static func serve(_ listener: Listener) async throws {
        try await withThrowingDiscardingTaskGroup { group in
            for try await connection in listener.connections {
                group.addTask {
                    // A connection that breaks ends by itself.
                    do { for try await bytes in connection.received { try await connection.write(bytes) } } catch {}
                    await connection.close()
                }
            }
        }
    }
}
