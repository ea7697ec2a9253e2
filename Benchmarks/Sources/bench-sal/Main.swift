// Streams of SAL beside a C program that has epoll, read and write only, in one run: processor time of the thread that is measured; its
// peer is always the C program.
import CSALPeers
import Kernel
import SAL

@main enum Main {
    static func main() async {
        guard CommandLine.arguments.count == 1 else {
            return print("usage: bench-sal\nMeasures streams beside a raw epoll program in C: the least of 5 rounds.")
        }
        peer_print_lines()
        let loop = EventLoop.start()
        let network = LinuxNetwork(loop: loop)
        let thread = await loop.value { pthread_self() }
        let bench = Bench(loop: loop, network: network, thread: thread)
        var missed: [String] = []
        for (connections, size) in [(1, 64), (64, 64), (64, 4096)] {
            await bench.echo(connections, size, &missed)
        }
        await bench.throughput(&missed)
        await bench.manyConnections(10_000, &missed)
        print(missed.isEmpty ? "every goal is met" : "goals missed: \(missed.joined(separator: "; "))")
        loop.stop()
    }
}

extension EventLoop {
    /// Calls `body` on the loop.
    func value<Value>(_ body: @escaping @Sendable () -> Value) async -> Value {
        nonisolated(unsafe) var result: Value?
        await withCheckedContinuation { continuation in
            execute {
                result = body()
                continuation.resume()
            }
        }
        return result!
    }
}

/// Runs blocking work on a thread of its own.
func onThread<Value: Sendable>(_ body: @escaping @Sendable () -> Value) async -> Value {
    let done = Completion()
    nonisolated(unsafe) var result: Value?
    _ = try? KernelTask {
        result = body()
        try? done.post()
    }
    try? await done.wait()
    return result!
}

struct Bench {
    let loop: EventLoop
    let network: LinuxNetwork
    let thread: pthread_t
    let rounds = 5

    private func least(_ body: () async -> Double) async -> Double {
        var least = Double.infinity
        for _ in 0..<rounds { least = min(least, await body()) }
        return least
    }

    private func cpu() async -> Int64 { await loop.value { [thread] in peer_cpu(thread) } }

    private func endpoint(_ port: UInt16) -> Endpoint { Endpoint(host: "127.0.0.1", port: port) }

    /// Prints a row, and notes a missed goal.
    private func row(_ name: String, _ ours: Double, _ raw: Double, _ unit: String, goal: Double?, _ missed: inout [String]) {
        let ratio = ours / raw
        let verdict = goal.map { ratio <= $0 ? "(goal: \($0), met)" : "(goal: \($0), missed)" } ?? ""
        print("\(pad(name, 58)) \(text(ours)) \(text(raw)) \(unit)   \(text(ratio)) \(verdict)")
        if let goal, ratio > goal { missed.append(name) }
    }

    private func pad(_ text: String, _ width: Int) -> String {
        text + String(repeating: " ", count: max(0, width - text.count))
    }

    private func text(_ value: Double) -> String {
        let hundredths = Int((value * 100).rounded())
        let text = "\(hundredths / 100).\(hundredths % 100 < 10 ? "0" : "")\(hundredths % 100)"
        return String(repeating: " ", count: max(0, 9 - text.count)) + text
    }

    /// Echoes, with SAL as the client, as the server, and its async face as the server.
    func echo(_ connections: Int, _ size: Int, _ missed: inout [String]) async {
        let count: Int64 = 10_000
        let server = peer_server_start(0)
        let port = server.pointee.port
        let rawClient = await least {
            Double(await onThread { peer_echo(port, Int32(connections), Int32(size), count) }) / Double(count)
        }
        let rawServer = await least {
            let start = peer_cpu(server.pointee.thread)
            _ = await onThread { peer_echo(port, Int32(connections), Int32(size), count) }
            return Double(peer_cpu(server.pointee.thread) - start) / Double(count)
        }
        let client = await least { await echoClient(port, connections, size, count) }
        peer_server_stop(server)
        let ourServer = await least { await echoServer(connections, size, count) { $0.handler = EchoHandler($0) } }
        let loop = self.loop
        let asyncServer = await least {
            await echoServer(connections, size, count) { stream in
                let connection = Connection.adopt(stream, on: loop)
                Task(executorPreference: loop) {
                    for try await bytes in connection.received { try await connection.write(bytes) }
                }
            }
        }
        let name = "\(size) B echo, \(connections) connection\(connections == 1 ? "" : "s")"
        row("\(name), client", client, rawClient, "ns/round trip", goal: 1.3, &missed)
        row("\(name), server", ourServer, rawServer, "ns/round trip", goal: 1.3, &missed)
        row("\(name), server by await", asyncServer, rawServer, "ns/round trip", goal: nil, &missed)
    }

    private func echoClient(_ port: UInt16, _ connections: Int, _ size: Int, _ count: Int64) async -> Double {
        let done = Completion()
        let run = ClientRun(Int(count), size, done)
        await loop.value { [network, loop] in
            for _ in 0..<connections {
                let client = ClientHandler(run)
                client.stream = network.connect(to: endpoint(port), deadline: loop.now + .seconds(10), handler: client)
                run.clients.append(client)
            }
        }
        while await loop.value({ run.open < connections }) { try? await Task.sleep(for: .milliseconds(1)) }
        let start = await cpu()
        await loop.value { for client in run.clients { client.send() } }
        try? await done.wait()
        let used = await cpu() - start
        await loop.value {
            for client in run.clients { client.stream?.abort() }
            run.clients = []
        }
        return Double(used) / Double(count)
    }

