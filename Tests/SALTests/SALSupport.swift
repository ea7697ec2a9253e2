import CLinux
import Kernel
import SAL

/// A value that a loop notes and a test reads. What orders the two may be a byte through the system, which the thread sanitizer does not see.
@propertyWrapper struct Noted<Value> {
    let projectedValue: Guarded<Value>
    var wrappedValue: Value {
        get { projectedValue.withLock { $0 } }
        nonmutating set { projectedValue.withLock { $0 = newValue } }
    }
    init(wrappedValue: Value) { projectedValue = Guarded(wrappedValue) }
}

/// A handler that keeps what it is told, takes at most `window` bytes, and can be waited for.
final class Probe: ByteStreamHandler, @unchecked Sendable {
    // @unchecked: what the test reads has locks of its own, the rest is used on the loop only.
    @Noted var received: [UInt8] = []
    @Noted var isOpen = false
    @Noted var isClosed = false
    @Noted var error: SocketError?
    @Noted var writableCount = 0
    @Noted var window = Int.max
    /// How often bytes were offered.
    @Noted var offers = 0
    /// What it does in the midst of taking.
    var onReceive: ((Probe) -> Void)?
    var onOpen: (() -> Void)?
    var onWritable: (() -> Void)?
    private var condition: (@Sendable (Probe) -> Bool)?
    private var waiter: CheckedContinuation<Void, Never>?
    /// What a continuation orders, the thread sanitizer does not see if it is resumed before its task waits; this it sees.
    private let order = Guarded(false)

    func opened() { isOpen = true; onOpen?(); check() }
    func received(_ bytes: Span<UInt8>) -> Int {
        let count = min(bytes.count, window)
        if window != .max { window -= count }
        $received.withLock { received in for index in 0..<count { received.append(bytes[index]) } }
        offers += 1
        onReceive?(self)
        check()
        return count
    }
    func writable() { writableCount += 1; onWritable?(); check() }
    func closed(_ error: SocketError?) {
        precondition(!isClosed, "closed comes once")
        isClosed = true
        self.error = error
        onOpen = nil
        onWritable = nil
        check()
    }
    private func check() {
        guard let waiter, condition?(self) ?? true else { return }
        self.waiter = nil
        condition = nil
        order.withLock { _ in }
        waiter.resume()
    }
    func wait(on loop: EventLoop, for condition: @escaping @Sendable (Probe) -> Bool) async {
        await withCheckedContinuation { continuation in
            loop.execute {
                self.condition = condition
                self.waiter = continuation
                self.check()
            }
        }
        order.withLock { _ in }
    }
}

/// A peer made of plain system calls: a listening socket on loopback.
final class Peer: Sendable {
    let listener: Int32
    let port: UInt16

    init(v6: Bool = false, backlog: Int32 = 128, receiveBytes: Int32? = nil) {
        let listener = socket(v6 ? AF_INET6 : AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        var storage = sockaddr_storage()
        var size = socklen_t(MemoryLayout<sockaddr_storage>.size)
        storage.ss_family = sa_family_t(v6 ? AF_INET6 : AF_INET)
        withUnsafeMutableBytes(of: &storage) { raw in
            if v6 {
                raw.storeBytes(of: in6addr_loopback, toByteOffset: 8, as: in6_addr.self)
            } else {
                raw.storeBytes(of: UInt32(0x7F00_0001).bigEndian, toByteOffset: 4, as: UInt32.self)
            }
        }
        _ = withUnsafePointer(to: &storage) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(
                    listener,
                    $0,
                    v6 ? socklen_t(MemoryLayout<sockaddr_in6>.size) : socklen_t(MemoryLayout<sockaddr_in>.size)
                )
            }
        }
        if var receiveBytes {
            setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &receiveBytes, socklen_t(MemoryLayout<Int32>.size))
        }
        listen(listener, backlog)
        _ = withUnsafeMutablePointer(to: &storage) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(listener, $0, &size) }
        }
        self.listener = listener
        port = withUnsafeBytes(of: &storage) { UInt16(bigEndian: $0.load(fromByteOffset: 2, as: UInt16.self)) }
    }
    deinit { close(listener) }

    /// Waits for a connection; blocks the calling thread, so it is called from a thread of its own.
    func accept() async -> Int32 {
        await onThread { CLinux.accept(self.listener, nil, nil) }
    }
}

/// Runs blocking work on a thread of its own.
func onThread<Value: Sendable>(_ body: @escaping @Sendable () -> Value) async -> Value {
    await withCheckedContinuation { continuation in
        let box = Unmanaged.passRetained(ThreadBody { continuation.resume(returning: body()) })
        var thread = pthread_t()
        pthread_create(
            &thread,
            nil,
            { argument in
                if let argument { Unmanaged<ThreadBody>.fromOpaque(argument).takeRetainedValue().body() }
                return nil
            },
            box.toOpaque()
        )
        pthread_detach(thread)
    }
}

private final class ThreadBody: Sendable {
    let body: @Sendable () -> Void
    init(_ body: @escaping @Sendable () -> Void) { self.body = body }
}

func readAll(_ descriptor: Int32, _ count: Int) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: count)
    var have = 0
    while have < count {
        let n = bytes.withUnsafeMutableBytes { read(descriptor, $0.baseAddress?.advanced(by: have), count - have) }
        guard n > 0 else { break }
        have += n
    }
    return Array(bytes[..<have])
}

func writeAll(_ descriptor: Int32, _ bytes: [UInt8]) {
    var sent = 0
    while sent < bytes.count {
        let n = bytes.withUnsafeBytes {
            send(descriptor, $0.baseAddress?.advanced(by: sent), bytes.count - sent, Int32(MSG_NOSIGNAL))
        }
        guard n > 0 else { return }
        sent += n
    }
}

/// Carries an object of a loop between the calls of a test that are made there.
struct LoopBox<Value>: @unchecked Sendable {
    let value: Value
    init(_ value: Value) { self.value = value }
}

/// How many bytes of the heap are in use, and how many file descriptors, when the loop has nothing to do.
func usage(_ loop: EventLoop) async -> (heap: Int, descriptors: Int) {
    for _ in 0..<3 { await loop.call {} }
    let info = mallinfo2()
    var status = stat()
    let descriptors = (0..<1_024).count { fstat($0, &status) == 0 }
    return (Int(info.uordblks) + Int(info.hblkhd), descriptors)
}

/// Holds back threads until it is opened.
final class Gate: Sendable {
    private let ends: (reading: Int32, writing: Int32)

    init() {
        var descriptors: [Int32] = [0, 0]
        pipe(&descriptors)
        ends = (descriptors[0], descriptors[1])
    }

    deinit { close(ends.reading) }

    func wait() {
        var byte: UInt8 = 0
        _ = read(ends.reading, &byte, 1)
    }

    func open() { close(ends.writing) }
}
