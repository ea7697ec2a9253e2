#if !hasFeature(Embedded)
public import Kernel

/// What a modem is asked, for tasks. Any task may call these; each returns when the modem has answered, or throws `ATError.cancelled` when its task is cancelled.
extension Modem {
    /// Sends a command line of the user's own, and returns the lines of the answer; see ``execute(_:timeoutMilliseconds:completion:)``.
    public func execute(_ line: String, timeout: Duration = .seconds(5)) async throws(ATError) -> [String] {
        let command = Array(line.utf8)
        let milliseconds = Int(timeout / .milliseconds(1))
        let answer = try await answer { modem, completion in
            do throws(ATError) {
                try modem.execute(command, timeoutMilliseconds: milliseconds, completion: completion)
            } catch { completion(.failure(error)) }
        }
        return answer.split(separator: 0x0A).map { String(decoding: $0, as: UTF8.self) }
    }

    /// What the modem is; see ``queryIdentity(_:)``.
    public func identity() async throws(ATError) -> ModemIdentity { try await answer { $0.queryIdentity($1) } }

    /// How the cellular network has the modem; see ``queryRegistration(_:)``.
    public func registration() async throws(ATError) -> ModemRegistration {
        try await answer { $0.queryRegistration($1) }
    }

    /// Whose network it is; see ``queryOperator(_:)``.
    public func networkOperator() async throws(ATError) -> ModemOperator { try await answer { $0.queryOperator($1) } }

    /// What time it is; see ``queryTime(_:)``.
    public func time() async throws(ATError) -> ModemTime { try await answer { $0.queryTime($1) } }

    /// Asks for a power saving mode, or for none; see ``setPowerSaving(_:_:)``.
    public func setPowerSaving(_ mode: ModemPowerSaving?) async throws(ATError) {
        try await answer { $0.setPowerSaving(mode, $1) }
    }

    /// Asks for extended discontinuous reception, or for none; see ``setDiscontinuousReception(_:_:)``.
    public func setDiscontinuousReception(_ mode: ModemDiscontinuousReception?) async throws(ATError) {
        try await answer { $0.setDiscontinuousReception(mode, $1) }
    }

    /// Lets the modem sleep, or keeps it awake; see ``setSleep(isAllowed:_:)``.
    public func setSleep(isAllowed: Bool) async throws(ATError) {
        try await answer { $0.setSleep(isAllowed: isAllowed, $1) }
    }

    private func answer<Value: Sendable>(
        _ ask: @escaping @Sendable (Modem, @escaping (Result<Value, ATError>) -> Void) -> Void
    ) async throws(ATError) -> Value {
        let outcome = ModemAnswer<Value>()
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                outcome.wait(continuation)
                // Asked later, it could be cancelled before anyone waits.
                loop.execute { ask(self) { outcome.give($0) } }
            }
        } onCancel: {
            outcome.give(.failure(.cancelled))
        }
        return try outcome.value.get()
    }
}

/// What a task waits for: the first outcome counts.
private final class ModemAnswer<Value: Sendable>: Sendable {
    private struct State {
        var outcome: Result<Value, ATError>?
        var waiter: CheckedContinuation<Void, Never>?
    }

    private let state = Guarded(State())

    func wait(_ continuation: CheckedContinuation<Void, Never>) {
        let isOver = state.withLock { state in
            if state.outcome == nil { state.waiter = continuation }
            return state.outcome != nil
        }
        if isOver { continuation.resume() }
    }

    func give(_ outcome: Result<Value, ATError>) {
        let waiter = state.withLock { state in
            guard state.outcome == nil else { return CheckedContinuation<Void, Never>?.none }
            state.outcome = outcome
            defer { state.waiter = nil }
            return state.waiter
        }
        waiter?.resume()
    }

    var value: Result<Value, ATError> { state.withLock { $0.outcome } ?? .failure(.cancelled) }
}
#endif
