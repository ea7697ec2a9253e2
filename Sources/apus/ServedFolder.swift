internal import CLinux
internal import CoAPClient
internal import Glibc

/// A folder whose files are served. No path leads out of it: each segment is looked up in the folder before, and no link is followed. Names that begin with a dot are not
/// served.
struct ServedFolder: Sendable {
    /// What is at a path.
    enum Entry {
        case file(OpenFile)
        case folder(OpenFile)
    }

    /// A file or a folder that is open; it is closed with the last reference.
    final class OpenFile: Sendable {
        let descriptor: Int32
        let byteCount: Int
        /// Another after each change.
        let eTag: [UInt8]
        fileprivate let kind: mode_t

        fileprivate init?(_ descriptor: Int32) {
            guard descriptor >= 0 else { return nil }
            self.descriptor = descriptor
            var status = stat()
            guard fstat(descriptor, &status) == 0 else {
                close(descriptor)
                return nil
            }
            byteCount = Int(status.st_size)
            kind = status.st_mode & S_IFMT
            let parts = [
                UInt64(status.st_ino), UInt64(status.st_size), UInt64(status.st_mtim.tv_sec),
                UInt64(status.st_mtim.tv_nsec),
            ]
            eTag = ServedFolder.eTag(parts)
        }

        deinit { close(descriptor) }

        /// The bytes in a range; fewer if the file has become shorter.
        func read(_ range: Range<Int>) -> [UInt8] {
            [UInt8](unsafeUninitializedCapacity: range.count) { buffer, count in
                while count < range.count {
                    let more = pread(
                        descriptor,
                        buffer.baseAddress.map { $0 + count },
                        range.count - count,
                        off_t(range.lowerBound + count)
                    )
                    guard more > 0 else { break }
                    count += more
                }
            }
        }
    }

    private let root: OpenFile
    /// How many entries of a folder are listed.
    private static let entryLimit = 10_000

