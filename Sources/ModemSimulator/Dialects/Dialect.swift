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
}

extension ModemDialect {
    /// The numbers that links can have start at 0 and end below this.
    var linkCount: Int {
        switch self {
        case .espat: 5
        }
    }

    /// A modem that has just got power.
    func makeModem(_ worker: Worker) -> any Dialect {
        switch self {
        case .espat: ESPAT(worker)
        }
    }
}
