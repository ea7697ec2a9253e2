internal import Kernel
internal import SAL

/// MQTT for straight-line code: each call returns when it is done, and runs the loop of its connection meanwhile. For firmware that has nothing else to do, or whose loop
/// has a task of its own; and for simple programs.
///
/// Make the loop, the network and the connection first, and let nothing else run the loop. Between calls nothing happens: call ``receive(_:)`` or
/// ``wait(_:)`` at least once per keep alive. What breaks is mended while a call runs; a call that needs the connection waits for that as long as its time allows.
public final class MQTTBlockingClient {
    /// The connection, for what has no call here: its configuration, and what is asked of it without waiting.
    public let connection: MQTTConnection
    private let core: Core
    private let loop: EventLoop

    /// A client on `connection`, which is not connected yet. Up to `limit` messages wait for ``receive(_:)``; then nothing more is read, answers to requests neither.
    public init(_ connection: MQTTConnection, limit: Int = 8) {
        self.connection = connection
        loop = connection.network.loop
        core = Core(on: loop, limit: limit)
    }

    /// Connects. There is one attempt; later breaks are mended if the connection does so.
    public func connect() throws(MQTTError) {
        let reconnects = connection.reconnects
        connection.reconnects = false
        core.begin(.seconds(3_600))
        loop.run(after: { connection.connect(handler: core) }, while: { core.isWaiting && !connection.isConnected })
        connection.reconnects = reconnects
        core.end()
        if let error = core.error { throw error }
    }

    /// Says goodbye and closes; returns when all that was sent has left, at the latest after five seconds.
    public func disconnect() {
        let stream = connection.isConnected ? connection.stream : nil
        core.begin(Duration(secondsComponent: 5, attosecondsComponent: 0))
        loop.run(
            after: {
                connection.disconnect()
                stream?.handler = core
            },
            while: { stream != nil && core.isWaiting }
        )
        core.end()
        loop.run(after: { stream?.abort() }, while: { false })
    }

    /// Publishes a message. With QoS 1 and 2 it returns when the server has acknowledged it, and throws ``MQTTError/noReply`` if that has not come within
    /// `timeout`; the message is still sent then, when there is a connection.
    @discardableResult
    public func publish(
        topic: Span<UInt8>,
        payload: Span<UInt8>,
        qos: QoS = .atLeastOnce,
        isRetained: Bool = false,
        timeout: Duration = Duration(secondsComponent: 30, attosecondsComponent: 0)
    ) throws(MQTTError) -> MQTTReasonCode {
        try ask(timeout) { () throws(MQTTError) -> MQTTRequestID? in
            try connection.publish(topic: topic, payload: payload, qos: qos, isRetained: isRetained)
        }
        return core.code
    }

    /// Subscribes to a topic filter; returns the guarantee that was granted. Messages come by ``receive(_:)``.
    @discardableResult
    public func subscribe(
        to filter: Span<UInt8>,
        options: MQTTSubscriptionOptions = MQTTSubscriptionOptions(),
        timeout: Duration = Duration(secondsComponent: 30, attosecondsComponent: 0)
    ) throws(MQTTError) -> QoS {
        try ask(timeout) { () throws(MQTTError) -> MQTTRequestID? in
            try connection.subscribe(to: filter, options: options)
        }
        guard let qos = QoS(rawValue: core.code.rawValue) else { throw .subscriptionRefused(MQTTReason(core.code)) }
        return qos
    }

    /// Ends a subscription.
    public func unsubscribe(
        from filter: Span<UInt8>,
        timeout: Duration = Duration(secondsComponent: 30, attosecondsComponent: 0)
    ) throws(MQTTError) {
        try ask(timeout) { () throws(MQTTError) -> MQTTRequestID? in try connection.unsubscribe(from: filter) }
        if core.code.isFailure { throw .unsubscriptionRefused(MQTTReason(core.code)) }
    }

    /// The next message, which is acknowledged; `nil` if none comes within `timeout`. Throws when the connection is over.
    public func receive(_ timeout: Duration) throws(MQTTError) -> MQTTMessage? {
        if core.isEmpty { try wait(timeout, while: { core.isEmpty }) }
        guard let message = core.take() else { return nil }
        loop.run(
            after: {
                connection.acknowledge(message.receipt)
                connection.resumeReceiving()
            },
            while: { false }
        )
        return message
    }

