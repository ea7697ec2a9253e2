internal import CLinux

/// What a device sends by HTTP: messages and log lines, signed with its own secret or private key.
extension ServiceCore {
    /// The hub's message of `POST /device/publish`.
    func publishedMessage(_ request: HTTPRequest) throws(HubSimulatorError) -> HTTPOutcome<HubMessage> {
        switch try authenticated(request) {
        case .failure(let refusal): return .failure(refusal)
        case .success(let (device, body)):
            guard let topic = body["TopicName"]?.string, let text = body["Payload"]?.string,
                let qos = body["Qos"]?.integer, 0...1 ~= qos
            else { return Self.refused(.invalid, "TopicName, Payload and Qos, 0 or 1, are needed") }
            let own = "\(device)/"
            guard topic.hasPrefix(own), topic != own, topic != own + "control",
                !topic.contains(where: { "+#".contains($0) })
            else { return Self.refused(.invalid, "\(topic) is no topic that the device publishes to") }
            let isBase64 = body["PayloadEncoding"]?.string == "base64"
            guard let payload = isBase64 ? Base64.decode(text) : Array(text.utf8) else {
                return Self.refused(.invalid, "Payload is not base64")
            }
            guard payload.count <= maximumPayloadBytes else {
                return Self.refused(.invalid, "Payload is longer than \(maximumPayloadBytes) bytes")
            }
            let message = HubMessage(
                productID: device.productID,
                deviceName: device.deviceName,
                topic: topic,
                payload: payload,
                qos: qos,
                way: .http
            )
            return .success(message)
        }
    }

    /// `POST /device/reportlog`.
    func takeLog(_ request: HTTPRequest) throws(HubSimulatorError) -> HTTPOutcome<HubJSON> {
        switch try authenticated(request) {
        case .failure(let refusal): return .failure(refusal)
        case .success(let (device, body)):
            let lines = body["Message"]?.elements?.map(\.string) ?? []
            guard !lines.isEmpty, !lines.contains(nil) else {
                return Self.refused(.invalid, "Message is a list of texts")
            }
            try store.append(lines.compactMap { $0 }, key: device.description, limit: Self.lineLimit)
            return .success(.emptyObject)
        }
    }

    /// `POST /cgi-bin/report-log`: a head of 112 bytes, then lines.
    func takeLegacyLog(_ request: HTTPRequest) throws(HubSimulatorError) -> HTTPOutcome<HubJSON> {
        let bytes = request.body
        guard bytes.count >= 112 else { return Self.refused(.invalid, "the head is 112 bytes") }
        func text(_ range: Range<Int>) -> String { String(decoding: bytes[range], as: UTF8.self) }
        let name = String(text(54..<102).prefix { $0 != "#" })
        guard let device = registry.device(productID: text(44..<54), deviceName: name), device.isEnabled else {
            return Self.refused(.unknownDevice, "there is no such device, or it is disabled")
        }
        guard text(40..<44) == (device.secret == nil ? "C###" : "P###") else {
            return Self.refused(.invalid, "the head says another kind of device")
        }
        let key = Array(try legacyLogKey(of: device).utf8.prefix(24))
        let code = hex(Cryptography.hmac(.sha1, key: key, Array(bytes[40...])))
        guard Cryptography.areEqual(Array(code.utf8), Array(bytes[..<40])) else {
            return Self.refused(.wrongSignature, "the signature is not the device's")
        }
        // Each line ends with a line feed and a form feed.
        let lines = text(112..<bytes.count).unicodeScalars.split(separator: "\u{0C}").map { line in
            String(String.UnicodeScalarView(line.last == "\n" ? line.dropLast() : line))
        }
        try store.append(lines, key: device.description, limit: Self.lineLimit)
        return .success(.emptyObject)
    }

    /// The secret's text; of a certificate, its first line behind the head.
    private func legacyLogKey(of device: RegisteredDevice) throws(HubSimulatorError) -> String {
        switch device.credential {
        case .key(let secret): return secret
        case .certificate(let path, _):
            let lines = String(decoding: try readFile(path), as: UTF8.self).split(separator: "\n")
            return String(lines.dropFirst().first ?? "")
        }
    }

    /// The device that a request is from and its body, if the signature is right.
    private func authenticated(
        _ request: HTTPRequest
    ) throws(HubSimulatorError) -> HTTPOutcome<(RegisteredDevice, HubJSON)> {
        guard let signature = CloudSignature(request) else {
            return Self.refused(.invalid, "X-TC-Algorithm, X-TC-Timestamp, X-TC-Nonce and X-TC-Signature are needed")
        }
        guard let body = HubJSON(parsing: request.body), let productID = body["ProductId"]?.string,
            let name = body["DeviceName"]?.string
        else { return Self.refused(.invalid, "the body is JSON with ProductId and DeviceName") }
        guard registry.productSecret(of: productID) != nil else {
            return Self.refused(.unknownProduct, "there is no product \(productID)")
        }
        guard let device = registry.device(productID: productID, deviceName: name) else {
            return Self.refused(.unknownDevice, "the product has no device \(name)")
        }
        guard device.isEnabled else { return Self.refused(.isDisabled, "the device is disabled") }
        guard try isSigned(request, signature, by: device) else {
            return Self.refused(.wrongSignature, "the signature is not the device's")
        }
        if let age = behavior.httpSignatureAge, abs(signature.timestamp - now / 1000) > Int(age.components.seconds) {
            return Self.refused(.expired, "the time of the signature is too far from \(now / 1000)")
        }
        return .success((device, body))
    }

    private func isSigned(
        _ request: HTTPRequest,
        _ signature: CloudSignature,
        by device: RegisteredDevice
    ) throws(HubSimulatorError) -> Bool {
        switch device.credential {
        case .key(let secret):
            // The vendor's C SDK cuts longer secrets.
            signedHost =
                signature.host(of: request, key: .secret(secret))
                ?? signature.host(of: request, key: .secret(String(secret.prefix(24))))
        case .certificate(let path, _):
            signedHost = signature.host(of: request, key: .certificate(try readFile(path)))
        }
        return signedHost != nil
    }
}
