#if !hasFeature(Embedded)
extension ModemDriver {
    /// All drivers and their names, as in a command line.
    public static let named: [(name: String, driver: ModemDriver)] = [
        ("espat", .espAT), ("sim800", .sim800), ("sim7600", .sim7600), ("quectel", .quectel), ("ublox", .ublox),
        ("bc26", .bc26), ("bc28", .bc28), ("m5310a", .m5310a), ("l610", .l610), ("air724", .air724),
        ("espat-tencent", .tencentESP8266), ("l610-tencent", .tencentL610),
    ]

    /// The driver of that name; `nil` if there is none.
    public init?(named name: String) {
        guard let entry = Self.named.first(where: { $0.name == name }) else { return nil }
        self = entry.driver
    }
}
#endif
