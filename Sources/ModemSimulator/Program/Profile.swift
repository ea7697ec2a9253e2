extension ModemSimulatorConfiguration {
    /// Applies a profile: a setting per line, as `key value`; `#` starts a comment. `modem-simulator --help` lists the keys.
    ///
    /// The error names the line that is wrong, and what would be right.
    public mutating func apply(profile text: String) throws(ModemSimulatorError) {
        for (index, line) in text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline).enumerated() {
            let words = line.prefix { $0 != "#" }.split(whereSeparator: \.isWhitespace)
            guard let key = words.first else { continue }
            do throws(ModemSimulatorError) {
                try apply(String(key), words.dropFirst().joined(separator: " "))
            } catch {
                throw ModemSimulatorError(description: "line \(index + 1): \(error)")
            }
        }
    }

    /// Applies one setting by its name.
    mutating func apply(_ name: String, _ value: String) throws(ModemSimulatorError) {
        guard let setting = Setting.named(name) else {
            throw ModemSimulatorError(description: "there is no setting '\(name)'; --help lists them")
        }
        guard setting.apply(&self, value) else {
            throw ModemSimulatorError(description: "\(name) is \(setting.expected), not '\(value)'")
        }
    }
}
