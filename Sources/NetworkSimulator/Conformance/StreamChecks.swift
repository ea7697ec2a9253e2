import Kernel
import SAL

extension ConformanceCheck {
    static var connecting: [ConformanceCheck] {
        [
            ConformanceCheck("a connection is told once, and not from inside the call") { setup in
                try await setup.withPair { subject, _ in
                    let opened = await subject.look { $0.opened_ }
                    try require(opened == 1, "it was told open \(opened) times")
                }
            },
            ConformanceCheck("a port where nobody listens refuses") { setup in
                let port = try await setup.withListener { _, port in port }
                let subject = Subject(on: setup.subject.loop, patience: setup.patience)
                await subject.connect(setup.subject, to: Endpoint(host: setup.serverHost, port: port))
                let error = try await subject.end()
                if case .refused = error { return }
                try require(error != nil && !setup.tellsRefusals, "it ended with \(String(describing: error))")
            },
            ConformanceCheck("a host without a way to it is unreachable") { setup in
                guard let endpoint = setup.unreachable else { return }
                let subject = Subject(on: setup.subject.loop, patience: setup.patience)
                await subject.connect(setup.subject, to: endpoint)
                let error = try await subject.end()
                guard case .unreachable = error else {
                    throw ConformanceFailure("it ended with \(String(describing: error))")
                }
            },
            ConformanceCheck("a host that is silent is given up at the deadline") { setup in
                guard let endpoint = setup.silent else { return }
                let subject = Subject(on: setup.subject.loop, patience: setup.patience)
                let start = setup.subject.loop.now
                await subject.connect(setup.subject, to: endpoint, within: .milliseconds(300))
                let error = try await subject.end()
                try require(error == .timedOut, "it ended with \(String(describing: error))")
                let took = setup.subject.loop.now - start
                try require(took >= .milliseconds(300), "it was given up after \(took)")
            },
            ConformanceCheck("a connection that comes about can be dropped") { setup in
                try await setup.withListener { _, port in
                    for aborts in [false, true] {
                        let subject = Subject(on: setup.subject.loop, patience: setup.patience)
                        await subject.connect(setup.subject, to: Endpoint(host: setup.serverHost, port: port))
                        if aborts { await subject.abort() } else { await subject.close() }
                        let error = try await subject.end()
                        try require(error == nil, "it ended with \(String(describing: error))")
                    }
                }
            },
            ConformanceCheck("a name is looked up") { setup in
                guard let name = setup.serverName else { return }
                try await setup.withListener { listener, port in
                    let subject = Subject(on: setup.subject.loop, patience: setup.patience)
                    await subject.connect(setup.subject, to: Endpoint(host: name, port: port))
                    try await subject.wait("it connects") { $0.opened_ == 1 }
                    await subject.abort()
                    _ = try await listener.accept(.atMost(setup.patience))
                }
            },
            ConformanceCheck("a name without an address is not found") { setup in
                guard setup.serverName != nil else { return }
                let subject = Subject(on: setup.subject.loop, patience: setup.patience)
                await subject.connect(setup.subject, to: Endpoint(host: "no-such-host.invalid", port: 9))
                let error = try await subject.end()
                try require(error == .nameNotFound, "it ended with \(String(describing: error))")
            },
        ]
    }

