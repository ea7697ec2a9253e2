#if os(Linux)
internal import CLinux
public import Kernel

/// Resolves names with the system's resolver on threads of its own, so that no loop ever waits for it.
///
/// At most ``maximumThreads`` look-ups run at once; further ones wait in line until their deadline. Several for one name are one. Answers are
/// remembered for a time, since the system's resolver does not tell how long they hold.
public final class Resolver: Sendable {
    /// The resolver of the whole process.
    public static let shared = Resolver()
    /// How many look-ups run at once. A thread ends when the line is empty.
    public static let maximumThreads = 4
    /// How many names are remembered.
    public static let maximumNames = 256

    private struct Request: Sendable {
        let deadline: Duration
        let loop: EventLoop
        let answer: @Sendable ([IPAddress]) -> Void

        func reply(_ addresses: [IPAddress]) {
            let answer = self.answer
            loop.execute { answer(addresses) }
        }
    }

    private struct Answer: Sendable {
        let addresses: [IPAddress]
        let expires: Duration
    }

    private struct State {
        /// Who waits for the name, in line or being looked up.
        var requests: [[UInt8]: [Request]] = [:]
        var line: [[UInt8]] = []
        var answers: [[UInt8]: Answer] = [:]
        var threads = 0
    }

    private let state = Guarded(State())
    private let found: Duration
    private let notFound: Duration
    private let lookUp: @Sendable (_ host: [UInt8]) -> [IPAddress]

    /// A resolver that remembers addresses for `rememberingFor`, and for `rememberingFailuresFor` that a name has none; zero for not at all. It asks
    /// `lookUp`, which may wait, and which the system's resolver is if there is none; the best address is to come first.
    public init(
        rememberingFor found: Duration = .seconds(30),
        rememberingFailuresFor notFound: Duration = .seconds(1),
        lookUp: (@Sendable (_ host: [UInt8]) -> [IPAddress])? = nil
    ) {
        self.found = found
        self.notFound = notFound
        self.lookUp = lookUp ?? Self.systemAddresses
    }

    /// Looks up the addresses of `host`, and calls `answer` with them, best first, on `loop`, unless the deadline passes before. None: the
    /// name has no address.
    public func resolve(
        _ host: [UInt8],
        deadline: Duration,
        on loop: EventLoop,
        answer: @escaping @Sendable ([IPAddress]) -> Void
    ) {
        let request = Request(deadline: deadline, loop: loop, answer: answer)
        let (known, needsThread): ([IPAddress]?, Bool) = state.withLock { state in
            if let answer = state.answers[host] {
                if answer.expires > KernelClock.now { return (answer.addresses, false) }
                state.answers[host] = nil
            }
            if state.requests[host] != nil {
                state.requests[host]?.append(request)
                return (nil, false)
            }
            state.requests[host] = [request]
            state.line.append(host)
            guard state.threads < Self.maximumThreads else { return (nil, false) }
            state.threads += 1
            return (nil, true)
        }
        if let known { request.reply(known) }
        if needsThread { startThread() }
    }

    /// Forgets all answers: the machine has come to another network.
    public func forget() { state.withLock { $0.answers = [:] } }

    /// How many names it remembers.
    var rememberedNames: Int { state.withLock { $0.answers.count } }

    private func startThread() {
        var thread = pthread_t()
        let argument = unsafe Unmanaged.passRetained(self).toOpaque()
        let result = unsafe pthread_create(
            &thread,
            nil,
            { argument in
                pthread_detach(pthread_self())
                if let argument = unsafe argument {
                    unsafe Unmanaged<Resolver>.fromOpaque(argument).takeRetainedValue().work()
                }
                return nil
            },
            argument
        )
        guard result != 0 else { return }
        unsafe Unmanaged<Resolver>.fromOpaque(argument).release()
        // Without a thread the look-ups fail, as if no name had an address.
        let requests = state.withLock { state in
            state.threads -= 1
            guard state.threads == 0 else { return [] as [Request] }
            defer {
                state.requests = [:]
                state.line = []
            }
            return state.requests.values.flatMap { $0 }
        }
        for request in requests { request.reply([]) }
    }

    private func work() {
        while let host = next() {
            let addresses = lookUp(host)
            let now = KernelClock.now
            let requests = state.withLock { state in
                let time = addresses.isEmpty ? notFound : found
                if time > .zero {
                    Self.makeRoom(&state.answers, now)
                    state.answers[host] = Answer(addresses: addresses, expires: now + time)
                }
                return state.requests.removeValue(forKey: host) ?? []
            }
            for request in requests { request.reply(addresses) }
        }
    }

    /// The next name that somebody still waits for, or `nil`: then the thread is to end.
    private func next() -> [UInt8]? {
        state.withLock { state in
            let now = KernelClock.now
            while !state.line.isEmpty {
                let host = state.line.removeFirst()
                if state.requests[host]?.contains(where: { $0.deadline > now }) == true { return host }
                state.requests[host] = nil
            }
            state.threads -= 1
            return nil
        }
    }

    private static func makeRoom(_ answers: inout [[UInt8]: Answer], _ now: Duration) {
        guard answers.count >= maximumNames else { return }
        answers = answers.filter { $0.value.expires > now }
        if answers.count >= maximumNames, let first = answers.min(by: { $0.value.expires < $1.value.expires }) {
            answers[first.key] = nil
        }
    }

    /// What the system's resolver says, in the order of RFC 6724.
    @Sendable private static func systemAddresses(_ host: [UInt8]) -> [IPAddress] {
        guard !host.contains(0) else { return [] }
        var hints = unsafe addrinfo()
        unsafe hints.ai_socktype = clinux_stream_type() & 15
        unsafe hints.ai_flags = AI_ADDRCONFIG
        var list: UnsafeMutablePointer<addrinfo>?
        let name = String(decoding: host, as: UTF8.self)
        guard unsafe getaddrinfo(name, nil, &hints, &list) == 0 else { return [] }
        defer { unsafe freeaddrinfo(list) }
        var addresses: [IPAddress] = []
        var entry = unsafe list
        while let current = unsafe entry {
            if let raw = unsafe current.pointee.ai_addr, let address = unsafe SystemAddress(raw)?.address?.address,
                !addresses.contains(address)
            {
                addresses.append(address)
            }
            unsafe entry = current.pointee.ai_next
        }
        return addresses
    }
}
#endif