    /// Keeps the connection alive for so long; messages that come meanwhile wait for ``receive(_:)``. Throws when the connection is over.
    public func wait(_ time: Duration) throws(MQTTError) { try wait(time, while: { true }) }

    private func wait(_ time: Duration, while condition: () -> Bool) throws(MQTTError) {
        guard !connection.isIdle else { throw .notConnected }
        core.begin(time)
        loop.run(after: {}, while: { core.isWaiting && condition() })
        core.end()
        if let error = core.error { throw error }
    }

    /// Makes a request, and waits for its answer if there will be one.
    private func ask(
        _ timeout: Duration,
        _ request: () throws(MQTTError) -> MQTTRequestID?
    ) throws(MQTTError) {
        guard !connection.isIdle else { throw .notConnected }
        var result: Result<MQTTRequestID?, MQTTError> = .success(nil)
        core.begin(timeout)
        loop.run(
            after: {
                do throws(MQTTError) {
                    let number = try request()
                    result = .success(number)
                    core.request = number
                } catch { result = .failure(error) }
            },
            while: { core.request != nil && core.isWaiting }
        )
        let isLate = core.end()
        _ = try result.get()
        if let error = core.error { throw error }
        if isLate { throw .noReply }
    }

    /// What the connection tells.
    private final class Core: MQTTConnectionHandler, ByteStreamHandler, TimerHandler {
        /// A message that waits for the user.
        private final class Item {
            let message: MQTTMessage
            var next: Item?
            init(_ message: MQTTMessage) { self.message = message }
        }

        private var first: Item?
        private var last: Item?
        private var count = 0
        private let limit: Int
        private let timer: Timer
        /// The request whose answer is waited for.
        var request: MQTTRequestID?
        private(set) var isWaiting = false
        private(set) var code = MQTTReasonCode.success
        private(set) var error: MQTTError?

        init(on loop: EventLoop, limit: Int) {
            timer = Timer(on: loop)
            self.limit = limit
        }

        var isEmpty: Bool { first == nil }

        func take() -> MQTTMessage? {
            guard let item = first else { return nil }
            first = item.next
            if first == nil { last = nil }
            count -= 1
            return item.message
        }

        func begin(_ timeout: Duration) {
            request = nil
            isWaiting = true
            code = .success
            error = nil
            timer.start(after: timeout, handler: self)
        }

        /// Ends a wait; returns whether its request is still without an answer.
        @discardableResult
        func end() -> Bool {
            timer.stop()
            isWaiting = false
            defer { request = nil }
            return request != nil
        }

        func timerFired(_ timer: Timer) { isWaiting = false }

        // What the transport says after the goodbye.
        func opened() {}
        func received(_ bytes: Span<UInt8>) -> Int { bytes.count }
        func writable() {}
        func closed(_ error: SocketError?) { isWaiting = false }

        func disconnected(_ error: MQTTError, retryAt: Duration?) {
            guard retryAt == nil else { return }
            self.error = error
            isWaiting = false
        }

        func received(_ message: MQTTMessage) -> MQTTDisposition {
            guard count < limit else { return .refused }
            let item = Item(message)
            if let last { last.next = item } else { first = item }
            last = item
            count += 1
            return .kept
        }

        private func answered(_ number: MQTTRequestID, _ code: MQTTReasonCode) {
            guard number == request else { return }
            request = nil
            self.code = code
        }

        func published(_ request: MQTTRequestID, code: MQTTReasonCode) { answered(request, code) }

        func subscribed(_ request: MQTTRequestID, codes: [UInt8]) {
            answered(request, MQTTReasonCode(rawValue: codes[0]))
        }

        func unsubscribed(_ request: MQTTRequestID, codes: [UInt8]) {
            answered(request, codes.isEmpty ? .success : MQTTReasonCode(rawValue: codes[0]))
        }

        func failed(_ request: MQTTRequestID, _ error: MQTTError) {
            guard request == self.request else { return }
            self.request = nil
            self.error = error
        }
    }
}
