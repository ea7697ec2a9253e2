/// What a modem makes of bytes and events. The worker calls it on its thread only; it answers through the worker.
protocol Dialect: AnyObject {
    /// Starts, as after power has come.
    func powerUp(hasBanner: Bool)

    /// Lets everything go that it waits for. No call follows.
    func powerDown()

    /// Takes what it can use of the bytes from the host.
    func receive(_ input: inout [UInt8])

    /// Looks at a link that is in use: it may have been opened, have data, or have ended.
    func serve(_ link: Int)

    /// Loses a link, with or without telling the host.
    func breakLink(_ link: Int, hasNotice: Bool)

    /// Loses the network's data context, which comes back in a while.
    func loseContext()

    /// Loses the MQTT connection of its firmware, with or without telling the host.
    func loseMQTT(hasNotice: Bool)
}

extension Dialect {
    func loseMQTT(hasNotice: Bool) {}
}

extension ModemDialect {
    /// The numbers that links can have start at 0 and end below this.
    var linkCount: Int {
        switch self {
        case .espat, .bc26: 5
        case .quectel: 12
        case .sim7600: 10
        case .sim800, .air724: 6
        case .ublox, .bc28, .m5310a: 7
        case .l610: 4
        }
    }

    /// A modem that has just got power.
    func makeModem(_ worker: Worker) -> any Dialect {
        switch self {
        case .espat: ESPAT(worker)
        case .quectel: Quectel(worker)
        case .sim7600: SIM7600(worker)
        case .sim800: SIM800(worker)
        case .ublox: UBlox(worker)
        case .bc26: BC26(worker)
        case .bc28: BC28(worker)
        case .m5310a: M5310A(worker)
        case .l610: L610(worker)
        case .air724: Air724(worker)
        }
    }
}
