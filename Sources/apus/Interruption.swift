internal import CLinux
internal import Synchronization

/// Whether the user wants the program to end.
enum Interruption {
    private static let flag = Atomic<Bool>(false)

    /// Whether SIGINT or SIGTERM has come.
    static var hasCome: Bool { flag.load(ordering: .relaxed) }

    /// Notes SIGINT and SIGTERM instead of ending at once. A second one ends the program.
    static func watch() {
        for number in [SIGINT, SIGTERM] {
            signal(number) { number in
                if Interruption.flag.exchange(true, ordering: .relaxed) { _exit(128 + number) }
            }
        }
    }
}
