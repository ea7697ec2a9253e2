import Kernel
import SAL

extension ConformanceCheck.Setup {
    /// Calls `body` with a channel of the subject and the server's socket.
    fileprivate func withChannels<Result>(
        _ body: (DatagramChannel, DatagramChannel) async throws -> Result
    ) async throws -> Result {
        let server = try await DatagramChannel.bind(at: SocketAddress(address: serverAddress, port: 0), over: server)
        guard let port = await server.localAddress?.port else { throw ConformanceFailure("the server has no port") }
        let channel = try await DatagramChannel.open(
            to: Endpoint(host: serverHost, port: port),
            over: subject,
            within: patience
        )
        let result = try await body(channel, server)
        await channel.close()
        await server.close()
        return result
    }
}

extension ConformanceCheck {
    static var datagrams: [ConformanceCheck] {
        [
            ConformanceCheck("datagrams keep their boundaries, both ways") { setup in
                try await setup.withChannels { channel, server in
                    let most = setup.subject.capabilities.datagramBytes
                    for size in [1, 512, 1_024, 1_460, 8_000] where size <= most {
                        try await channel.send(pattern(size))
                        guard let there = try await server.receive(.atMost(setup.patience)) else { break }
                        try require(there.bytes == pattern(size), "a datagram of \(size) arrived otherwise")
                        try require(!there.isTruncated, "a datagram of \(size) was truncated")
                        try await server.send(pattern(size, 7), to: there.peer)
                        guard let here = try await channel.receive(.atMost(setup.patience)) else { break }
                        try require(here.bytes == pattern(size, 7), "a datagram of \(size) came otherwise")
                    }
                    // Several at once stay several.
                    for size in 1...5 { try await channel.send(pattern(size * 10)) }
                    var sizes: [Int] = []
                    for _ in 0..<5 { sizes.append(try await server.receive(.atMost(setup.patience))?.bytes.count ?? 0) }
                    try require(sizes.sorted() == [10, 20, 30, 40, 50], "five datagrams arrived as \(sizes)")
                }
            },
            ConformanceCheck("a datagram that is too long is refused, and the socket goes on") { setup in
                try await setup.withChannels { channel, server in
                    let most = setup.subject.capabilities.datagramBytes
                    do throws(SocketError) {
                        try await channel.send(pattern(most + 1))
                        throw .other(code: -1)
                    } catch {
                        guard error == .messageTooLong else { throw ConformanceFailure("it was not refused: \(error)") }
                    }
                    try await channel.send([1, 2])
                    let there = try await server.receive(.atMost(setup.patience))
                    try require(there?.bytes == [1, 2], "the socket did not go on")
                }
            },
            ConformanceCheck("datagrams of others than the peer are dropped") { setup in
                try await setup.withChannels { channel, server in
                    try await channel.send([1])
                    guard let there = try await server.receive(.atMost(setup.patience)) else { return }
                    let stranger = try await DatagramChannel.bind(
                        at: SocketAddress(address: setup.serverAddress, port: 0),
                        over: setup.server
                    )
                    try await stranger.send([66], to: there.peer)
                    try await server.send([2], to: there.peer)
                    let here = try await channel.receive(.atMost(setup.patience))
                    try require(here?.bytes == [2], "a stranger's datagram came: \(String(describing: here))")
                    await stranger.close()
                }
            },
            ConformanceCheck("a datagram socket that is closed ends once, and takes nothing") { setup in
                try await setup.withChannels { channel, _ in
                    await channel.close()
                    let more = try await channel.receive(.atMost(setup.patience))
                    try require(more == nil, "something came behind the end")
                    await channel.close()
                    do throws(SocketError) { try await channel.send([1]) } catch {
                        return try require(error == .closed, "a send threw \(error)")
                    }
                    throw ConformanceFailure("a closed socket took a datagram")
                }
            },
        ]
    }

    static var together: [ConformanceCheck] {
        [
            ConformanceCheck("two streams carry at once, each its own") { setup in
                try await setup.withListener { listener, port in
                    try await interleave(setup, listener, port, [setup.subject, setup.subject])
                }
            },
            ConformanceCheck("two networks carry at once, each its own") { setup in
                guard let other = setup.other else { return }
                try await setup.withListener { listener, port in
                    try await interleave(setup, listener, port, [setup.subject, other])
                }
            },
            ConformanceCheck("one socket too many is refused, and there is room again when one has closed") { setup in
                guard let most = setup.subject.capabilities.maximumSockets else { return }
                try await setup.withListener { listener, port in
                    var subjects: [Subject] = []
                    for _ in 0..<most { subjects.append(try await Subject.connected(setup, to: port)) }
                    let extra = Subject(on: setup.subject.loop, patience: setup.patience)
                    // It may wait for one that closes.
                    await extra.connect(
                        setup.subject,
                        to: Endpoint(host: setup.serverHost, port: port),
                        within: .seconds(1)
                    )
                    let error = try await extra.end()
                    guard case .tooManySockets = error else {
                        throw ConformanceFailure("the \(most + 1)th ended with \(String(describing: error))")
                    }
                    await subjects[0].close()
                    _ = try await subjects[0].end()
                    subjects[0] = try await Subject.connected(setup, to: port)
                    for subject in subjects { await subject.abort() }
                    for subject in subjects { _ = try await subject.end() }
                    _ = listener
                }
            },
        ]
    }

    /// Has a stream of each network echo its own bytes, in turn.
    private static func interleave(
        _ setup: Setup,
        _ listener: Listener,
        _ port: UInt16,
        _ networks: [any Network]
    ) async throws {
        var pairs: [(subject: Subject, connection: Connection)] = []
        for network in networks {
            let subject = try await Subject.connected(setup, to: port, over: network)
            guard let connection = try await listener.accept(.atMost(setup.patience)) else { return }
            pairs.append((subject, connection))
        }
        for round in 0..<5 {
            for (number, pair) in pairs.enumerated() { try await pair.subject.send(pattern(700, number * 100 + round)) }
            for (number, pair) in pairs.enumerated() {
                let there = try await pair.connection.read(exactly: 700, .atMost(setup.patience))
                try require(there == pattern(700, number * 100 + round), "stream \(number) carried other bytes")
                try await pair.connection.write(there, .atMost(setup.patience))
            }
            for (number, pair) in pairs.enumerated() {
                try await pair.subject.wait("the echo comes") { $0.received.count == (round + 1) * 700 }
                let last = await pair.subject.look { Array($0.received.suffix(700)) }
                try require(last == pattern(700, number * 100 + round), "stream \(number) echoed other bytes")
            }
        }
        for pair in pairs { await pair.subject.abort() }
    }
}
