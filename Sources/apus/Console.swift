internal import CLinux

/// What the program prints. Output goes out unbuffered, so that pipes see it at once.
enum Console {
    static func print(_ text: String) { write(text + "\n", to: 1) }
    static func print(_ bytes: some Sequence<UInt8>) { write(Array(bytes) + [UInt8(ascii: "\n")], to: 1) }
    static func raw(_ text: String) { write(text, to: 1) }
    static func raw(_ bytes: [UInt8]) { write(bytes, to: 1) }
    static func error(_ text: String) { write("apus: \(text)\n", to: 2) }

    /// Shows what is being done on a terminal's standard error, in place of what was shown so before.
    static func progress(_ text: String) { write("\r\u{1B}[K\(text)", to: 2) }

    static var isTerminal: Bool { isatty(1) == 1 }

    private static func write(_ text: String, to descriptor: Int32) { write(Array(text.utf8), to: descriptor) }

    private static func write(_ bytes: [UInt8], to descriptor: Int32) {
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { CLinux.write(descriptor, $0.baseAddress, $0.count) }
            if count < 0 && clinux_errno() == EINTR { continue }
            guard count > 0 else { return }
            rest = rest.dropFirst(count)
        }
    }
}
