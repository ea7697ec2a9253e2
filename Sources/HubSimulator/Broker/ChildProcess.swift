internal import CLinux
internal import Kernel

/// A program that was started by this one.
final class ChildProcess: Sendable {
    /// Its number.
    let processID: pid_t
    /// Its exit status once it has ended: 128 + N after signal N, as shells have it.
    private let ended = Guarded<Int32?>(nil)

    /// Starts a program in a process group of its own, so that a Ctrl-C at the terminal reaches only us. Of our environment it gets `PATH`, besides `environment`.
    /// What it prints replaces the file `outputPath`.
    init(
        _ path: String,
        arguments: [String],
        environment: [String] = [],
        outputPath: String
    ) throws(HubSimulatorError) {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_addopen(&actions, 1, outputPath, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
        posix_spawn_file_actions_adddup2(&actions, 1, 2)
        posix_spawn_file_actions_addclosefrom_np(&actions, 3)

        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var signals = sigset_t()
        sigemptyset(&signals)
        posix_spawnattr_setsigmask(&attributes, &signals)
        sigfillset(&signals)
        posix_spawnattr_setsigdefault(&attributes, &signals)
        posix_spawnattr_setpgroup(&attributes, 0)
        posix_spawnattr_setflags(
            &attributes,
            Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP)
        )

        let path = path
        let pathVariable = environmentValue("PATH") ?? "/usr/local/bin:/usr/bin:/bin"
        let argumentPointers = ([path] + arguments).map { strdup($0) }
        let environmentPointers = (["PATH=\(pathVariable)", "LC_ALL=C"] + environment).map { strdup($0) }
        defer { (argumentPointers + environmentPointers).forEach { free($0) } }
        var processID: pid_t = 0
        let code = posix_spawn(
            &processID,
            path,
            &actions,
            &attributes,
            argumentPointers + [nil],
            environmentPointers + [nil]
        )
        guard code == 0 else { throw .cannotStart(path, code: code) }
        self.processID = processID
    }

    /// The exit status, or `nil` while the program runs.
    var exitStatus: Int32? {
        ended.withLock { ended in
            if ended == nil {
                var status: Int32 = 0
                if waitpid(processID, &status, WNOHANG) != 0 { ended = Self.exitStatus(status) }
            }
            return ended
        }
    }

    /// Waits for the end.
    func wait() -> Int32 {
        ended.withLock { ended in
            if let ended { return ended }
            var status: Int32 = 0
            while waitpid(processID, &status, 0) < 0 && clinux_errno() == EINTR {}
            let result = Self.exitStatus(status)
            ended = result
            return result
        }
    }

    /// Asks the program to end, and ends it when `patience` has passed.
    func stop(patience: Duration = .seconds(5)) {
        guard exitStatus == nil else { return }
        kill(processID, SIGTERM)
        guard !waitUntil(timeout: patience, { exitStatus != nil }) else { return }
        kill(processID, SIGKILL)
        _ = wait()
    }

    private static func exitStatus(_ status: Int32) -> Int32 {
        let signal = status & 0x7F
        return signal == 0 ? status >> 8 & 0xFF : 128 + signal
    }
}

/// The path of a program in `PATH` or in the directories where daemons are, or `nil`.
func findProgram(_ name: String) -> String? {
    let directories = (environmentValue("PATH") ?? "").split(separator: ":").map(String.init)
    return (directories + ["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin"])
        .map { "\($0)/\(name)" }
        .first { access($0, X_OK) == 0 }
}