    static var carrying: [ConformanceCheck] {
        [
            ConformanceCheck("bytes of all sizes arrive both ways as they were sent") { setup in
                try await setup.withPair { subject, connection in
                    let none = await subject.offer([])
                    try require(none == 0, "of no bytes \(none) were taken")
                    for size in [1, 1_460, 2_048, 4_096, setup.bulkBytes] {
                        let bytes = pattern(size)
                        async let sent: Void = subject.send(bytes)
                        let there = try await connection.read(exactly: size, .atMost(setup.patience))
                        try await sent
                        try require(there == bytes, "\(size) bytes arrived otherwise than they were sent")
                        try await connection.write(bytes, .atMost(setup.patience))
                        try await subject.wait("\(size) bytes arrive") { $0.received.count >= size }
                        let here = await subject.look { observer in
                            defer { observer.received = [] }
                            return observer.received
                        }
                        try require(here == bytes, "\(size) bytes came otherwise than they were sent")
                    }
                }
            },
            ConformanceCheck("both directions carry at once") { setup in
                try await setup.withPair { subject, connection in
                    let (up, down) = (pattern(setup.bulkBytes / 2, 1), pattern(setup.bulkBytes / 2, 2))
                    async let sent: Void = subject.send(up)
                    async let written: Void = connection.write(down, .atMost(setup.patience))
                    let there = try await connection.read(exactly: up.count, .atMost(setup.patience))
                    try await sent
                    try await written
                    try await subject.wait("all arrives") { $0.received.count >= down.count }
                    try require(there == up, "what was sent arrived otherwise")
                    try require(await subject.look { $0.received } == down, "what was received came otherwise")
                }
            },
            ConformanceCheck("what a handler leaves is kept, and offered again when it resumes") { setup in
                try await setup.withPair(window: 5) { subject, connection in
                    let bytes = pattern(1_000)
                    try await connection.write(bytes, .atMost(setup.patience))
                    try await subject.wait("five bytes come") { $0.received.count == 5 }
                    try await setup.subject.loop.sleep(for: .milliseconds(20))
                    let offers = await subject.look { $0.offers }
                    try require(offers == 1, "bytes were offered \(offers) times before the handler resumed")
                    await subject.setWindow(0)
                    try await subject.wait("it is offered again") { $0.offers > offers }
                    try require(await subject.look { $0.received.count } == 5, "more was counted than was taken")
                    await subject.setWindow(.max)
                    try await subject.wait("the rest comes") { $0.received.count == 1_000 }
                    try require(await subject.look { $0.received } == bytes, "the bytes came otherwise")
                }
            },
            ConformanceCheck("a receiver that takes nothing stops the peer, and loses nothing") { setup in
                guard setup.subject.capabilities.hasReceiveFlowControl else { return }
                try await setup.withPair(window: 0) { subject, connection in
                    // More than all buffers on the way hold.
                    let bytes = pattern(setup.bulkBytes * 16)
                    async let writing: Void = connection.write(bytes)
                    try await subject.wait("it is offered bytes") { $0.offers > 0 }
                    try await setup.subject.loop.sleep(for: .milliseconds(100))
                    let offers = await subject.look { $0.offers }
                    try require(offers == 1, "bytes were offered \(offers) times to a handler that takes none")
                    await subject.setWindow(.max)
                    try await subject.wait("all comes") { $0.received.count >= bytes.count }
                    try await writing
                    try require(await subject.look { $0.received } == bytes, "the bytes came otherwise")
                }
            },
            ConformanceCheck("a peer that takes nothing stops the sender, which is told when there is room") { setup in
                try await setup.withPair { subject, connection in
                    let bytes = pattern(setup.bulkBytes * 16)
                    var sent = 0
                    while sent < bytes.count {
                        let count = await subject.offer(Array(bytes[sent..<min(sent + 16_384, bytes.count)]))
                        if count == 0 { break }
                        sent += count
                        await Task.yield()
                    }
                    // What has not been taken goes in turns from here on.
                    let rest = Array(bytes[sent...])
                    async let last: Void = subject.send(rest)
                    let there = try await connection.read(exactly: bytes.count, .atMost(setup.patience))
                    try await last
                    try require(there == bytes, "the bytes arrived otherwise")
                }
            },
        ]
    }

