#if !hasFeature(Embedded)
internal import Kernel

/// What becomes of a request.
typealias RequestResult = Result<MQTTAnswer, MQTTError>

/// What the server has said to a request.
struct MQTTAnswer: Sendable {
    var code = MQTTReasonCode.success
    /// Of a subscription or unsubscription, a code for each filter.
    var codes: [UInt8] = []
}

/// A place for a task to wait in for the answer to its request. Confined to the loop.
final class RequestWait: LoopWaitOwner {
    /// Whoever waits keeps the client, and that its core.
    private unowned let core: ClientCore
    let place: LoopWait
    /// The answer.
    private var result = RequestResult.failure(.cancelled)

    init(_ core: ClientCore, on loop: EventLoop) {
        self.core = core
        place = LoopWait(on: loop)
        place.owner = self
    }

    func finish(_ result: RequestResult) {
        self.result = result
        place.finish()
    }

    func waitCancelled() {
        if let number = core.waiters.number(of: self) { core.answer(number, .failure(.cancelled)) }
    }

    /// What came of the request, once the wait is over.
    func answer() throws(MQTTError) -> MQTTAnswer { try result.get() }
}

/// Who waits for several answers.
final class RequestGroup {
    private(set) var results: [Result<MQTTReasonCode, MQTTError>]
    private var missing: Int
    private var continuation: Resumer<Void>?

    init(count: Int) {
        results = Array(repeating: .failure(.disconnected), count: count)
        missing = count
    }

    /// Resumes who waits when all have their result.
    func whenFinished(_ continuation: Resumer<Void>) {
        if missing == 0 { continuation.resume(()) } else { self.continuation = continuation }
    }

    func finish(_ index: Int, _ result: Result<MQTTReasonCode, MQTTError>) {
        results[index] = result
        missing -= 1
        guard missing == 0 else { return }
        continuation?.resume(())
        continuation = nil
    }
}

/// Who waits for the answers to requests, by their numbers, which count up: a ring that allocates nothing once it is large enough. Confined to the loop.
struct RequestWaiters {
    enum Waiter {
        case nobody
        case task(RequestWait)
        case group(RequestGroup, index: Int)
        case publisher(MQTTPublisherCore)
        case reply(ReplyWaiter)

        func finish(_ result: RequestResult) {
            switch self {
            case .nobody: break
            case .task(let wait): wait.finish(result)
            case .group(let group, let index): group.finish(index, result.map(\.code))
            case .publisher(let publisher): publisher.finished(result)
            case .reply(let waiter):
                // A request that the server refuses has no reply.
                if case .failure(let error) = result { waiter.finish(.failure(error)) }
            }
        }
    }

    private struct Place {
        var number: MQTTRequestID
        var waiter: Waiter
    }

    /// None, or a power of two of them.
    private var places: [Place] = []
    /// Those whose answers are so late that their places were needed.
    private var late: [MQTTRequestID: Waiter] = [:]
    private(set) var count = 0
    /// How many places there are; they do not grow with how long an answer takes.
    var placeCount: Int { places.count }

    /// Adds who waits for `number`, which nobody waits for yet.
    mutating func add(_ number: MQTTRequestID, _ waiter: Waiter) {
        if places.isEmpty { places = Array(repeating: Place(number: 0, waiter: .nobody), count: 4) }
        var index = Int(number) & (places.count - 1)
        while true {
            if case .nobody = places[index].waiter { break }
            guard 4 * (count + 1) > places.count else {
                late[places[index].number] = places[index].waiter
                break
            }
            grow()
            index = Int(number) & (places.count - 1)
        }
        places[index] = Place(number: number, waiter: waiter)
        count += 1
    }

    /// The number that a task waits for.
    func number(of wait: RequestWait) -> MQTTRequestID? {
        for place in places {
            if case .task(let other) = place.waiter, other === wait { return place.number }
        }
        for (number, waiter) in late {
            if case .task(let other) = waiter, other === wait { return number }
        }
        return nil
    }

    /// Takes out who waits for `number`.
    mutating func remove(_ number: MQTTRequestID) -> Waiter {
        guard !places.isEmpty else { return .nobody }
        let index = Int(number) & (places.count - 1)
        guard places[index].number == number else {
            guard !late.isEmpty, let waiter = late.removeValue(forKey: number) else { return .nobody }
            count -= 1
            return waiter
        }
        let waiter = places[index].waiter
        if case .nobody = waiter { return .nobody }
        places[index].waiter = .nobody
        count -= 1
        return waiter
    }

    /// The numbers that are waited for, in their order.
    var numbers: [MQTTRequestID] {
        var numbers = Array(late.keys)
        for place in places {
            if case .nobody = place.waiter { continue }
            numbers.append(place.number)
        }
        return numbers.sorted()
    }

    private mutating func grow() {
        let old = places
        places = Array(repeating: Place(number: 0, waiter: .nobody), count: 2 * old.count)
        // In twice as many places, what had places of its own has so again.
        for place in old {
            if case .nobody = place.waiter { continue }
            places[Int(place.number) & (places.count - 1)] = place
        }
    }
}
#endif
