#if os(Linux)
internal import CLinux

/// A store of sequence numbers in a file, which is replaced as a whole and is on the disk when a number is used.
///
/// While this object lives no other process, and no other object, can open the store: two contexts with one store would use the same numbers.
public final class OSCOREFileSequence: OSCORESequenceStore {
    private let path: String
    private let lock: Int32

    /// Opens the store at `path`, and beside it `path.lock`; neither need be there. The folder must be.
    ///
    /// The error's code is that of errno(3): `EWOULDBLOCK` if the store is in use.
    public init(path: String) throws(OSCOREStoreError) {
        self.path = path
        lock = try Self.check(unsafe clinux_open(path + ".lock", O_RDWR | O_CREAT | O_CLOEXEC, 0o600))
        guard flock(lock, LOCK_EX | LOCK_NB) == 0 else {
            let error = OSCOREStoreError(code: clinux_errno())
            close(lock)
            throw error
        }
    }

    deinit { close(lock) }

    /// The end in the file, 0 without one. A file with anything else in it is an error, of code `EINVAL`.
    public func load() throws(OSCOREStoreError) -> UInt64 {
        let file = unsafe clinux_open(path, O_RDONLY | O_CLOEXEC, 0)
        if file < 0 && clinux_errno() == ENOENT { return 0 }
        try Self.check(file)
        defer { close(file) }
        var bytes = [UInt8](repeating: 0, count: 32)
        let count = Int(try Self.check(Int32(unsafe read(file, &bytes, bytes.count))))
        // The line's end tells that all of the number is there.
        guard count > 1, bytes[count - 1] == UInt8(ascii: "\n") else { throw OSCOREStoreError(code: EINVAL) }
        guard bytes[..<(count - 1)].allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }),
            let end = UInt64(String(decoding: bytes[..<(count - 1)], as: UTF8.self))
        else { throw OSCOREStoreError(code: EINVAL) }
        return end
    }

    /// Replaces the file.
    public func save(_ end: UInt64) throws(OSCOREStoreError) {
        let new = path + ".new"
        let file = try Self.check(unsafe clinux_open(new, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600))
        do throws(OSCOREStoreError) {
            let bytes = Array("\(end)\n".utf8)
            guard try Self.check(Int32(unsafe write(file, bytes, bytes.count))) == bytes.count else {
                throw OSCOREStoreError(code: ENOSPC)
            }
            try Self.check(fsync(file))
        } catch {
            close(file)
            throw error
        }
        close(file)
        try Self.check(unsafe rename(new, path))
        // The new name is in the folder, which is to be on the disk too.
        let slash = path.lastIndex(of: "/")
        let folderPath = slash.map { String(path[...$0]) } ?? "."
        let folder = try Self.check(unsafe clinux_open(folderPath, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0))
        defer { close(folder) }
        try Self.check(fsync(folder))
    }

    @discardableResult
    private static func check(_ result: Int32) throws(OSCOREStoreError) -> Int32 {
        guard result >= 0 else { throw OSCOREStoreError(code: clinux_errno()) }
        return result
    }
}
#endif
