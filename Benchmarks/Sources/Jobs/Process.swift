import Glibc

/// Programs that are started.
public enum Process {
    /// Starts a program.
    public static func spawn(_ command: [String], output: Int32?, errors: Int32? = nil) throws -> pid_t {
        var pid: pid_t = 0
        var arguments: [UnsafeMutablePointer<CChar>?] = command.map { strdup($0) }
        arguments.append(nil)
        defer { for argument in arguments { free(argument) } }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        if let output { posix_spawn_file_actions_adddup2(&actions, output, 1) }
        if let errors { posix_spawn_file_actions_adddup2(&actions, errors, 2) }
        // Under another program, /proc/self/exe would be that.
        var program = command[0]
        if program == "/proc/self/exe" || command.contains("/proc/self/exe") {
            var path = [CChar](repeating: 0, count: 4_096)
            let count = readlink("/proc/self/exe", &path, path.count)
            let exe = String(decoding: path[..<max(0, count)].map { UInt8(bitPattern: $0) }, as: UTF8.self)
            if let index = command.firstIndex(of: "/proc/self/exe") {
                free(arguments[index])
                arguments[index] = strdup(exe)
            }
            if program == "/proc/self/exe" { program = exe }
        }
        guard posix_spawnp(&pid, program, &actions, nil, &arguments, environ) == 0 else {
            throw BenchError("\(program) cannot be started")
        }
        return pid
    }

    /// What a program writes; `nil` if it fails.
    public static func output(_ command: [String], withErrors: Bool = false) -> String? {
        var ends: [Int32] = [0, 0]
        guard pipe(&ends) == 0 else { return nil }
        defer { close(ends[0]) }
        _ = fcntl(ends[0], F_SETFD, FD_CLOEXEC)
        let null = open("/dev/null", O_WRONLY)
        defer { close(null) }
        let pid = try? spawn(command, output: ends[1], errors: withErrors ? ends[1] : nil)
        close(ends[1])
        guard let pid else { return nil }
        var text: [UInt8] = []
        var piece = [UInt8](repeating: 0, count: 4_096)
        while true {
            let count = read(ends[0], &piece, piece.count)
            guard count > 0 else { break }
            text += piece[..<count]
        }
        var status: Int32 = 0
        waitpid(pid, &status, 0)
        return status == 0 ? String(decoding: text, as: UTF8.self) : nil
    }
}
