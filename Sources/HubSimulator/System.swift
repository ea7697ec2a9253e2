internal import CLinux

/// The system's words for an `errno`.
func errorText(_ code: Int32) -> String { String(cString: strerror(code)) }

/// Reads a whole file.
func readFile(_ path: String) throws(HubSimulatorError) -> [UInt8] {
    let file = clinux_open(path, O_RDONLY | O_CLOEXEC, 0)
    guard file >= 0 else { throw .file(path, code: clinux_errno()) }
    defer { close(file) }
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 16_384)
    while true {
        let count = read(file, &buffer, buffer.count)
        guard count >= 0 else { throw .file(path, code: clinux_errno()) }
        guard count > 0 else { return bytes }
        bytes += buffer[..<count]
    }
}

/// Replaces a file in one step; only its owner can read it.
func replaceFile(_ path: String, with bytes: [UInt8]) throws(HubSimulatorError) {
    let temporary = "\(path).\(getpid()).new"
    unlink(temporary)
    let file = clinux_open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
    guard file >= 0 else { throw .file(temporary, code: clinux_errno()) }
    let written = write(file, bytes, bytes.count)
    let code = clinux_errno()
    close(file)
    guard written == bytes.count, rename(temporary, path) == 0 else {
        unlink(temporary)
        throw .file(path, code: written < 0 ? code : clinux_errno())
    }
}

/// Makes a directory, and those above it, for its owner only.
func makeDirectory(_ path: String) throws(HubSimulatorError) {
    guard mkdir(path, 0o700) != 0 else { return }
    switch clinux_errno() {
    case EEXIST: return
    case ENOENT:
        guard let slash = path.lastIndex(of: "/"), slash != path.startIndex else { throw .file(path, code: ENOENT) }
        try makeDirectory(String(path[..<slash]))
        guard mkdir(path, 0o700) == 0 || clinux_errno() == EEXIST else { throw .file(path, code: clinux_errno()) }
    case let code: throw .file(path, code: code)
    }
}

/// The path with the working directory before it if it was relative.
func absolutePath(_ path: String) -> String {
    guard !path.hasPrefix("/"), let directory = getcwd(nil, 0) else { return path }
    defer { free(directory) }
    return String(cString: directory) + "/" + path
}

/// The value of an environment variable that is not empty.
func environmentValue(_ name: String) -> String? {
    guard let value = getenv(name), value.pointee != 0 else { return nil }
    return String(cString: value)
}

/// `count` characters of 0-9 and a-f that nobody can guess.
func randomHex(_ count: Int) -> String {
    var generator = SystemRandomNumberGenerator()
    return String((0..<count).map { _ in "0123456789abcdef".randomElement(using: &generator) ?? "0" })
}

/// Asks every few milliseconds whether `condition` holds; returns false when `timeout` has passed.
func waitUntil(timeout: Duration, _ condition: () -> Bool) -> Bool {
    let deadline = clinux_monotonic_ns() + timeout.nanoseconds
    while !condition() {
        guard clinux_monotonic_ns() < deadline else { return false }
        usleep(3000)
    }
    return true
}

extension Duration {
    var nanoseconds: Int64 { components.seconds * 1_000_000_000 + components.attoseconds / 1_000_000_000 }
}
