import Testing

@testable import Kernel

/// The primitives by which threads and tasks wait for each other, under load: nobody goes on too early, and all go on.
@Suite(.timeLimit(.minutes(1))) struct GateStressTests {
    /// How many have come to each round.
    private final class Rounds: Sendable {
        let arrived: Guarded<[Int]>
        init(_ count: Int) { arrived = Guarded(Array(repeating: 0, count: count)) }
        func arrive(_ round: Int) { arrived.withLock { $0[round] += 1 } }
        func count(_ round: Int) -> Int { arrived.withLock { $0[round] } }
    }

    @Test(arguments: Stress.seeds) func barrier(seed: UInt64) async throws {
        let (barrier, rounds, lasts) = (Barrier(6), Rounds(200), Rounds(200))
        try await Stress(seed: seed).run { (_, round, _) throws(KernelError) in
            rounds.arrive(round)
            if try barrier.wait() { lasts.arrive(round) }
            #expect(rounds.count(round) == 6)
        } task: { (_, round, _) async throws(KernelError) in
            rounds.arrive(round)
            if try await barrier.wait() { lasts.arrive(round) }
            #expect(rounds.count(round) == 6)
        }
        for round in 0..<200 { #expect(lasts.count(round) == 1) }
        #expect(barrier.arrived == 0)
    }

    @Test(arguments: Stress.seeds) func latch(seed: UInt64) async throws {
        let (latches, rounds) = ((0..<200).map { _ in CountdownLatch(6) }, Rounds(200))
        try await Stress(seed: seed).run { (_, round, generator) throws(KernelError) in
            rounds.arrive(round)
            try latches[round].countDown()
            if generator.below(2) == 0 {
                try latches[round].wait()
                #expect(rounds.count(round) == 6)
            }
        } task: { (_, round, generator) async throws(KernelError) in
            rounds.arrive(round)
            try latches[round].countDown()
            if generator.below(2) == 0 {
                try await latches[round].wait(.seconds(30))
                #expect(rounds.count(round) == 6)
            }
        }
        for latch in latches { #expect(latch.count == 0 && latch.waiting == 0) }
    }

    @Test(arguments: Stress.seeds) func completion(seed: UInt64) async throws {
        let (completions, rounds) = ((0..<200).map { _ in Completion() }, Rounds(200))
        try await Stress(seed: seed).run { (number, round, _) throws(KernelError) in
            if round % 6 == number {
                rounds.arrive(round)
                try completions[round].post()
            }
            try completions[round].wait()
            #expect(rounds.count(round) == 1)
        } task: { (number, round, generator) async throws(KernelError) in
            if round % 6 == number {
                rounds.arrive(round)
                try completions[round].post()
            }
            do throws(KernelError) { try await completions[round].wait(generator.impatientWait()) } catch {
                guard error == .timedOut || error == .wouldBlock else { throw error }
                try await completions[round].wait()
            }
            #expect(rounds.count(round) == 1)
        }
        for completion in completions { #expect(completion.waiting == 0) }
    }

    /// A ball for each neighbour: whoever gets his passes it on, and all are set and cleared in one word.
    @Test(arguments: Stress.seeds) func eventFlags(seed: UInt64) async throws {
        let (flags, rounds) = (EventFlags(0b1), Rounds(200))
        try await Stress(seed: seed).run { (number, round, generator) throws(KernelError) in
            let wait = generator.below(2) == 0 ? Wait.forever : .seconds(30)
            let matched = try flags.wait(for: 1 << UInt32(number), .all, wait)
            #expect(matched == 1 << UInt32(number) && rounds.count(round) == number)
            rounds.arrive(round)
            try flags.clear(1 << UInt32(number))
            try flags.set(1 << UInt32((number + 1) % 6))
        } task: { (number, round, generator) async throws(KernelError) in
            let wait = generator.below(2) == 0 ? Wait.forever : .seconds(30)
            let matched = try await flags.wait(for: 1 << UInt32(number), .any, wait)
            #expect(matched == 1 << UInt32(number) && rounds.count(round) == number)
            rounds.arrive(round)
            try flags.clear(1 << UInt32(number))
            try flags.set(1 << UInt32((number + 1) % 6))
        }
        #expect(flags.current == 1 && flags.waiting == 0)
    }

    /// An object that is destroyed while threads and tasks wait for it, grant it and give up: all of them are told.
    @Test(arguments: Waiting.Kind.allCases, Stress.seeds)
    func destroying(kind: Waiting.Kind, seed: UInt64) async throws {
        // Of these, what one finds is what the others left.
        guard kind != .place && kind != .barrier && kind != .block else { return }
        let waiting = kind.make()
        let object = waiting.object
        let (started, wantsEnd) = (CountdownLatch(6), Guarded(false))
        @Sendable func isOver(_ error: KernelError) -> Bool {
            if error == .destroyed { return true }
            #expect([.wouldBlock, .timedOut, .overflow, .notOwner].contains(error))
            return false
        }
        async let load: Void = Stress(seed: seed, rounds: 1).run { (_, _, generator) throws(KernelError) in
            try started.countDown()
            while true {
                do throws(KernelError) {
                    if generator.below(2) == 0 { try waiting.grant() }
                    try waiting.block(generator.impatientWait())
                } catch { if isOver(error) { return } }
                if wantsEnd.withLock({ $0 }) { #expect(object.isDestroyed) }
            }
        } task: { (_, _, generator) async throws(KernelError) in
            try started.countDown()
            while true {
                do throws(KernelError) {
                    if generator.below(2) == 0 { try waiting.grant() }
                    try await waiting.wait(generator.below(4) == 0 ? .forever : generator.impatientWait())
                } catch { if isOver(error) { return } }
                await Task.yield()
            }
        }
        try await started.wait()
        try await Task.sleep(for: .milliseconds(Int(seed % 5)))
        object.destroy()
        wantsEnd.withLock { $0 = true }
        try await load
        #expect(object.waiting == 0)
    }
}
