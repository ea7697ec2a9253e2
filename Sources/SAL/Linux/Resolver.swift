#if os(Linux)
internal import CLinux
internal import Kernel

/// Resolves names with the system's resolver on threads of its own, so that no loop ever waits for it.
///
/// At most ``maximumThreads`` look-ups run at once; further ones wait in line. A thread ends when the line is empty.
final class Resolver: Sendable {
    static let shared = Resolver(lookUp: systemAddresses)
    private static let maximumThreads = 4

    private struct Lookup: Sendable {
        let endpoint: Endpoint
        let loop: EventLoop
        let answer: @Sendable ([SocketAddress]) -> Void
    }

    private struct State {
        var waiting: [Lookup] = []
        var threads = 0
    }

    private let state = Guarded(State())
    private let lookUp: @Sendable (Endpoint) -> [SocketAddress]

    /// A resolver that asks `lookUp`, which may wait.
    init(lookUp: @escaping @Sendable (Endpoint) -> [SocketAddress]) { self.lookUp = lookUp }

    /// Looks up the addresses of `endpoint`, and calls `answer` with them, best first, on `loop`. None: the name
    /// has no address.
    func resolve(_ endpoint: Endpoint, on loop: EventLoop, answer: @escaping @Sendable ([SocketAddress]) -> Void) {
        let needsThread = state.withLock { state in
            state.waiting.append(Lookup(endpoint: endpoint, loop: loop, answer: answer))
            guard state.threads < Self.maximumThreads else { return false }
            state.threads += 1
            return true
        }
        if needsThread { startThread() }
    }

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
        if result != 0 {
            unsafe Unmanaged<Resolver>.fromOpaque(argument).release()
            // Without a thread the look-ups fail, as if no name had an address.
            let lookups = state.withLock { state in
                state.threads -= 1
                guard state.threads == 0 else { return [] as [Lookup] }
                defer { state.waiting = [] }
                return state.waiting
            }
            for lookup in lookups { lookup.loop.execute { lookup.answer([]) } }
        }
    }

    private func work() {
        while true {
            let next: Lookup? = state.withLock { state in
                guard !state.waiting.isEmpty else {
                    state.threads -= 1
                    return nil
                }
                return state.waiting.removeFirst()
            }
            guard let next else { return }
            let addresses = lookUp(next.endpoint)
            next.loop.execute { next.answer(addresses) }
        }
    }

    /// What the system's resolver says.
    @Sendable private static func systemAddresses(_ endpoint: Endpoint) -> [SocketAddress] {
        guard !endpoint.host.contains(0) else { return [] }
        var hints = unsafe addrinfo()
        unsafe hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        unsafe hints.ai_flags = AI_ADDRCONFIG
        var list: UnsafeMutablePointer<addrinfo>?
        let name = String(decoding: endpoint.host, as: UTF8.self)
        guard unsafe getaddrinfo(name, String(endpoint.port), &hints, &list) == 0 else { return [] }
        defer { unsafe freeaddrinfo(list) }
        var addresses: [SocketAddress] = []
        var entry = unsafe list
        while let current = unsafe entry {
            if let raw = unsafe current.pointee.ai_addr, let address = unsafe SystemAddress(raw)?.address,
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
