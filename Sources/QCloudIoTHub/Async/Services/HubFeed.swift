#if !hasFeature(Embedded)
internal import Kernel

/// What one of the hub's services tells, in its order, for one reader. It ends when the device disconnects for good, or the hub takes the subscription back.
public struct HubFeed<Element: Sendable>: AsyncSequence, Sendable {
    /// It does not fail.
    public typealias Failure = Never

    let stream: AsyncStream<Element>
    let dropped: Guarded<Int>

    /// How much was dropped since the reader was too slow: the oldest goes first.
    public var droppedCount: Int { dropped.withLock { $0 } }

    /// A reader.
    public func makeAsyncIterator() -> AsyncStream<Element>.Iterator { stream.makeAsyncIterator() }
}

/// Those who read what a service tells.
struct HubFeeds<Element: Sendable> {
    private var readers: [(source: AsyncStream<Element>.Continuation, dropped: Guarded<Int>)] = []

    mutating func add(limit: Int, first: Element? = nil) -> HubFeed<Element> {
        let (stream, source) = AsyncStream.makeStream(of: Element.self, bufferingPolicy: .bufferingNewest(limit))
        if let first { source.yield(first) }
        let dropped = Guarded(0)
        readers.append((source, dropped))
        return HubFeed(stream: stream, dropped: dropped)
    }

    mutating func yield(_ element: Element) {
        readers.removeAll { reader in
            switch reader.source.yield(element) {
            case .enqueued: return false
            case .dropped:
                reader.dropped.withLock { $0 += 1 }
                return false
            case .terminated: return true
            @unknown default: return false
            }
        }
    }

    mutating func finish() {
        for reader in readers { reader.source.finish() }
        readers = []
    }
}

/// Why a request to one of the hub's services has failed: the service says no, or the MQTT below does.
public enum HubServiceFailure<Messaging: Error & Sendable>: Error, Sendable {
    /// The service, or the hub.
    case service(HubServiceError)
    /// The MQTT below, when the service was subscribed to.
    case messaging(Messaging)
}

/// The time that services go by, and how to wait for it.
struct HubServiceClock: Sendable {
    let now: @Sendable () -> Duration
    /// Waits until then, or until the task is cancelled.
    let sleep: @Sendable (_ until: Duration) async -> Void

    /// The time since it was made.
    static func continuous() -> HubServiceClock {
        let start = ContinuousClock.now
        return HubServiceClock(
            now: { start.duration(to: .now) },
            sleep: { try? await Task.sleep(until: start + $0, clock: .continuous) }
        )
    }
}

/// Tasks that end with their owner.
final class HubTasks: Sendable {
    private let tasks = Guarded<[String: Task<Void, Never>]>([:])

    /// Keeps a task, in place of the one that had the name.
    func set(_ name: String, _ task: Task<Void, Never>?) {
        tasks.withLock { $0.updateValue(task, for: name) }?.cancel()
    }

    deinit { for task in tasks.withLock({ $0.values }) { task.cancel() } }
}

extension [String: Task<Void, Never>] {
    fileprivate mutating func updateValue(_ task: Task<Void, Never>?, for name: String) -> Task<Void, Never>? {
        defer { self[name] = task }
        return self[name]
    }
}
#endif
