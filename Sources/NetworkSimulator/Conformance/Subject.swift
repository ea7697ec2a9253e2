import Kernel
import SAL

/// A stream of the network that is checked, and all that it has told.
actor Subject {
    /// The handler; used on the loop only.
    final class Observer: ByteStreamHandler, @unchecked Sendable {
        // @unchecked: used on the loop only.
        var window = Int.max
        var received: [UInt8] = []
        var offers = 0
        var opened_ = 0
        var writables = 0
        var peerEnds = 0
        var ends: [SocketError?] = []
        var isInCall = false
        /// What was told when it must not be.
        var fault: String?
        let changed = Kernel.Semaphore(0, limit: 1)

        private func note(_ what: String) {
            if isInCall { fault = fault ?? "\(what) was told from inside a call" }
            if !ends.isEmpty { fault = fault ?? "\(what) was told after the end" }
            try? changed.post()
        }

        func opened() {
            note("opened")
            opened_ += 1
        }

        func received(_ bytes: Span<UInt8>) -> Int {
            note("bytes")
            if bytes.isEmpty { fault = fault ?? "no bytes were offered" }
            offers += 1
            let count = min(bytes.count, window)
            if window != .max { window -= count }
            for index in 0..<count { received.append(bytes[index]) }
            return count
        }

        func writable() {
            note("writable")
            writables += 1
        }

        func peerEnded() {
            note("the peer's end")
            peerEnds += 1
        }

        func closed(_ error: SocketError?) {
            note("the end")
            ends.append(error)
        }
    }

    nonisolated let loop: EventLoop
    nonisolated var unownedExecutor: UnownedSerialExecutor { loop.asUnownedSerialExecutor() }
    private let observer = Observer()
    private var stream: (any ByteStream)?
    private let patience: Duration

    init(on loop: EventLoop, patience: Duration) {
        self.loop = loop
        self.patience = patience
    }

    /// Begins to connect.
    func connect(_ network: any Network, to endpoint: Endpoint, within time: Duration? = nil, window: Int = .max) {
        observer.window = window
        call { stream = network.connect(to: endpoint, deadline: loop.now + (time ?? patience), handler: observer) }
    }

    /// Connects, and waits until it is connected.
    static func connected(
        _ setup: ConformanceCheck.Setup,
        to port: UInt16,
        over network: (any Network)? = nil,
        window: Int = .max
    ) async throws -> Subject {
        let network = network ?? setup.subject
        let subject = Subject(on: network.loop, patience: setup.patience)
        await subject.connect(network, to: Endpoint(host: setup.serverHost, port: port), window: window)
        try await subject.wait("it connects") { $0.opened_ == 1 }
        return subject
    }

    private func call<Result>(_ body: () -> Result) -> Result {
        observer.isInCall = true
        defer { observer.isInCall = false }
        return body()
    }

    /// Waits until `condition` holds of what was told.
    func wait(
        _ what: String,
        within time: Duration? = nil,
        until condition: @Sendable (Observer) -> Bool
    ) async throws {
        let deadline = loop.now + (time ?? patience)
        while !condition(observer) {
            if let fault = observer.fault { throw ConformanceFailure(fault) }
            let left = deadline - loop.now
            guard left > .zero else {
                throw ConformanceFailure(
                    "\(what): not in time; open \(observer.opened_), received \(observer.received.count), ends \(observer.ends)"
                )
            }
            do throws(KernelError) { try await observer.changed.wait(.atMost(left)) } catch {
                if error != .timedOut { throw error }
            }
        }
        if let fault = observer.fault { throw ConformanceFailure(fault) }
    }

    /// What was told so far.
    func look<Value: Sendable>(_ body: @Sendable (Observer) -> Value) -> Value { body(observer) }

    /// Sends as much of `bytes` as is taken, and returns how much.
    func offer(_ bytes: [UInt8]) -> Int { call { stream?.send(bytes.span) ?? 0 } }

    /// Sends all of `bytes`.
    func send(_ bytes: [UInt8]) async throws {
        var sent = 0
        while sent < bytes.count {
            let before = observer.writables
            sent += offer(Array(bytes[sent...]))
            if sent < bytes.count {
                try await wait("it takes \(bytes.count) bytes") { $0.writables > before || !$0.ends.isEmpty }
            }
            try require(observer.ends.isEmpty, "the stream ended with \(observer.ends) while it was sent to")
        }
    }

    func setWindow(_ window: Int) {
        observer.window = window
        call { stream?.resumeReceiving() }
    }

    func allowHalfOpen() { stream?.allowsHalfOpen = true }
    func finishSending() { call { stream?.finishSending() } }
    func close() { call { stream?.close() } }
    func abort() { call { stream?.abort() } }

    /// Waits until it has ended, and returns how.
    func end(within time: Duration? = nil) async throws -> SocketError? {
        try await wait("it ends", within: time) { !$0.ends.isEmpty }
        // Whatever is told behind the end comes soon.
        for _ in 0..<3 { await Task.yield() }
        if let fault = observer.fault { throw ConformanceFailure(fault) }
        try require(observer.ends.count == 1, "the end was told \(observer.ends.count) times")
        return observer.ends[0]
    }
}

/// A pattern that shows where bytes are missing, doubled, or in another order.
func pattern(_ count: Int, _ seed: Int = 0) -> [UInt8] {
    (0..<count).map { UInt8(truncatingIfNeeded: ($0 &+ seed) &* 31 ^ ($0 &+ seed) >> 8) }
}

extension ConformanceCheck.Setup {
    /// Calls `body` with a listener of the server, which is closed afterwards.
    func withListener<Result>(_ body: (Listener, UInt16) async throws -> Result) async throws -> Result {
        let listener = try await Listener.open(at: SocketAddress(address: serverAddress, port: 0), over: server)
        guard let port = listener.localAddress?.port else { throw ConformanceFailure("the server has no port") }
        do {
            let result = try await body(listener, port)
            await listener.close()
            return result
        } catch {
            await listener.close()
            throw error
        }
    }

    /// Calls `body` with a stream of the subject and the server's end of it.
    func withPair<Result>(
        window: Int = .max,
        _ body: (Subject, Connection) async throws -> Result
    ) async throws -> Result {
        try await withListener { listener, port in
            let subject = try await Subject.connected(self, to: port, window: window)
            guard let connection = try await listener.accept(.atMost(patience)) else {
                throw ConformanceFailure("the listener closed")
            }
            let result = try await body(subject, connection)
            await subject.abort()
            await connection.abort()
            return result
        }
    }
}
