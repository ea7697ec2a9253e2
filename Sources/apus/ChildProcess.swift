internal import CLinux
internal import Kernel

/// A child process whose standard input we write and whose standard output we read, line by line.
final class ChildProcess: Sendable {
    private let processID: pid_t
    private let input: Int32
    private let hasEnded = Guarded(false)
    /// The lines of its output; the stream ends with the output.
    let lines: AsyncStream<String>

    /// Starts `arguments[0]`, found on the path. The child ends when this process does.
    init(_ arguments: [String]) throws(Failure) {
        var toChild: [Int32] = [0, 0]
        var fromChild: [Int32] = [0, 0]
        guard pipe(&toChild) == 0, pipe(&fromChild) == 0 else { throw Failure("no pipes are left") }
        for descriptor in toChild + fromChild { _ = clinux_set_close_on_exec(descriptor) }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        posix_spawn_file_actions_adddup2(&actions, toChild[0], 0)
        posix_spawn_file_actions_adddup2(&actions, fromChild[1], 1)
        for descriptor in toChild + fromChild { posix_spawn_file_actions_addclose(&actions, descriptor) }
        defer { posix_spawn_file_actions_destroy(&actions) }
        // setpriv has the kernel end the child with us, even if we are killed.
        let command = ["setpriv", "--pdeathsig", "KILL", "--"] + arguments
        var pointers: [UnsafeMutablePointer<CChar>?] = command.map { strdup($0) }
        pointers.append(nil)
        defer { for pointer in pointers { free(pointer) } }
        var processID: pid_t = 0
        let result = posix_spawnp(&processID, "setpriv", &actions, nil, pointers, clinux_environment())
        close(toChild[0])
        close(fromChild[1])
        guard result == 0 else {
            close(toChild[1])
            close(fromChild[0])
            throw Failure("cannot start \(arguments[0]): \(String(cString: strerror(result)))")
        }
        self.processID = processID
        input = toChild[1]
        let (stream, continuation) = AsyncStream.makeStream(of: String.self)
        lines = stream
        Self.read(fromChild[0], into: continuation)
    }

    deinit { stop() }

    /// Writes `text` to the child's standard input.
    func write(_ text: String) {
        let bytes = Array(text.utf8)
        _ = CLinux.write(input, bytes, bytes.count)
    }

    /// Ends the child.
    func stop() {
        let mustEnd = hasEnded.withLock { ended in
            defer { ended = true }
            return !ended
        }
        guard mustEnd else { return }
        kill(processID, SIGKILL)
        var status: Int32 = 0
        waitpid(processID, &status, 0)
        close(input)
    }

    private final class Reader: Sendable {
        let descriptor: Int32
        let continuation: AsyncStream<String>.Continuation
        init(_ descriptor: Int32, _ continuation: AsyncStream<String>.Continuation) {
            self.descriptor = descriptor
            self.continuation = continuation
        }

        func run() {
            var rest: [UInt8] = []
            var chunk = [UInt8](repeating: 0, count: 4_096)
            while true {
                let count = CLinux.read(descriptor, &chunk, chunk.count)
                guard count > 0 else { break }
                rest += chunk[..<count]
                while let end = rest.firstIndex(of: 0x0A) {
                    continuation.yield(String(decoding: rest[..<end].filter { $0 != 0x0D }, as: UTF8.self))
                    rest.removeFirst(end + 1)
                }
            }
            continuation.finish()
            close(descriptor)
        }
    }

    private static func read(_ descriptor: Int32, into continuation: AsyncStream<String>.Continuation) {
        let argument = Unmanaged.passRetained(Reader(descriptor, continuation)).toOpaque()
        var thread = pthread_t()
        pthread_create(
            &thread,
            nil,
            { argument in
                if let argument { Unmanaged<Reader>.fromOpaque(argument).takeRetainedValue().run() }
                return nil
            },
            argument
        )
        pthread_detach(thread)
    }
}
