#if !hasFeature(Embedded)
/// What becomes of a request.
typealias RequestResult = Result<MQTTAnswer, MQTTError>

/// What the server has said to a request.
struct MQTTAnswer: Sendable {
    var code = MQTTReasonCode.success
    /// Of a subscription or unsubscription, a code for each filter.
    var codes: [UInt8] = []
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
        /// Somebody will come to wait.
        case reserved
        /// The answer was there before who waits for it.
        case answered(RequestResult)
        case task(Resumer<RequestResult>)
        case group(RequestGroup, index: Int)
        case publisher(MQTTPublisherCore)
        case reply(ReplyWaiter)

        func finish(_ result: RequestResult) {
            switch self {
            case .nobody, .reserved, .answered: break
            case .task(let continuation): continuation.resume(result)
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

    private var places: [Place] = Array(repeating: Place(number: 0, waiter: .nobody), count: 4)
    private(set) var count = 0

    /// Adds who waits for `number`, which nobody waits for yet.
    mutating func add(_ number: MQTTRequestID, _ waiter: Waiter) {
        var index = Int(number) & (places.count - 1)
        while true {
            if case .nobody = places[index].waiter { break }
            grow()
            index = Int(number) & (places.count - 1)
        }
        places[index] = Place(number: number, waiter: waiter)
        count += 1
    }

    /// Gives who waits for `number` the answer, or keeps it for who will come to wait.
    mutating func finish(_ number: MQTTRequestID, _ result: RequestResult) {
        let index = Int(number) & (places.count - 1)
        guard places[index].number == number else { return }
        if case .reserved = places[index].waiter {
            places[index].waiter = .answered(result)
        } else {
            remove(number).finish(result)
        }
    }

    /// Waits for `number`, whose place was reserved.
    mutating func wait(for number: MQTTRequestID, _ resumer: Resumer<RequestResult>) {
        let index = Int(number) & (places.count - 1)
        guard places[index].number == number else { return resumer.resume(.failure(.disconnected)) }
        switch places[index].waiter {
        case .reserved: places[index].waiter = .task(resumer)
        case .answered(let result):
            places[index].waiter = .nobody
            count -= 1
            resumer.resume(result)
        case .nobody, .task, .group, .publisher, .reply: resumer.resume(.failure(.disconnected))
        }
    }

    /// Takes out who waits for `number`.
    private mutating func remove(_ number: MQTTRequestID) -> Waiter {
        let index = Int(number) & (places.count - 1)
        guard places[index].number == number else { return .nobody }
        let waiter = places[index].waiter
        if case .nobody = waiter { return .nobody }
        places[index].waiter = .nobody
        count -= 1
        return waiter
    }

    /// The numbers that are waited for, in their order.
    var numbers: [MQTTRequestID] {
        var numbers: [MQTTRequestID] = []
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
