/// What is wrong with the command, or with a run.
public struct BenchError: Error, CustomStringConvertible {
    /// The sentence that is printed.
    public let description: String
    /// An error that prints as `description`.
    public init(_ description: String) { self.description = description }
}

/// A job of one client, which this program does in another process of itself, and says as a line of JSON what it took.
public enum Job {
    /// That line, as numbers by name; `nil` if the client cannot do it, or not in two minutes.
    public static func measure(_ arguments: [String]) -> [String: Double]? {
        guard let output = Process.output(["timeout", "120", "/proc/self/exe"] + arguments) else { return nil }
        var fields: [String: Double] = [:]
        for pair in output.drop(while: { $0 != "{" }).dropFirst().split(separator: ",") {
            let parts = pair.split(separator: ":")
            guard parts.count == 2 else { continue }
            let name = parts[0].filter { $0 != "\"" }
            if let value = Double(parts[1].filter { $0 != "}" && $0 != "\n" }) { fields[name] = value }
        }
        return fields
    }

    /// Whether QEMU is there to count instructions.
    public static var canCountInstructions: Bool { Process.output(["qemu-x86_64", "--version"]) != nil }

    /// The user-space instructions of the whole process; `nil` if the job fails. `plugin` is built from instructions.c.
    public static func instructions(_ arguments: [String], _ plugin: String) -> Int? {
        let command = ["timeout", "120", "qemu-x86_64", "-plugin", plugin, "/proc/self/exe"] + arguments
        guard let output = Process.output(command, withErrors: true) else { return nil }
        guard let line = output.split(separator: "\n").last(where: { $0.hasPrefix("instructions ") }) else {
            return nil
        }
        return line.split(separator: " ").last.flatMap { Int($0) }
    }
}

/// `value` with as many digits behind the point.
public func rounded(_ value: Double, _ digits: Int) -> String {
    var scale = 1.0
    for _ in 0..<digits { scale *= 10 }
    let whole = (abs(value) * scale).rounded()
    var text = String(UInt64(whole))
    while text.count <= digits { text = "0" + text }
    let split = text.index(text.endIndex, offsetBy: -digits)
    return (value < 0 ? "-" : "") + text[..<split] + (digits > 0 ? "." + text[split...] : "")
}
