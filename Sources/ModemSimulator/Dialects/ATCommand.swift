/// One command of a command line (V.250, 5.3 and 5.4): its name, how it is asked, its parameters.
struct ATCommand: Equatable {
    enum Form { case action, read, test, set }

    /// In upper case and with its sign: `+CREG`, `&F`; one letter for the basic commands.
    let name: String
    let form: Form
    /// Without their quotes. A basic command has its number here.
    let parameters: [String]

    /// The number at `index`, unless there is none.
    func number(_ index: Int) -> Int? { index < parameters.count ? Int(parameters[index]) : nil }

    /// The text at `index`, unless it is missing or empty.
    func text(_ index: Int) -> String? {
        index < parameters.count && !parameters[index].isEmpty ? parameters[index] : nil
    }

    /// The same with one parameter less.
    var withoutFirst: ATCommand { ATCommand(name: name, form: form, parameters: Array(parameters.dropFirst())) }

    /// Takes a line apart that starts with `AT`; `nil` if it cannot be one.
    static func parse(_ line: String) -> [ATCommand]? {
        guard line.count >= 2, line.prefix(2).uppercased() == "AT" else { return nil }
        var commands: [ATCommand] = []
        var rest = line.dropFirst(2)
        while let first = rest.first {
            if first == ";" || first == " " {
                rest = rest.dropFirst()
            } else if first.isLetter || first == "&" {
                guard first != "&" || rest.count > 1 else { return nil }
                let name = rest.prefix(first == "&" ? 2 : 1)
                rest = rest.dropFirst(name.count)
                let digits = rest.prefix(while: \.isNumber)
                rest = rest.dropFirst(digits.count)
                commands.append(
                    ATCommand(
                        name: name.uppercased(),
                        form: .action,
                        parameters: digits.isEmpty ? [] : [String(digits)]
                    )
                )
            } else {
                let text = rest.prefix(upTo: endOfExtended(rest))
                rest = rest.dropFirst(text.count)
                commands.append(extended(text))
            }
        }
        return commands
    }

    /// An extended command ends at a semicolon that is not inside a string.
    private static func endOfExtended(_ text: Substring) -> Substring.Index {
        var isInString = false
        return text.firstIndex { character in
            if character == "\"" { isInString.toggle() }
            return character == ";" && !isInString
        } ?? text.endIndex
    }

    private static func extended(_ text: Substring) -> ATCommand {
        let parts = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
        let name = parts[0].uppercased()
        if parts.count == 2, parts[1] == "?" { return ATCommand(name: name, form: .test, parameters: []) }
        if parts.count == 2 { return ATCommand(name: name, form: .set, parameters: split(parts[1])) }
        guard name.last == "?" else { return ATCommand(name: name, form: .action, parameters: []) }
        return ATCommand(name: String(name.dropLast()), form: .read, parameters: [])
    }

    /// Splits parameters at commas, but not inside strings, and removes quotes. With `escape`, that character takes the meaning of the
    /// one behind it away.
    static func split(_ text: Substring, escape: Character? = nil) -> [String] {
        var list: [String] = []
        var current = ""
        var isInString = false
        var isEscaped = false
        for character in text {
            if isEscaped {
                current.append(character)
                isEscaped = false
            } else if isInString, character == escape {
                isEscaped = true
            } else if character == "\"" {
                isInString.toggle()
            } else if character == ",", !isInString {
                list.append(current)
                current = ""
            } else {
                current.append(character)
            }
        }
        return list + [current]
    }
}

/// Bytes as hexadecimal digits, as some families carry data.
enum Hex {
    static func text(_ bytes: [UInt8]) -> String {
        let digits = Array("0123456789ABCDEF")
        return String(bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] })
    }

    /// `nil` if `text` is no even number of digits.
    static func bytes(_ text: String) -> [UInt8]? {
        let digits = text.compactMap(\.hexDigitValue)
        guard digits.count == text.count, digits.count.isMultiple(of: 2) else { return nil }
        return stride(from: 0, to: digits.count, by: 2).map { UInt8(digits[$0] << 4 | digits[$0 + 1]) }
    }
}