    static var ending: [ConformanceCheck] {
        [
            ConformanceCheck("what was sent before the peer closed comes first, then the end") { setup in
                try await setup.withPair(window: 10) { subject, connection in
                    let bytes = pattern(10_000)
                    try await connection.write(bytes, .atMost(setup.patience))
                    await connection.close()
                    try await subject.wait("the first bytes come") { $0.received.count == 10 }
                    try await setup.subject.loop.sleep(for: .milliseconds(20))
                    try require(await subject.look { $0.ends.isEmpty }, "the end was told before the bytes")
                    await subject.setWindow(.max)
                    let error = try await subject.end()
                    try require(error == nil, "it ended with \(String(describing: error))")
                    try require(await subject.look { $0.received } == bytes, "bytes are missing")
                }
            },
            ConformanceCheck("a peer's close is told at once") { setup in
                try await setup.withPair { subject, connection in
                    await connection.close()
                    let error = try await subject.end(within: .seconds(5))
                    try require(error == nil, "it ended with \(String(describing: error))")
                }
            },
            ConformanceCheck("a close sends what was taken, and then the end") { setup in
                try await setup.withPair { subject, connection in
                    let bytes = pattern(min(setup.bulkBytes, 100_000))
                    try await subject.send(bytes)
                    await subject.close()
                    let there = try await connection.read(exactly: bytes.count, .atMost(setup.patience))
                    try require(there == bytes, "the bytes arrived otherwise")
                    try require(try await connection.read(.atMost(setup.patience)) == nil, "more than that arrived")
                    let error = try await subject.end()
                    try require(error == nil, "it ended with \(String(describing: error))")
                }
            },
            ConformanceCheck("closing twice tells the end once, and nothing is taken afterwards") { setup in
                try await setup.withPair { subject, _ in
                    await subject.close()
                    await subject.close()
                    try require(await subject.offer([1]) == 0, "a closed stream took a byte")
                    _ = try await subject.end()
                    await subject.close()
                    await subject.abort()
                    try require(await subject.offer([1]) == 0, "an ended stream took a byte")
                    _ = try await subject.end()
                }
            },
            ConformanceCheck("an abort ends the stream at both ends") { setup in
                try await setup.withPair { subject, connection in
                    await subject.abort()
                    let error = try await subject.end(within: .seconds(15))
                    try require(error == nil, "it ended with \(String(describing: error))")
                    do throws(SocketError) {
                        let more = try await connection.read(.atMost(setup.patience))
                        try require2(more == nil, "the peer got bytes")
                    } catch {
                        if error == .timedOut { throw ConformanceFailure("the peer was not told") }
                    }
                }
            },
            ConformanceCheck("a stream that the peer resets ends with that error") { setup in
                try await setup.withPair { subject, connection in
                    await connection.abort()
                    let error = try await subject.end(within: .seconds(15))
                    if case .reset = error { return }
                    try require(!setup.tellsResets, "it ended with \(String(describing: error))")
                }
            },
            ConformanceCheck("one direction can end before the other") { setup in
                guard setup.subject.capabilities.hasHalfClose else { return }
                try await setup.withPair { subject, connection in
                    await subject.allowHalfOpen()
                    try await subject.send(pattern(100))
                    await subject.finishSending()
                    try require(await subject.offer([1]) == 0, "a byte was taken behind the end")
                    let there = try await connection.read(exactly: 100, .atMost(setup.patience))
                    try require(there == pattern(100), "the bytes arrived otherwise")
                    try require(try await connection.read(.atMost(setup.patience)) == nil, "the end did not arrive")
                    // The other direction still carries.
                    try await connection.write(pattern(5_000), .atMost(setup.patience))
                    try await subject.wait("the answer comes") { $0.received.count == 5_000 }
                    await connection.finishWriting()
                    let error = try await subject.end()
                    try require(error == nil, "it ended with \(String(describing: error))")
                }
            },
            ConformanceCheck("a stream may go on sending when the peer has ended") { setup in
                guard setup.subject.capabilities.hasHalfClose else { return }
                try await setup.withPair { subject, connection in
                    await subject.allowHalfOpen()
                    await connection.finishWriting()
                    try await subject.wait("the peer's end is told") { $0.peerEnds == 1 }
                    try require(await subject.look { $0.ends.isEmpty }, "it ended by itself")
                    try await subject.send(pattern(5_000))
                    let there = try await connection.read(exactly: 5_000, .atMost(setup.patience))
                    try require(there == pattern(5_000), "the bytes arrived otherwise")
                    await subject.close()
                    try require(try await connection.read(.atMost(setup.patience)) == nil, "the end did not arrive")
                    _ = try await subject.end()
                }
            },
            ConformanceCheck("when the device restarts, all its streams end at once") { setup in
                guard let restart = setup.restartDevice else { return }
                try await setup.withListener { listener, port in
                    var subjects: [Subject] = []
                    for _ in 0..<2 { subjects.append(try await Subject.connected(setup, to: port)) }
                    try await restart()
                    for subject in subjects {
                        let error = try await subject.end(within: .seconds(20))
                        try require(error != nil, "it ended as if in order")
                    }
                    _ = listener
                }
            },
        ]
    }
}

/// As ``require(_:_:)``, where sockets' errors are thrown.
private func require2(_ condition: Bool, _ otherwise: String) throws(SocketError) {
    if !condition { throw .timedOut }
}
