internal import CLinux
internal import Kernel

/// The standard input, read by a thread of its own, since a file cannot be waited for. Who takes it slowly holds it back.
final class StandardInput: Sendable {
    private let pieces = MessageQueue<[UInt8]?>(capacity: 2)
    private let task: KernelTask

    /// Reads it as it comes, up to `limit` bytes at once.
    convenience init(upTo limit: Int) throws {
        try self.init {
            let bytes = readChunk(STDIN_FILENO, limit)
            return bytes.isEmpty ? nil : bytes
        }
    }

    /// Reads it line by line.
    static func lines() throws -> StandardInput {
        let lines = Guarded(FileLines(STDIN_FILENO))
        return try StandardInput { lines.withLock { $0.next() } }
    }

    private init(_ read: @escaping @Sendable () -> [UInt8]?) throws {
        task = try KernelTask("standard input") { [pieces] in
            while true {
                let piece = read()
                do throws(KernelError) { try pieces.send(piece) } catch { return }
                if piece == nil { return }
            }
        }
    }

    /// The next piece; `nil` behind the last one, and when the task is cancelled. Not to be called again then.
    func next() async -> [UInt8]? {
        do throws(KernelError) { return try await pieces.receive() } catch { return nil }
    }
}