    private func echoServer(
        _ connections: Int,
        _ size: Int,
        _ count: Int64,
        _ serve: @escaping @Sendable (any ByteStream) -> Void
    ) async -> Double {
        let acceptor = Acceptor(serve)
        let port = await loop.value { [network] in acceptor.listen(network) }
        let start = await cpu()
        _ = await onThread { peer_echo(port, Int32(connections), Int32(size), count) }
        let used = await cpu() - start
        await loop.value { acceptor.listener?.close() }
        return Double(used) / Double(count)
    }

    /// One stream at full speed: the time that the receiver's or the sender's thread takes, and the time that passes.
    func throughput(_ missed: inout [String]) async {
        let bytes: Int64 = 256 << 20
        let sink = peer_server_start(1)
        let port = sink.pointee.port
        var rawWall = Double.infinity
        let rawSender = await least {
            sink.pointee.bytes = 0
            let start = loop.now
            let cpu = await onThread { peer_send(port, bytes) }
            while sink.pointee.bytes < bytes { try? await Task.sleep(for: .microseconds(200)) }
            rawWall = min(rawWall, (loop.now - start) / .seconds(1))
            return Double(cpu) / Double(bytes) * 1e6
        }
        let rawReceiver = await least {
            sink.pointee.bytes = 0
            let start = peer_cpu(sink.pointee.thread)
            _ = await onThread { peer_send(port, bytes) }
            while sink.pointee.bytes < bytes { try? await Task.sleep(for: .microseconds(200)) }
            return Double(peer_cpu(sink.pointee.thread) - start) / Double(bytes) * 1e6
        }
        var wall = Double.infinity
        let sender = await least {
            sink.pointee.bytes = 0
            let begin = loop.now
            let start = await cpu()
            let source = Source(Int(bytes))
            await loop.value { [network, loop] in
                source.stream = network.connect(to: endpoint(port), deadline: loop.now + .seconds(10), handler: source)
            }
            while sink.pointee.bytes < bytes { try? await Task.sleep(for: .microseconds(200)) }
            wall = min(wall, (loop.now - begin) / .seconds(1))
            return Double(await cpu() - start) / Double(bytes) * 1e6
        }
        peer_server_stop(sink)
        var receiverWall = Double.infinity
        let receiver = await least {
            let counter = Counter()
            let acceptor = Acceptor { $0.handler = counter }
            let port = await loop.value { [network] in acceptor.listen(network) }
            let begin = loop.now
            let start = await cpu()
            _ = await onThread { peer_send(port, bytes) }
            while await loop.value({ counter.bytes < bytes }) { try? await Task.sleep(for: .microseconds(200)) }
            receiverWall = min(receiverWall, (loop.now - begin) / .seconds(1))
            let used = await cpu() - start
            await loop.value { acceptor.listener?.close() }
            return Double(used) / Double(bytes) * 1e6
        }
        row("one stream, time of the sender", sender, rawSender, "µs/MB", goal: nil, &missed)
        row("one stream, time of the receiver", receiver, rawReceiver, "µs/MB", goal: nil, &missed)
        let gigabytes = Double(bytes) / 1e9
        row("one stream, time that passes, SAL sends", wall / gigabytes, rawWall / gigabytes, "s/GB", goal: 1.05, &missed)
        row("one stream, time that passes, SAL receives", receiverWall / gigabytes, rawWall / gigabytes, "s/GB", goal: 1.05, &missed)
    }

    /// Accepts many connections, and keeps them.
    func manyConnections(_ count: Int, _ missed: inout [String]) async {
        guard peer_raise_limit() > count + 100 else { return print("too few descriptors for \(count) connections") }
        let quiet = Quiet()
        let acceptor = Acceptor { $0.handler = quiet }
        let port = await loop.value { [network] in acceptor.listen(network) }
        let before = peer_heap()
        let start = loop.now
        let peer = peer_process_start(port, Int32(count))
        while await loop.value({ acceptor.accepted < Int(peer.count) }) { try? await Task.sleep(for: .milliseconds(1)) }
        let took = (loop.now - start) / .seconds(1)
        let bytes = Double(peer_heap() - before) / Double(peer.count)
        print("\(peer.count) connections accepted in \(text(took)) s; \(text(bytes)) B of heap each (goal: 1024)")
        if bytes > 1024 || Int(peer.count) < count { missed.append("accepting \(count) connections") }
        await loop.value { acceptor.listener?.close() }
        peer_process_end(peer)
        while await loop.value({ quiet.ended < Int(peer.count) }) { try? await Task.sleep(for: .milliseconds(1)) }
        // And as the client of all of them.
        let server = peer_process_start(0, 0)
        let clients = Clients(count)
        let begin = loop.now
        let heap = peer_heap()
        let target = endpoint(server.port)
        await loop.value { [network] in clients.connect(network, target) }
        while await loop.value({ clients.open + clients.ended < count }) { try? await Task.sleep(for: .milliseconds(1)) }
        let connected = (loop.now - begin) / .seconds(1)
        let each = Double(peer_heap() - heap) / Double(count)
        let open = await loop.value { clients.open }
        print("\(open) connections made in \(text(connected)) s; \(text(each)) B of heap each (goal: 1024)")
        if each > 1024 || open < count { missed.append("making \(count) connections") }
        await loop.value { clients.close() }
        peer_process_end(server)
    }
}
