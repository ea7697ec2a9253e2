/// The commands of Tencent's firmwares, as ESP8266 and L610 have them: MQTT inside the modem, really connected.
///
/// All but the connection is here; see ``Uplink`` for that.
final class TencentFirmware {
    /// What the two differ in.
    struct Style {
        /// Behind the name in a line.
        var colon: String
        /// What stands around a line.
        var before: String
        /// Backslashes are taken away in front of these characters of a string.
        var escaped: Set<UInt8>
        /// The long form of a publish ends with its own name.
        var namesLongForm: Bool
        /// The long form changes what looks like an escape, received payloads end at their first zero, and there is a form for any bytes.
        var isForText: Bool
        var cmdTimeouts: ClosedRange<Int>
        var securities: Set<Int>

        static let esp8266 = Style(
            colon: ":",
            before: "",
            escaped: Set("\\\",".utf8),
            namesLongForm: true,
            isForText: true,
            cmdTimeouts: 1_000...10_000,
            // The real one has TLS only. Without it, what is on the wire can be looked at.
            securities: [0, 1]
        )
        static let l610 = Style(
            colon: ": ",
            before: "\r\n",
            escaped: Set("\"".utf8),
            namesLongForm: false,
            isForText: false,
            cmdTimeouts: 1_000...20_000,
            securities: [0, 1]
        )
    }

    private enum State {
        case off
        case connecting(serial: Int)
        case up
        /// It was lost, and the firmware tries to get it back.
        case away
    }

    unowned let modem: CommandModem
    let style: Style
    private var identity: [String]?
    var parameters = [0, 5_000, 240, 1, 0]
    private var server: String?
    private var state = State.off
    var uplink: Uplink?
    var subscriptions: [(filter: String, qos: Int)] = []
    /// The request that the command under way waits for, and what its answer does.
    var pending: (request: Int, body: (Uplink.Event?) -> Void)?
    var requestCount = 0
    var version = ""
    var imageOffset = 0

    init(_ modem: CommandModem, _ style: Style) { (self.modem, self.style) = (modem, style) }

    var worker: Worker { modem.worker }

    func powerDown() {
        uplink?.close()
        uplink = nil
        state = .off
    }

    // MARK: Lines

    /// A line of an answer, or one that comes by itself.
    func say(_ text: String) { modem.say("\(style.before)\(text)\r\n") }

    func end(_ text: String) { modem.finish(Array("\(style.before)\(text)\r\n".utf8)) }

    /// What says that the command was understood, and its answer follows.
    func accept() {
        if !worker.happens(\.losesResultEvery) { say("OK") }
        modem.insertNotices()
    }

    func refuse(_ code: Int) { end("+CME ERROR\(style.colon)\(code)") }

    func result(_ name: String, _ code: Int = 0) {
        end("\(name)\(style.colon)\(code == 0 ? "OK" : "FAIL,\(code)")")
    }

    // MARK: Commands

    /// Executes a command line; false if it is none of these.
    func execute(_ line: String) -> Bool {
        let parts = line.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
        let name = parts[0].dropFirst(2).uppercased()
        guard line.uppercased().hasPrefix("AT+TC") else { return false }
        let fields = parts.count == 2 ? split(parts[1]) : []
        switch (name, fields.count) {
        case ("+TCDEVINFOSET", 4...5): setIdentity(fields)
        case ("+TCMQTTSRV", 1):
            guard isOff else {
                refuse(208)
                break
            }
            server = fields[0]
            accept()
            result(name)
        case ("+TCMQTTCONN", 5): connect(fields)
        case ("+TCMQTTDISCONN", 0): disconnect()
        case ("+TCMQTTSTATE?", 0):
            say("+TCMQTTSTATE\(style.colon)\(isUp ? 1 : 0)")
            end("OK")
        case ("+TCMQTTPUB", 3): publish(name, fields[0], fields[1], Array(fields[2].utf8))
        case ("+TCMQTTPUBL", 3), ("+TCMQTTPUBRAW", 3):
            guard style.isForText || name == "+TCMQTTPUBL" else { return false }
            publishLong(name, fields)
        case ("+TCMQTTSUB", 2): subscribe(name, fields)
        case ("+TCMQTTSUB?", 0):
            for (filter, qos) in subscriptions { say("+TCMQTTSUB\(style.colon)\"\(filter)\",\(qos)") }
            end("OK")
        case ("+TCMQTTUNSUB", 1): unsubscribe(name, fields[0])
        case ("+TCOTASET", 2): setImage(name, fields)
        case ("+TCFWINFO?", 0): tellImage()
        case ("+TCREADFWDATA", 1): readImage(fields[0])
        case ("+TCREGNET?", 0) where !style.isForText:
            say("+TCREGNET\(style.colon)0,1")
            end("OK")
        default: return false
        }
        return true
    }

    /// Parameters, without their quotes and escapes.
    private func split(_ text: Substring) -> [String] {
        var fields: [[UInt8]] = [[]]
        var isInString = false
        var isEscaped = false
        for byte in text.utf8 {
            switch byte {
            case _ where isEscaped:
                if !style.escaped.contains(byte) { fields[fields.count - 1].append(UInt8(ascii: "\\")) }
                fields[fields.count - 1].append(byte)
                isEscaped = false
            case UInt8(ascii: "\\") where isInString: isEscaped = true
            case UInt8(ascii: "\""): isInString.toggle()
            case UInt8(ascii: ",") where !isInString: fields.append([])
            default: fields[fields.count - 1].append(byte)
            }
        }
        return fields.map { String(decoding: $0, as: UTF8.self) }
    }

