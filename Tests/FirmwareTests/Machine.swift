import CLinux
import Testing

/// A firmware image in QEMU, by the script that people use too. It ends with this, and by itself after 50 seconds.
final class Machine {
    private let processID: pid_t
    private let input: Int32
    private let output: Int32
    private var hasEnded = false
    /// What the image has printed so far.
    private(set) var text = ""

    /// Starts `image` with its second UART at `second`, in the words of the script; `isSteady` has its time not depend on the machine's load.
    init(_ image: String, second: String? = nil, isSteady: Bool = false) throws {
        let path = try Self.path(of: image)
        var toChild: [Int32] = [0, 0]
        var fromChild: [Int32] = [0, 0]
        try #require(pipe(&toChild) == 0 && pipe(&fromChild) == 0)
        for descriptor in toChild + fromChild { _ = clinux_set_close_on_exec(descriptor) }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_adddup2(&actions, toChild[0], 0)
        posix_spawn_file_actions_adddup2(&actions, fromChild[1], 1)
        posix_spawn_file_actions_adddup2(&actions, fromChild[1], 2)
        var arguments = [Self.root + "/scripts/firmware-run.sh", path, "--seconds", "50"]
        if isSteady { arguments.append("--steady") }
        if let second { arguments += ["--uart1", second] }
        // The threads of an event loop mask signals, and a program inherits that: QEMU could not be told to end.
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var noSignals = sigset_t()
        sigemptyset(&noSignals)
        posix_spawnattr_setsigmask(&attributes, &noSignals)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK))
        let pointers = arguments.map { strdup($0) } + [nil]
        defer { pointers.forEach { free($0) } }
        var processID: pid_t = 0
        let code = posix_spawn(&processID, arguments[0], &actions, &attributes, pointers, clinux_environment())
        close(toChild[0])
        close(fromChild[1])
        self.processID = processID
        input = toChild[1]
        output = fromChild[0]
        _ = clinux_set_nonblocking(output)
        hasEnded = code != 0
        try #require(code == 0, "cannot start \(arguments[0]): \(String(cString: strerror(code)))")
    }

    deinit {
        if !hasEnded {
            kill(processID, SIGTERM)
            _ = exitStatus()
        }
        close(input)
        close(output)
    }

    /// Types a line.
    func type(_ line: String) {
        let bytes = Array((line + "\n").utf8)
        _ = write(input, bytes, bytes.count)
    }

    /// Waits until the image has printed `wanted` behind what earlier calls have found; returns what came before it.
    @discardableResult
    func wait(for wanted: String, seconds: Int64 = 20) throws -> String {
        let deadline = clinux_monotonic_ns() + seconds * 1_000_000_000
        while true {
            if let range = Self.range(of: wanted, in: unseen) {
                defer { unseen = Array(unseen[range.upperBound...]) }
                return String(decoding: unseen[..<range.lowerBound], as: UTF8.self)
            }
            let isOpen = read(until: deadline)
            try #require(isOpen || Self.range(of: wanted, in: unseen) != nil, "no '\(wanted)' in: \(text)")
        }
    }

    /// Waits for the end of the image, and returns its status.
    func wait() -> Int32 {
        while read(until: clinux_monotonic_ns() + 60_000_000_000) {}
        return exitStatus()
    }

    private var unseen: [UInt8] = []

    /// Reads once; `false` at the end of what the image prints, or at the deadline.
    private func read(until deadline: Int64) -> Bool {
        var poller = pollfd(fd: output, events: Int16(POLLIN), revents: 0)
        let left = (deadline - clinux_monotonic_ns()) / 1_000_000
        guard left > 0, poll(&poller, 1, Int32(left)) > 0 else { return false }
        var buffer = [UInt8](repeating: 0, count: 4_096)
        let count = readSome(output, &buffer)
        guard count > 0 else { return false }
        unseen += buffer[..<count]
        text += String(decoding: buffer[..<count], as: UTF8.self)
        return true
    }

    private func exitStatus() -> Int32 {
        var status: Int32 = 0
        while waitpid(processID, &status, 0) < 0 && clinux_errno() == EINTR {}
        hasEnded = true
        return status & 0x7F == 0 ? status >> 8 & 0xFF : 128 + status & 0x7F
    }

    private static func range(of wanted: String, in bytes: [UInt8]) -> Range<Int>? {
        let wanted = Array(wanted.utf8)
        guard bytes.count >= wanted.count else { return nil }
        for start in 0...(bytes.count - wanted.count) where bytes[start..<(start + wanted.count)].elementsEqual(wanted)
        {
            return start..<(start + wanted.count)
        }
        return nil
    }

    private static let root = #filePath.split(separator: "/").dropLast(3).reduce("") { $0 + "/" + $1 }

    /// The ELF file of `image`: in `APUS_FIRMWARE_IMAGES`, or where `make firmware` leaves it.
    private static func path(of image: String) throws -> String {
        let folder = getenv("APUS_FIRMWARE_IMAGES").map { String(cString: $0) } ?? root + "/Firmware/.build/images"
        let path = "\(folder)/\(image).elf"
        try #require(access(path, R_OK) == 0, "\(path) is not built; build it with 'make firmware'")
        return path
    }
}

/// The system's `read`, whose name the class has taken.
private func readSome(_ descriptor: Int32, _ buffer: inout [UInt8]) -> Int { read(descriptor, &buffer, buffer.count) }
