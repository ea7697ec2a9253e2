/// One option of a command.
struct Option: Sendable {
    let short: Character?
    let long: String
    /// What stands for its value in the help; `nil` for a switch.
    let value: String?
    let help: String
    /// How many words its value has, by what stands behind it.
    let words: @Sendable (ArraySlice<String>) -> Int

    init(
        _ short: Character? = nil,
        _ long: String,
        value: String? = nil,
        _ help: String,
        words: @escaping @Sendable (ArraySlice<String>) -> Int = { _ in 1 }
    ) {
        self.short = short
        self.long = long
        self.value = value
        self.help = help
        self.words = words
    }
}

/// A mistake on the command line.
struct UsageError: Error {
    let message: String
    init(_ message: String) { self.message = message }
}

/// The options and operands that a user gave.
struct Arguments: Sendable {
    private var values: [String: [String]] = [:]
    /// The values of options that have several words each.
    private var lists: [String: [[String]]] = [:]
    private(set) var operands: [String] = []

    /// Reads `arguments` as POSIX and GNU commands do: `-q 1`, `-q1`, `--qos 1`, `--qos=1`, `--` ends the options.
    init(_ arguments: [String], options: [Option]) throws(UsageError) {
        var rest = arguments[...]
        while let argument = rest.popFirst() {
            if argument == "--" {
                operands += rest
                break
            } else if argument.hasPrefix("--") {
                let parts = argument.dropFirst(2).split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
                let name = String(parts[0])
                guard let option = options.first(where: { $0.long == name }) else {
                    throw UsageError("unknown option --\(name)")
                }
                if option.value == nil {
                    guard parts.count == 1 else { throw UsageError("--\(name) takes no value") }
                    values[name, default: []].append("")
                } else if parts.count == 2 {
                    values[name, default: []].append(String(parts[1]))
                } else {
                    try readValue(of: option, "--\(name)", &rest)
                }
            } else if argument.count > 1, argument.hasPrefix("-") {
                try readShort(argument.dropFirst(), &rest, options)
            } else {
                operands.append(argument)
            }
        }
    }

    private mutating func readShort(
        _ letters: Substring,
        _ rest: inout ArraySlice<String>,
        _ options: [Option]
    ) throws(UsageError) {
        var letters = letters
        while let letter = letters.popFirst() {
            guard let option = options.first(where: { $0.short == letter }) else {
                throw UsageError("unknown option -\(letter)")
            }
            guard option.value != nil else {
                values[option.long, default: []].append("")
                continue
            }
            if letters.isEmpty {
                try readValue(of: option, "-\(letter)", &rest)
            } else {
                values[option.long, default: []].append(String(letters))
            }
            return
        }
    }

    private mutating func readValue(
        of option: Option,
        _ name: String,
        _ rest: inout ArraySlice<String>
    ) throws(UsageError) {
        guard !rest.isEmpty else { throw UsageError("\(name) needs a value") }
        let count = option.words(rest)
        guard rest.count >= count else {
            throw UsageError("\(name) needs \(count) words behind it: \(option.value ?? "")")
        }
        values[option.long, default: []].append(rest[rest.startIndex])
        lists[option.long, default: []].append(Array(rest.prefix(count)))
        rest = rest.dropFirst(count)
    }

    /// The values of an option that has several words each.
    func lists(_ name: String) -> [[String]] { lists[name] ?? [] }

    func has(_ name: String) -> Bool { values[name] != nil }
    subscript(_ name: String) -> String? { values[name]?.last }
    func all(_ name: String) -> [String] { values[name] ?? [] }

    /// The value of `name` as a number in `range`.
    func number(_ name: String, in range: ClosedRange<Int>) throws(UsageError) -> Int? {
        guard let text = self[name] else { return nil }
        guard let number = Int(text), range.contains(number) else {
            throw UsageError("--\(name) is a number from \(range.lowerBound) to \(range.upperBound), not '\(text)'")
        }
        return number
    }
}

/// One command of the program.
struct Command: Sendable {
    let name: String
    let summary: String
    /// What follows the name in the usage line.
    let usage: String
    /// What the help says below the options.
    let notes: String
    let options: [Option]
    let run: @Sendable (Arguments) async throws -> Int32
    /// Runs with the arguments as they are.
    let passesThrough: (@Sendable ([String]) -> Int32)?

    init(
        _ name: String,
        _ summary: String,
        usage: String,
        notes: String = "",
        options: [Option],
        run: @escaping @Sendable (Arguments) async throws -> Int32
    ) {
        self.name = name
        self.summary = summary
        self.usage = usage
        self.notes = notes
        self.options = options + [Option(nil, "help", "Show this help.")]
        passesThrough = nil
        self.run = run
    }

    /// A command that reads its own options, `--help` among them.
    init(
        _ name: String,
        _ summary: String,
        usage: String,
        passesThrough: @escaping @Sendable ([String]) -> Int32
    ) {
        self.name = name
        self.summary = summary
        self.usage = usage
        notes = ""
        options = []
        run = { _ in 0 }
        self.passesThrough = passesThrough
    }

    var help: String {
        let left = options.map { option in
            let short = option.short.map { "-\($0), " } ?? "    "
            return "  \(short)--\(option.long)" + (option.value.map { " \($0)" } ?? "")
        }
        let width = left.map(\.count).max() ?? 0
        var text = "\(summary)\n\nUsage: apus \(name) \(usage)\n\nOptions:\n"
        for (option, left) in zip(options, left) {
            text += left + String(repeating: " ", count: width - left.count + 2) + option.help + "\n"
        }
        return notes.isEmpty ? text : text + "\n" + notes + "\n"
    }
}