    private var isOff: Bool { if case .off = state { true } else { false } }
    var isUp: Bool { if case .up = state { true } else { false } }

    private func setIdentity(_ fields: [String]) {
        guard isOff else { return refuse(208) }
        guard let security = Int(fields[0]), style.securities.contains(security), fields[1].utf8.count == 10,
            1...48 ~= fields[2].utf8.count, 1...44 ~= fields[3].utf8.count
        else { return refuse(204) }
        identity = fields
        accept()
        result("+TCDEVINFOSET")
    }

    // MARK: The connection

    private func connect(_ fields: [String]) {
        guard isOff else { return refuse(208) }
        let numbers = fields.compactMap(Int.init)
        guard numbers.count == 5, style.securities.contains(numbers[0]), style.cmdTimeouts.contains(numbers[1]),
            60...690 ~= numbers[2], 0...1 ~= numbers[3], 0...1 ~= numbers[4]
        else { return refuse(204) }
        guard identity != nil else { return refuse(203) }
        parameters = numbers
        accept()
        guard modem.hasNetwork else { return result("+TCMQTTCONN", -602) }
        requestCount += 1
        let serial = requestCount
        state = .connecting(serial: serial)
        guard open() else {
            state = .off
            return result("+TCMQTTCONN", -1_002)
        }
        worker.after(milliseconds: numbers[1]) { [self] in
            guard case .connecting(serial) = state else { return }
            drop()
            result("+TCMQTTCONN", 202)
        }
    }

    /// Begins to connect.
    private func open() -> Bool {
        guard let identity,
            let login = DeviceLogin(productID: identity[1], deviceName: identity[2], secret: identity[3])
        else { return false }
        let configuration = worker.configuration
        let isSecure = parameters[0] == 1
        let target = Uplink.Target(
            host: server ?? configuration.hubHost ?? "\(identity[1]).iotcloud.tencentdevices.com",
            port: UInt16(isSecure ? configuration.hubKeyPort : configuration.hubPort),
            isSecure: isSecure,
            clientID: login.clientID,
            userName: login.userName,
            password: login.password,
            key: login.key,
            keepAlive: Int32(parameters[2]),
            cleanSession: parameters[3] == 1
        )
        uplink?.close()
        uplink = worker.openUplink(target) { [unowned self] event in happened(event) }
        uplink?.connect()
        return uplink != nil
    }

    private func disconnect() {
        guard !isOff else { return refuse(208) }
        drop()
        say("+TCMQTTDISCON,2")
        end("OK")
    }

    /// Lets go of the connection and of what belongs to it.
    private func drop() {
        state = .off
        uplink?.close()
        uplink = nil
        subscriptions = []
    }

    /// The connection is lost; the firmware gets it back if it was told to.
    func lose(hasNotice: Bool) {
        guard isUp else { return }
        if let pending {
            self.pending = nil
            pending.body(nil)
        }
        if hasNotice { modem.announce("\(style.before)+TCMQTTDISCON,-103\r\n") }
        guard parameters[4] == 1 else { return drop() }
        uplink?.close()
        uplink = nil
        state = .away
        retry()
    }

    private func retry() {
        guard case .away = state else { return }
        say("+TCMQTTRECONNECTING")
        worker.after(milliseconds: 1_000) { [self] in
            guard case .away = state else { return }
            if !modem.hasNetwork || !open() { retry() }
        }
    }

    private func happened(_ event: Uplink.Event) {
        switch (event, state) {
        case (.connected, .connecting):
            state = .up
            result("+TCMQTTCONN")
        case (.connected, .away):
            state = .up
            // Nobody waits for these answers.
            for (filter, qos) in subscriptions { uplink?.subscribe(0, filter: filter, qos: qos) }
            say("+TCMQTTRECONNECTED")
        case (.refused(let code), .connecting):
            drop()
            result("+TCMQTTCONN", code)
        case (.refused, .away): retry()
        case (.lost, .up): lose(hasNotice: !modem.faults.closesSilently)
        case (.message(let topic, let payload), .up): received(topic, payload)
        case (.published(let request), _), (.failed(let request), _), (.subscribed(let request, _), _),
            (.unsubscribed(let request, _), _):
            guard let pending, pending.request == request else { return }
            self.pending = nil
            pending.body(event)
        default: break
        }
    }

    private func received(_ topic: [UInt8], _ payload: [UInt8]) {
        let head = "\(style.before)+TCMQTTRCVPUB\(style.colon)\"\(String(decoding: topic, as: UTF8.self))\","
        var line = Array("\(head)\(modem.announced(payload.count)),\"".utf8) + payload + Array("\"\r\n".utf8)
        // Its text ends where C says so, and with it the line.
        if style.isForText, let end = line.firstIndex(of: 0) { line = Array(line[..<end]) }
        worker.send(line)
    }
}
