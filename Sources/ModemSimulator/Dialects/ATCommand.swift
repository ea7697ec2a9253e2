/// The parameters of a command line.
enum ATCommand {
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
