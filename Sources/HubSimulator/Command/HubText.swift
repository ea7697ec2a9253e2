/// What `hub-simulator` says when it is up: where it listens, and what to paste to try each kind of device.
func welcome(_ hub: HubSimulator) throws(HubSimulatorError) -> String {
    let endpoints = try hub.endpoints
    var lines = [
        "The hub runs in \(hub.directory). Ctrl-C ends it.",
        "",
        "  MQTT, device key and password   \(endpoints.host):\(endpoints.mqttPort)",
        "  MQTT over TLS, pre-shared key   \(endpoints.host):\(endpoints.pskPort)",
        "  MQTT over TLS, certificates     \(endpoints.host):\(endpoints.tlsPort)   (verify with \(hub.authorityCertificatePath))",
    ]
    lines += ["  MQTT over TLS, key and password \(endpoints.host):\(endpoints.tlsKeyPort)   (verify with the same)"]
    lines += ["  CoAP                            127.0.0.1:\(endpoints.coapPort)/udp"]
    lines += ["  CoAP over DTLS, pre-shared key  127.0.0.1:\(endpoints.coapsPort)/udp"]
    let urlHost = endpoints.host.contains(":") ? "[\(endpoints.host)]" : endpoints.host
    lines += ["  HTTP gateway                    http://\(urlHost):\(endpoints.httpPort)"]
    lines += [
        "  HTTP gateway over TLS           https://\(urlHost):\(endpoints.httpsPort)   (verify with the same)"
    ]
    lines += ["  Control API                     http://127.0.0.1:\(endpoints.controlPort)"]
    lines += ["", "Devices, of \(hub.registry.path):"]
    for device in hub.devices {
        let credential =
            switch device.credential {
            case .key(let secret): "key \(secret)"
            case .certificate(let path, _): "certificate \(path)"
            }
        lines.append("  \(device)  \(credential)\(device.isEnabled ? "" : "  (disabled)")")
    }
    if let device = hub.devices.first(where: { $0.secret != nil && $0.isEnabled }) {
        lines += ["", "Try one with its key (bash, openssl, mosquitto-clients):"] + keyExample(device, endpoints)
    }
    if let device = hub.devices.first(where: { $0.secret == nil && $0.isEnabled }) {
        lines += ["", "Try one with its certificate:"] + certificateExample(device, endpoints, hub)
    }
    return (lines + ["", "Messages:"]).joined(separator: "\n")
}

/// A publish by HMAC login, and one by TLS-PSK, as shell commands.
private func keyExample(_ device: RegisteredDevice, _ endpoints: HubEndpoints) -> [String] {
    let key = hex(Base64.decode(device.secret ?? "") ?? [])
    let topic = "\(device.productID)/\(device.deviceName)"
    return [
        "  user=\"\(device.clientID);12010126;abcde;$(($(date +%s) + 3600))\"",
        "  token=$(printf %s \"$user\" | openssl dgst -sha256 -mac HMAC -macopt hexkey:\(key) | sed 's/.* //')",
        "  mosquitto_pub -h \(endpoints.host) -p \(endpoints.mqttPort) -i \(device.clientID) -u \"$user\" -P \"$token;hmacsha256\" \\",
        "    -t \(topic)/event -q 1 -m '{\"hello\":1}'",
        "  mosquitto_sub -h \(endpoints.host) -p \(endpoints.pskPort) -i \(device.clientID) -u \"$user\" \\",
        "    --psk-identity \(device.clientID) --psk \(key) -t \(topic)/control",
    ]
}

private func certificateExample(_ device: RegisteredDevice, _ endpoints: HubEndpoints, _ hub: HubSimulator) -> [String]
{
    guard case .certificate(let certificate, let privateKey) = device.credential else { return [] }
    return [
        "  mosquitto_pub -h \(endpoints.host) -p \(endpoints.tlsPort) -i \(device.clientID) \\",
        "    -u \"\(device.clientID);12010126;abcde;$(($(date +%s) + 3600))\" --cafile \(hub.authorityCertificatePath) \\",
        "    --cert \(certificate) \\",
        "    --key \(privateKey) \\",
        "    -t \(device.productID)/\(device.deviceName)/event -q 1 -m '{\"hello\":1}'",
    ]
}

/// Shows an event as a line.
func printEvent(_ event: HubEvent, isVerbose: Bool) {
    switch event {
    case .message(let message):
        printLine("\(message.topic)  \(visible(message.payload, limit: isVerbose ? .max : 200))")
    case .refused(let refusal):
        printLine("refused \(refusal.clientID): \(refusal.reason.rawValue) (\(refusal.detail)) from \(refusal.address)")
    case .loggedIn(let clientID, let address): if isVerbose { printLine("login of \(clientID) from \(address)") }
    case .disconnected(let clientID): if isVerbose { printLine("\(clientID) disconnected") }
    }
}

/// Text as it is if it is printable, else hexadecimal digits. A terminal must not obey what a device sends.
func visible(_ payload: [UInt8], limit: Int) -> String {
    let shown = Array(payload.prefix(limit))
    let text = String(validating: shown, as: UTF8.self)
    let isPrintable = text?.unicodeScalars.allSatisfy { $0.properties.generalCategory != .control } ?? false
    let rest = payload.count > shown.count ? " … \(payload.count) bytes" : ""
    return (isPrintable ? text ?? "" : hex(shown)) + rest
}

func hex(_ bytes: [UInt8]) -> String {
    bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
}
