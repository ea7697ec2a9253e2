internal import ATAdapter
internal import CLinux
internal import Kernel
internal import SAL

let modemPipeCommand = Command(
    "modem pipe",
    "Connect standard input and output with a server, through a modem.",
    usage: "--tty PATH --dialect NAME [OPTIONS] HOST PORT",
    notes: """
        A modem cannot close one direction alone: after the end of the input, the connection stays until the server ends it, or nothing has come
        for the time of --wait. With --udp each piece of the input is a datagram, as it is read: a line, where lines are typed.

        The status is 0 at an orderly end, 1 if the modem cannot be brought up, 3 if there is no connection, or 4 if it breaks.
        """,
    options: modemOptions + [
        Option("u", "udp", "Send and receive datagrams."),
        Option("t", "timeout", value: "SECONDS", "How long the modem may take to find its network; 180 unless given."),
        Option(nil, "connect-timeout", value: "SECONDS", "How long the connection may take; 150 unless given."),
        Option(
            "w",
            "wait",
            value: "SECONDS",
            "Stay so long after the end of the input, while nothing comes; 5 unless given."
        ),
        Option("v", "verbose", "Tell on the standard error what is done."),
    ]
) { arguments in
    guard arguments.operands.count == 2 else { throw UsageError("HOST and PORT say where to connect to") }
    guard let port = UInt16(arguments.operands[1]), port > 0 else {
        throw UsageError("the port is a number from 1 to 65535, not '\(arguments.operands[1])'")
    }
    let endpoint = Endpoint(host: arguments.operands[0], port: port)
    let bringUp = try arguments.number("timeout", in: 1...100_000) ?? 180
    let opening = Duration.seconds(try arguments.number("connect-timeout", in: 1...100_000) ?? 150)
    let wait = Duration.seconds(try arguments.number("wait", in: 0...100_000) ?? 5)
    func tell(_ text: String) { if arguments.has("verbose") { Console.error(text) } }
    let modem = try await CommandedModem.open(arguments)
    tell("waiting for the modem and its network")
    try await modem.attach(within: .seconds(bringUp))
    tell("attached; connecting to \(endpoint)")
    let pipe: any ModemPipe
    do {
        pipe =
            arguments.has("udp")
            ? DatagramPipe(try await DatagramChannel.open(to: endpoint, over: modem.network, within: opening))
            : StreamPipe(try await Connection.open(to: endpoint, over: modem.network, within: opening))
    } catch {
        Console.error("modem pipe: \(pipeSentence(error, endpoint))")
        await modem.end()
        return 3
    }
    tell("connected")
    // A datagram is what is read at once.
    let limit = await modem.loop.call { modem.network.capabilities.datagramBytes }
    let input = try StandardInput(upTo: arguments.has("udp") ? limit : 16_384)
    do {
        try await run(pipe, input, wait: wait)
        await pipe.close()
        await modem.settle()
    } catch {
        Console.error("modem pipe: \(pipeSentence(error, endpoint))")
        await modem.end()
        return 4
    }
    await modem.end()
    tell("ended")
    return 0
}

private func pipeSentence(_ error: any Error, _ endpoint: Endpoint) -> String {
    switch error {
    case let error as ConnectError: "cannot connect to \(endpoint): \(pipeSentence(error.cause, endpoint))"
    case SocketError.refused: "refused; is the server running, and are host and port right?"
    case SocketError.timedOut:
        "the time is over; a server at a private address cannot be reached from a cellular network"
    case SocketError.nameNotFound: "the name '\(String(decoding: endpoint.host, as: UTF8.self))' has no address"
    case SocketError.deviceRestarted: "the modem has restarted or vanished, and the connection with it"
    case SocketError.noNetwork: "the modem has lost its network"
    default: sentence(for: error)
    }
}

/// Where the bytes of a pipe go to and come from.
private protocol ModemPipe: Sendable {
    func send(_ bytes: [UInt8]) async throws(SocketError)
    /// `nil` at the end.
    func receive() async throws(SocketError) -> [UInt8]?
    func close() async
}

private struct StreamPipe: ModemPipe {
    let connection: Connection
    init(_ connection: Connection) { self.connection = connection }
    func send(_ bytes: [UInt8]) async throws(SocketError) { try await connection.write(bytes) }
    func receive() async throws(SocketError) -> [UInt8]? { try await connection.read() }
    func close() async { await connection.close() }
}

private struct DatagramPipe: ModemPipe {
    let channel: DatagramChannel
    init(_ channel: DatagramChannel) { self.channel = channel }

    func send(_ bytes: [UInt8]) async throws(SocketError) {
        while true {
            do throws(SocketError) { return try await channel.send(bytes) } catch .overflow {
                // Input is faster than the modem.
                do { try await Task.sleep(for: .milliseconds(20)) } catch { throw .cancelled }
            }
        }
    }

    func receive() async throws(SocketError) -> [UInt8]? { try await channel.receive()?.bytes }

    func close() async {
        await channel.close()
        // What waits to be sent is sent before the end.
        while (try? await channel.receive()) != nil {}
    }
}

/// Carries bytes both ways until the peer ends, or until nothing has come for `wait` since the end of the input.
private func run(_ pipe: any ModemPipe, _ input: StandardInput, wait: Duration) async throws {
    let lastArrival = Guarded(ContinuousClock.now)
    try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask {
            while let bytes = try await pipe.receive() {
                Console.raw(bytes)
                lastArrival.withLock { $0 = .now }
            }
        }
        group.addTask {
            while let bytes = await input.next() { try await pipe.send(bytes) }
            try Task.checkCancellation()
            lastArrival.withLock { $0 = .now }
            while true {
                let end = lastArrival.withLock { $0 } + wait
                if end <= .now { return }
                try await Task.sleep(until: end)
            }
        }
        defer { group.cancelAll() }
        try await group.next()
    }
}
