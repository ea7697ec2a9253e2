/// Where a context's sequence numbers outlive the process: a file, a page of flash memory (RFC 8613, 7.5.1).
///
/// What is kept is the end of the numbers that may have been used. A context moves it ahead, by a step of many numbers, before it uses the first one of them; when it
/// starts it goes on there. So no number is used twice, whenever the power fails, and the memory is written once in many messages; a restart costs
/// what is left of a step. Two contexts must never have the same keys and different stores.
public protocol OSCORESequenceStore: AnyObject, Sendable {
    /// The end that was kept last; 0 if there never was one. If there was one and it cannot be read, the error is the only right answer.
    func load() throws(OSCOREStoreError) -> UInt64

    /// Keeps `end`, which is higher than any before. It returns when ``load()`` delivers it after a power cut too.
    func save(_ end: UInt64) throws(OSCOREStoreError)
}

/// A store has failed.
public struct OSCOREStoreError: Error, Equatable, Sendable {
    /// What the system, or the driver of the memory, calls the error.
    public let code: Int32

    /// An error with the number that the system gives it.
    public init(code: Int32) { self.code = code }
}

/// A store that forgets: for contexts whose keys are no older than the process, and end with it.
public final class OSCOREVolatileSequence: OSCORESequenceStore {
    /// A store for one context.
    public init() {}

    /// Zero: the context is new.
    public func load() -> UInt64 { 0 }

    /// Does nothing.
    public func save(_ end: UInt64) {}
}

/// The numbers that a context sends with.
struct OSCORESequence: Sendable {
    private let store: any OSCORESequenceStore
    private let step: UInt64
    private(set) var next: UInt64
    /// The end of what may be used without asking the store.
    private var end: UInt64

    init(_ store: any OSCORESequenceStore, step: UInt64) throws(OSCOREError) {
        self.store = store
        self.step = max(step, 1)
        do throws(OSCOREStoreError) { next = try store.load() } catch { throw .sequenceStore(error) }
        end = next
    }

    /// A number that was never taken before.
    mutating func take() throws(OSCOREError) -> UInt64 {
        guard next <= OSCOREContext.lastSequenceNumber else { throw .sequenceNumbersExhausted }
        if next >= end {
            let newEnd = min(next + min(step, OSCOREContext.lastSequenceNumber), OSCOREContext.lastSequenceNumber + 1)
            do throws(OSCOREStoreError) { try store.save(newEnd) } catch { throw .sequenceStore(error) }
            end = newEnd
        }
        defer { next += 1 }
        return next
    }
}
