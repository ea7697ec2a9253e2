#if !hasFeature(Embedded)
extension CoAPCode: CustomStringConvertible {
    /// The code as the standard writes it, such as `2.05`.
    public var description: String { "\(codeClass).\(detail < 10 ? "0" : "")\(detail)" }
}

extension CoAPOptionNumber: CustomStringConvertible {
    /// The number.
    public var description: String { "\(rawValue)" }
}

extension CoAPToken: CustomStringConvertible {
    /// The bytes as hexadecimal digits.
    public var description: String {
        (0..<count).map { (self[$0] < 16 ? "0" : "") + String(self[$0], radix: 16) }.joined()
    }
}
#endif
