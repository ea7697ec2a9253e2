internal import ATAdapter
internal import CLinux
internal import Kernel
internal import SAL

/// A modem that a command brings up, and what it tells of itself.
final class CommandedModem: ModemHandler, @unchecked Sendable {
    // @unchecked: the modem is touched on its loop only.

    let loop = EventLoop.start()
    /// Its states as they change, first the present one; for one reader.
    let states: AsyncStream<ModemState>
    private let stateSource: AsyncStream<ModemState>.Continuation
    private var confined: LoopConfined<Modem>?
    private var multiplexer: LoopConfined<Multiplexer>?

    /// Opens the modem that the options say.
    static func open(_ arguments: Arguments) async throws -> CommandedModem {
        let line = try ModemLine(arguments)
        let modem = CommandedModem()
        let opened = await modem.loop.call {
            Result {
                let (opened, multiplexer) = try line.open(on: modem.loop)
                modem.confined = LoopConfined(opened)
                modem.multiplexer = multiplexer.map { LoopConfined($0) }
                modem.stateSource.yield(opened.state)
                opened.handler = modem
            }
        }
        try opened.get()
        return modem
    }

    private init() { (states, stateSource) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(64)) }

    /// The modem itself. It is there from ``open(_:)`` on.
    var network: Modem {
        guard let confined else { preconditionFailure("a modem that is not open") }
        return confined.value
    }

    func modemChanged(_ state: ModemState) { stateSource.yield(state) }

    /// Waits until it is attached; tells on the way what goes wrong. Throws when it is not attached in its time, or when waiting does not help.
    func attach(within time: Duration) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            let problem = Guarded<ATError?>(nil)
            group.addTask {
                for await state in self.states {
                    switch state {
                    case .attached: return
                    case .failed(let error) where error.isForUser: throw error
                    case .failed(let error):
                        let isNew = problem.withLock { known in
                            defer { known = error }
                            return known != error
                        }
                        if isNew { Console.error("\(sentence(for: error)); trying on") }
                    case .down, .searching: break
                    }
                }
                throw CancellationError()
            }
            group.addTask {
                try await Task.sleep(for: time)
                if await self.loop.call({ self.network.state == .down }) {
                    throw Failure(
                        "there is no serial line to the modem; is what --tty says right, and the server there?"
                    )
                }
                if let error = problem.withLock({ $0 }) { throw error }
                throw Failure(
                    "the modem has not found its network in \(time.components.seconds) s; 'apus modem probe' shows SIM, registration and signal"
                )
            }
            defer { group.cancelAll() }
            try await group.next()
        }
    }

    /// Asks the modem a question of the command's own.
    func ask(_ command: String) async -> ATAnswer {
        await withCheckedContinuation { continuation in
            loop.execute { [self] in
                do throws(ATError) {
                    try network.execute(Array(command.utf8)) { result in
                        continuation.resume(returning: Self.answer(result))
                    }
                } catch { continuation.resume(returning: .none) }
            }
        }
    }

    private static func answer(_ result: Result<[UInt8], ATError>) -> ATAnswer {
        switch result {
        case .success(let text):
            .lines(text.split(separator: 0x0A).map { String(decoding: $0, as: UTF8.self) })
        case .failure(.equipment(let code)): .refused("+CME ERROR: \(code)")
        case .failure(.refused): .refused("ERROR")
        case .failure: .none
        }
    }

    /// Waits until the modem has done what it was told before, a closing for instance.
    func settle() async { _ = await ask("AT") }

    /// Has a modem with a multiplexer speak plainly again, for the next program.
    func end() async {
        guard let multiplexer else { return }
        await loop.call { multiplexer.value.close() }
        try? await Task.sleep(for: Multiplexer.closingTime)
    }
}
