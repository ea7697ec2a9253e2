internal import CLinux

/// SIGINT and SIGTERM, whichever thread of the program they reach.
enum Interruption {
    private static let descriptor = eventfd(0, Int32(EFD_CLOEXEC))

    /// Has the signals end ``wait()`` instead of the program.
    static func watch() {
        // Made here, since a handler must not.
        _ = descriptor
        for number in [SIGINT, SIGTERM] {
            signal(number) { _ in _ = eventfd_write(Interruption.descriptor, 1) }
        }
    }

    /// Waits for one of them.
    static func wait() {
        var count: eventfd_t = 0
        while eventfd_read(descriptor, &count) != 0 {}
    }
}
