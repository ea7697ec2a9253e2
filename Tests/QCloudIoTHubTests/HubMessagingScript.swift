import MQTTClient
import QCloudIoTHub
import Synchronization
import Testing

@testable import struct QCloudIoTHub.HubServiceClock

/// A hub of a test's own: says what the test says, and keeps what the device says until the test asks.
actor ScriptedMessaging: HubMessaging {
    struct Failed: Error, Equatable {
        let reason: String
        init(_ reason: String) { self.reason = reason }
    }

    struct Sent: Equatable {
        let topic: String
        let payload: String
    }

    private(set) var filters: [String] = []
    private var refused: Set<String> = []
    private var isUp = false
    private var sources: [String: AsyncStream<MQTTMessage>.Continuation] = [:]
    private let states = AsyncStream.makeStream(of: HubConnectionState<Failed>.self)
    private let sent = AsyncStream.makeStream(of: Sent.self)
    private var publishFailure: Failed?
    /// Whether publishes take for ever.
    private var isStuck = false

    nonisolated var connectionStates: AsyncStream<HubConnectionState<Failed>> { states.stream }

    func connect() async throws(Failed) { goUp() }

    func disconnect() async {
        isUp = false
        states.continuation.yield(.disconnected(Failed("asked")))
        for source in sources.values { source.finish() }
        sources = [:]
    }

    func publish(_ payload: [UInt8], topic: String, qos: QoS) async throws(Failed) {
        while isStuck { await Task.yield() }
        if let publishFailure { throw publishFailure }
        sent.continuation.yield(Sent(topic: topic, payload: text(payload)))
    }

    func messages(of filter: String, qos: QoS) async throws(Failed) -> AsyncStream<MQTTMessage> {
        guard isUp else { throw Failed("not connected") }
        filters.append(filter)
        guard !refused.contains(filter) else { throw Failed("refused") }
        let (stream, source) = AsyncStream.makeStream(of: MQTTMessage.self)
        sources[filter] = source
        return stream
    }

    // MARK: What the test does

    func goUp() {
        isUp = true
        states.continuation.yield(.connected)
    }

    func goDown() {
        isUp = false
        states.continuation.yield(.waiting(after: Failed("lost")))
    }

    func refuse(_ filter: String) { refused.insert(filter) }
    func getStuck(_ isStuck: Bool) { self.isStuck = isStuck }
    func failPublishes(_ failure: Failed?) { publishFailure = failure }

    func say(_ topic: String, _ payload: String, on filter: String? = nil) {
        let message = MQTTMessage(topic: Array(topic.utf8), payload: Array(payload.utf8), qos: .atMostOnce)
        sources[filter ?? topic]?.yield(message)
    }

    /// What the device says next.
    nonisolated func next() async -> Sent? {
        var iterator = sent.stream.makeAsyncIterator()
        return await iterator.next()
    }
}

/// Time that passes when the test says so.
actor ManualTime {
    nonisolated let clock: HubServiceClock
    private let state = State()

    /// What sleepers and the clock share.
    private final class State: Sendable {
        private struct Content {
            var now = Duration.zero
            var sleepers: [Int: (until: Duration, continuation: CheckedContinuation<Void, Never>)] = [:]
            var count = 0
        }

        private let content = Mutex(Content())

        var now: Duration { content.withLock { $0.now } }
        var deadlines: [Duration] { content.withLock { $0.sleepers.values.map(\.until) } }

        func sleep(until: Duration) async {
            let number = content.withLock { content in
                content.count += 1
                return content.count
            }
            await withTaskCancellationHandler {
                await withCheckedContinuation { continuation in
                    let isOver = content.withLock { content in
                        guard until > content.now, !Task.isCancelled else { return true }
                        content.sleepers[number] = (until, continuation)
                        return false
                    }
                    if isOver { continuation.resume() }
                }
            } onCancel: {
                content.withLock { $0.sleepers.removeValue(forKey: number) }?.continuation.resume()
            }
        }

        func advance(to time: Duration) {
            let due = content.withLock { content in
                content.now = time
                let due = content.sleepers.filter { $0.value.until <= time }
                for number in due.keys { content.sleepers[number] = nil }
                return due.values.map(\.continuation)
            }
            for continuation in due { continuation.resume() }
        }
    }

    init() {
        let state = state
        clock = HubServiceClock(now: { state.now }, sleep: { await state.sleep(until: $0) })
    }

    /// Waits until somebody sleeps until `deadline`, then lets that time come.
    nonisolated func pass(to deadline: Duration) async {
        while !state.deadlines.contains(deadline) { await Task.yield() }
        state.advance(to: deadline)
    }

    /// Lets time come, whether somebody waits for it or not.
    nonisolated func set(_ time: Duration) { state.advance(to: time) }
}