    /// The folder at `path`, which may be a link itself.
    init(_ path: String) throws(Failure) {
        guard let root = OpenFile(clinux_open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0)) else {
            throw Failure("cannot serve \(path): \(String(cString: strerror(clinux_errno())))")
        }
        self.root = root
    }

    // MARK: Reading

    /// What is at a path; `nil` for nothing, or what is neither a file nor a folder.
    func entry(_ path: [[UInt8]]) -> Entry? {
        guard let last = path.last else { return reopened(root).map { .folder($0) } }
        // Not blocking: a pipe would wait for its other end.
        guard let folder = folder(path.dropLast()),
            let file = open(last, in: folder, O_RDONLY | O_NONBLOCK)
        else { return nil }
        switch file.kind {
        case S_IFREG: return .file(file)
        case S_IFDIR: return .folder(file)
        default: return nil
        }
    }

    /// The ETag of what is at a path; `nil` for nothing.
    func eTag(_ path: [[UInt8]]) -> [UInt8]? {
        switch entry(path) {
        case .file(let file), .folder(let file): file.eTag
        case nil: nil
        }
    }

    /// The names in a folder, in order, and whether they are those of folders.
    func names(_ folder: OpenFile) -> [(name: [UInt8], isFolder: Bool, byteCount: Int)] {
        let descriptor = clinux_open_at(folder.descriptor, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0)
        guard descriptor >= 0, let stream = fdopendir(descriptor) else { return [] }
        defer { closedir(stream) }
        var names: [(name: [UInt8], isFolder: Bool, byteCount: Int)] = []
        while names.count < Self.entryLimit, let entry = readdir(stream) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { Array($0.prefix { $0 != 0 }) }
            guard Self.isServed(name), let status = status(name, in: folder) else { continue }
            let kind = status.st_mode & S_IFMT
            if kind == S_IFREG || kind == S_IFDIR { names.append((name, kind == S_IFDIR, Int(status.st_size))) }
        }
        return names.sorted { $0.name.lexicographicallyPrecedes($1.name) }
    }

    private func folder(_ path: ArraySlice<[UInt8]>) -> OpenFile? {
        var folder = root
        for name in path {
            guard let next = open(name, in: folder, O_RDONLY | O_DIRECTORY) else { return nil }
            folder = next
        }
        return folder
    }

    /// The same folder, read from its beginning.
    private func reopened(_ folder: OpenFile) -> OpenFile? {
        OpenFile(clinux_open_at(folder.descriptor, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0))
    }

    private func open(_ name: [UInt8], in folder: OpenFile, _ flags: Int32) -> OpenFile? {
        guard Self.isServed(name) else { return nil }
        return OpenFile(
            withPath(name) { clinux_open_at(folder.descriptor, $0, flags | O_NOFOLLOW | O_CLOEXEC, 0) }
        )
    }

    /// What an entry of a folder is: a link itself, not what it leads to.
    private func status(_ name: [UInt8], in folder: OpenFile) -> stat? {
        var status = stat()
        return withPath(name) { fstatat(folder.descriptor, $0, &status, AT_SYMLINK_NOFOLLOW) } == 0 ? status : nil
    }

    private static func isServed(_ name: [UInt8]) -> Bool {
        !name.isEmpty && name.first != UInt8(ascii: ".") && !name.contains(0) && !name.contains(UInt8(ascii: "/"))
    }

    // MARK: Writing

    /// Replaces a file, or makes one; a reader sees the old one or the new one. Returns whether it is new.
    func write(_ bytes: [UInt8], to path: [[UInt8]]) -> Result<Bool, CoAPRefusal> {
        guard let name = path.last, Self.isServed(name) else { return .failure(CoAPRefusal(.forbidden)) }
        guard let folder = folder(path.dropLast()) else { return .failure(CoAPRefusal(.conflict)) }
        let old = status(name, in: folder)
        if let old, old.st_mode & S_IFMT != S_IFREG { return .failure(CoAPRefusal(.methodNotAllowed)) }
        let draft = Array(".apus-\(UInt64.random(in: 0...UInt64.max))".utf8)
        let descriptor = withPath(draft) {
            clinux_open_at(folder.descriptor, $0, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o644)
        }
        guard descriptor >= 0 else { return .failure(CoAPRefusal(errno: clinux_errno())) }
        var rest = bytes[...]
        var failure: Int32 = 0
        while !rest.isEmpty, failure == 0 {
            let count = rest.withUnsafeBytes { CLinux.write(descriptor, $0.baseAddress, $0.count) }
            if count < 0 { failure = clinux_errno() } else { rest = rest.dropFirst(count) }
        }
        if close(descriptor) != 0, failure == 0 { failure = clinux_errno() }
        if failure == 0, withPath(draft, name, { renameat(folder.descriptor, $0, folder.descriptor, $1) }) != 0 {
            failure = clinux_errno()
        }
        guard failure == 0 else {
            _ = withPath(draft) { unlinkat(folder.descriptor, $0, 0) }
            return .failure(CoAPRefusal(errno: failure))
        }
        return .success(old == nil)
    }

    /// Deletes a file; what is not there counts as deleted (RFC 7252, 5.8.4).
    func delete(_ path: [[UInt8]]) -> Result<Void, CoAPRefusal> {
        guard let name = path.last, Self.isServed(name) else { return .failure(CoAPRefusal(.forbidden)) }
        guard let folder = folder(path.dropLast()), let old = status(name, in: folder) else { return .success(()) }
        guard old.st_mode & S_IFMT == S_IFREG else { return .failure(CoAPRefusal(.methodNotAllowed)) }
        guard withPath(name, { unlinkat(folder.descriptor, $0, 0) }) == 0 else {
            return .failure(CoAPRefusal(errno: clinux_errno()))
        }
        return .success(())
    }

    // MARK: Helpers

    private func withPath<Result>(_ name: [UInt8], _ body: (UnsafePointer<CChar>) -> Result) -> Result {
        (name + [0]).withUnsafeBufferPointer { buffer in
            buffer.withMemoryRebound(to: CChar.self) { body($0.baseAddress.unsafelyUnwrapped) }
        }
    }

    private func withPath(
        _ a: [UInt8],
        _ b: [UInt8],
        _ body: (UnsafePointer<CChar>, UnsafePointer<CChar>) -> Int32
    ) -> Int32 {
        withPath(a) { a in withPath(b) { b in body(a, b) } }
    }

    /// Eight bytes that depend on all of `parts` (FNV-1a).
    private static func eTag(_ parts: [UInt64]) -> [UInt8] {
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325
        for part in parts {
            for shift in stride(from: 0, to: 64, by: 8) {
                hash = (hash ^ (part >> UInt64(shift) & 0xFF)) &* 0x100_0000_01B3
            }
        }
        return stride(from: 56, through: 0, by: -8).map { UInt8(truncatingIfNeeded: hash >> UInt64($0)) }
    }
}

/// Why a file was not written or deleted, as a response code.
struct CoAPRefusal: Error {
    let code: CoAPCode
    init(_ code: CoAPCode) { self.code = code }

    /// What the system said.
    init(errno: Int32) {
        switch errno {
        case EACCES, EPERM, EROFS: code = .forbidden
        case ENOSPC, EDQUOT, EFBIG: code = .requestEntityTooLarge
        case ENAMETOOLONG: code = .badRequest
        default: code = .internalServerError
        }
    }
}
