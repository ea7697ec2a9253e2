/// Quectel BC26, NB-IoT: the commands of its bigger sisters, with a context that comes by itself, fewer sockets and shorter payloads.
final class BC26: Quectel {
    private var hasHex = false

    override var identity: Identity { Identity(maker: "Quectel_Ltd", model: "Quectel_BC26", revision: "BC26NBR01A10") }
    override var banner: [String] {
        [
            "F1: 0000 0000", "V0: 0000 0000 [0001]", "00: 0006 000C", "U0: 0000 0001 [0000]", "Leaving the BROM",
            "+CPIN: READY",
        ]
    }
    override var accessTechnology: Int { 9 }
    override var hasMultiplexer: Bool { false }
    override var contextIsAutomatic: Bool { true }
    override var maximumSend: Int { 1_024 }
    override var promptText: String { "\r\n>" }
    override var linesBeforeSendResult: [String] { ["OK"] }
    override var linesAfterClose: [String] { ["CLOSE OK"] }
    override var carriesHex: Bool { hasHex }
    override var hasDataMode: Bool { false }

    override func attached() { notice("+IP: \(Self.address)") }

    override func executeOwn(_ command: ATCommand) -> Bool {
        switch (command.name, command.form) {
        case ("+QICFG", .set) where command.text(0) == "dataformat":
            // One switch for each direction; the sets of both are used together.
            guard let send = command.number(1), send == command.number(2), 0...1 ~= send else {
                fail(.invalidParameters)
                break
            }
            hasHex = send == 1
            ok()
        case ("+SM", .set):
            worker.setSleep(command.text(0) == "UNLOCK")
            ok()
        case ("+QRST", .set):
            ok()
            restartSoon()
        default: return executeSocket(command)
        }
        return true
    }
}
