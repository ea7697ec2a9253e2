#if !hasFeature(Embedded)
internal import ATAdapter
internal import Kernel
internal import MQTTClient

/// Somebody who waits for one answer. Confined to the loop.
final class Waiter: LoopWaitOwner {
    private(set) var result = Result<Void, ModemMQTTError>.failure(.cancelled)
    private var isOver = false
    private let core: ModemMQTTClient.Core
    let place: LoopWait

    init(_ core: ModemMQTTClient.Core, on loop: EventLoop) {
        self.core = core
        place = LoopWait(on: loop)
        place.owner = self
        place.begin()
    }

    func finish(_ result: Result<Void, ModemMQTTError>) {
        guard !isOver else { return }
        isOver = true
        self.result = result
        place.finish()
    }

    func waitCancelled() { core.cancel(self) }
}

extension ModemMQTTClient {
    /// Who waits for what, and who reads what. Confined to the loop.
    final class Core: ModemMQTTHandler {
        private struct Reader {
            let number: Int
            let filter: [UInt8]
            let source: AsyncStream<MQTTMessage>.Continuation
            let dropped: Guarded<Int>
        }

        let mqtt: ModemMQTT
        var waiters: [ModemMQTTRequestID: Waiter] = [:]
        private var connecting: [Waiter] = []
        private var leaving: [CheckedContinuation<Void, Never>] = []
        private var readers: [Reader] = []
        private var readerCount = 0
        private var stateSources: [AsyncStream<ModemMQTTState>.Continuation] = []
        private var state: ModemMQTTState?
        /// From ``connect(_:)`` to the last word.
        private var isRunning = false

        init(_ mqtt: ModemMQTT) { self.mqtt = mqtt }

        func connect(_ waiter: Waiter) {
            connecting.append(waiter)
            guard !isRunning else { return }
            isRunning = true
            tell(.connecting)
            mqtt.connect(handler: self)
        }

        func disconnect(_ continuation: CheckedContinuation<Void, Never>) {
            guard isRunning else { return continuation.resume() }
            leaving.append(continuation)
            mqtt.disconnect()
        }

        func cancel(_ waiter: Waiter) {
            waiter.finish(.failure(.cancelled))
            if let index = connecting.firstIndex(where: { $0 === waiter }) {
                connecting.remove(at: index)
                if connecting.isEmpty, !mqtt.isConnected { mqtt.disconnect() }
            }
            // What it asked for may still be done, and its answer finds nobody.
            for (id, other) in waiters where other === waiter { waiters[id] = nil }
        }

        // MARK: Readers

        func addReader(_ filter: [UInt8], _ limit: Int) -> (ModemMQTTSubscription, number: Int) {
            let (stream, source) = AsyncStream.makeStream(
                of: MQTTMessage.self,
                bufferingPolicy: .bufferingOldest(max(1, limit))
            )
            let dropped = Guarded(0)
            readerCount += 1
            readers.append(Reader(number: readerCount, filter: filter, source: source, dropped: dropped))
            return (ModemMQTTSubscription(messages: stream, dropped: dropped), readerCount)
        }

        func removeReader(_ number: Int) { readers.removeAll { $0.number == number } }

        func removeReaders(_ filter: [UInt8]) {
            for reader in readers where reader.filter == filter { reader.source.finish() }
            readers.removeAll { $0.filter == filter }
        }

        func add(_ source: AsyncStream<ModemMQTTState>.Continuation) {
            stateSources.append(source)
            if let state { source.yield(state) }
        }

        private func tell(_ state: ModemMQTTState) {
            if case .subscriptionLost = state {} else { self.state = state }
            stateSources.removeAll { source in
                if case .terminated = source.yield(state) { true } else { false }
            }
        }

        // MARK: ModemMQTTHandler

        func connected() {
            tell(.connected)
            finishConnecting(.success(()))
        }

        func disconnected(_ error: ModemMQTTError, retryAt: Duration?) {
            guard retryAt == nil else {
                tell(.waiting(after: error))
                // The first attempt is one; a modem that is just not there yet is waited for.
                guard !connecting.isEmpty, error != .modemDetached else { return }
                finishConnecting(.failure(error))
                return mqtt.disconnect()
            }
            isRunning = false
            tell(.disconnected(error))
            finishConnecting(.failure(error))
            for reader in readers { reader.source.finish() }
            readers = []
            let told = leaving
            leaving = []
            for continuation in told { continuation.resume() }
        }

        private func finishConnecting(_ result: Result<Void, ModemMQTTError>) {
            let waiting = connecting
            connecting = []
            for waiter in waiting { waiter.finish(result) }
        }

        func received(topic: Span<UInt8>, payload: Span<UInt8>) {
            var message: MQTTMessage?
            for reader in readers {
                let filter = reader.filter
                guard TopicFilter.matches(filter.span, topic: topic) else { continue }
                let copy =
                    message
                    ?? MQTTMessage(
                        topic: [UInt8](copying: topic),
                        payload: [UInt8](copying: payload),
                        // The firmware does not say which it was.
                        qos: .atMostOnce
                    )
                message = copy
                if case .dropped = reader.source.yield(copy) { reader.dropped.withLock { $0 += 1 } }
            }
        }

        func published(_ request: ModemMQTTRequestID) { finish(request, .success(())) }
        func subscribed(_ request: ModemMQTTRequestID) { finish(request, .success(())) }
        func unsubscribed(_ request: ModemMQTTRequestID) { finish(request, .success(())) }
        func failed(_ request: ModemMQTTRequestID, _ error: ModemMQTTError) { finish(request, .failure(error)) }

        private func finish(_ request: ModemMQTTRequestID, _ result: Result<Void, ModemMQTTError>) {
            waiters.removeValue(forKey: request)?.finish(result)
        }

        func subscriptionLost(filter: [UInt8], _ error: ModemMQTTError) {
            tell(.subscriptionLost(filter: String(decoding: filter, as: UTF8.self), error))
            removeReaders(filter)
        }
    }
}
#endif
