/// What the commands do once there is a connection, and images for the device.
extension TencentFirmware {
    private func isTopic(_ text: String) -> Bool { 1...128 ~= text.utf8.count }

    func publish(_ name: String, _ topic: String, _ qos: String, _ payload: [UInt8]) {
        guard isUp else { return refuse(208) }
        guard isTopic(topic), let qos = Int(qos), 0...1 ~= qos, !payload.isEmpty else { return refuse(204) }
        send(name, topic, qos, payload, isAccepted: false)
    }

    private func send(_ name: String, _ topic: String, _ qos: Int, _ payload: [UInt8], isAccepted: Bool) {
        ask(name, isAccepted: isAccepted) { uplink, request in
            uplink.publish(request, topic: topic, payload: payload, qos: qos)
        } _: { [self] event in
            // TLS, or TCP, could not write.
            guard case .published = event else { return parameters[0] == 1 ? -706 : -607 }
            worker.count(\.messagesOut)
            return 0
        }
    }

    /// Has `ask` ask the server, and the command end with the answer, or without one.
    private func ask(
        _ name: String,
        isAccepted: Bool,
        _ ask: (Uplink, Int) -> Void,
        _ code: @escaping (Uplink.Event) -> Int
    ) {
        if !isAccepted { accept() }
        if worker.happens(\.failsSendEvery) { return result(name, 202) }
        guard let uplink else { return result(name, -103) }
        requestCount += 1
        let request = requestCount
        pending = (request, { [self] event in result(name, event.map(code) ?? -103) })
        worker.after(milliseconds: parameters[1]) { [self] in
            guard pending?.request == request else { return }
            pending = nil
            result(name, 202)
        }
        ask(uplink, request)
    }

    /// The payload comes behind a prompt, with a line end that is not counted.
    func publishLong(_ name: String, _ fields: [String]) {
        guard isUp else { return refuse(208) }
        guard isTopic(fields[0]), let qos = Int(fields[1]), 0...1 ~= qos, let count = Int(fields[2]), 1...2_048 ~= count
        else { return refuse(204) }
        accept()
        let quit = Array("+++\r\n".utf8)
        modem.prompt("\(style.before)>", count: count + 2, within: 20) {
            $0.suffix(quit.count) == quit[...]
        } _: {
            [self] bytes in
            guard bytes.count == count + 2, bytes.suffix(2) == [13, 10], isUp else { return refuse(204) }
            var payload = Array(bytes.dropLast(2))
            if style.isForText, name == "+TCMQTTPUBL" { payload = Self.changed(payload) }
            send(style.namesLongForm ? name : "+TCMQTTPUB", fields[0], qos, payload, isAccepted: true)
        }
    }

    /// What the firmware of ESP8266 makes of `\"` and `\,` in long payloads: the backslash is a space, and behind every second quote instead of before it.
    static func changed(_ payload: [UInt8]) -> [UInt8] {
        var payload = payload
        var quotes = 0
        var index = 0
        while index < payload.count - 1, payload[index] != 0 {
            let next = payload[index + 1]
            guard payload[index] == UInt8(ascii: "\\"), next == UInt8(ascii: "\"") || next == UInt8(ascii: ",") else {
                index += 1
                continue
            }
            payload[index] = UInt8(ascii: " ")
            if next == UInt8(ascii: "\"") {
                quotes += 1
                if quotes.isMultiple(of: 2) { payload.swapAt(index, index + 1) }
            }
            index += 2
        }
        return payload
    }

    func subscribe(_ name: String, _ fields: [String]) {
        guard isUp else { return refuse(208) }
        let filter = fields[0]
        guard isTopic(filter), let qos = Int(fields[1]), 0...1 ~= qos else { return refuse(204) }
        let isKnown = subscriptions.contains { $0.filter == filter }
        guard isKnown || subscriptions.count < 10 else {
            accept()
            return result(name, -107)
        }
        ask(name, isAccepted: false) { uplink, request in
            uplink.subscribe(request, filter: filter, qos: qos)
        } _: { [self] event in
            guard case .subscribed(_, let isGranted) = event else { return -111 }
            guard isGranted else { return -108 }
            subscriptions.removeAll { $0.filter == filter }
            subscriptions.append((filter, qos))
            return 0
        }
    }

    func unsubscribe(_ name: String, _ filter: String) {
        guard isUp else { return refuse(208) }
        guard isTopic(filter) else { return refuse(204) }
        guard subscriptions.contains(where: { $0.filter == filter }) else {
            accept()
            return result(name, -121)
        }
        ask(name, isAccepted: false) { uplink, request in
            uplink.unsubscribe(request, filter: filter)
        } _: { [self] event in
            guard case .unsubscribed(_, true) = event else { return -121 }
            subscriptions.removeAll { $0.filter == filter }
            return 0
        }
    }

    // MARK: Images for the device

    func setImage(_ name: String, _ fields: [String]) {
        guard let isOn = Int(fields[0]), 0...1 ~= isOn, 1...32 ~= fields[1].utf8.count else { return refuse(204) }
        guard isOn == 0 || isUp else { return refuse(208) }
        version = fields[1]
        accept()
        result(name)
        guard isOn == 1, let image = worker.configuration.firmwareImage, image.version != version else { return }
        say("+TCOTASTATUS\(style.colon)ENTERUPDATE")
        worker.after(milliseconds: 50) { [self] in say("+TCOTASTATUS\(style.colon)UPDATESUCCESS") }
    }

    func tellImage() {
        guard let image = worker.configuration.firmwareImage else { return refuse(208) }
        imageOffset = 0
        accept()
        end(
            "+TCFWINFO\(style.colon)\"\(image.version)\",\(image.bytes.count),\"\(DeviceLogin.md5(image.bytes))\",716800"
        )
    }

    func readImage(_ text: String) {
        guard let image = worker.configuration.firmwareImage, imageOffset < image.bytes.count else {
            return refuse(208)
        }
        guard let count = Int(text), 1...4_096 ~= count else { return refuse(204) }
        let bytes = image.bytes.dropFirst(imageOffset).prefix(count)
        imageOffset += bytes.count
        accept()
        modem.finish(Array("\(style.before)+TCREADFWDATA:\(bytes.count),".utf8) + bytes + [13, 10])
    }

    // MARK: Traces

    /// A line without the secret of a device that is in it.
    static func masked(_ line: String) -> String {
        guard let command = line.firstRange(of: "AT+TCDEVINFOSET=") else { return line }
        var quotes = 0
        var shown = String(line[..<command.upperBound])
        for character in line[command.upperBound...] {
            if character == "\"" {
                quotes += 1
                if quotes == 5 { shown += "\"***" }
            }
            if quotes != 5 { shown.append(character) }
        }
        return shown
    }
}
