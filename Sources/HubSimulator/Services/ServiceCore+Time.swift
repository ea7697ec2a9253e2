/// The time: topics `$sys/operation` and `$sys/operation/result`. The switch of remote login goes over them too.
extension ServiceCore {
    func answerTime(_ message: ServiceMessage, _ request: HubJSON) {
        let wantsTime = request["resource"]?.elements?.contains("time") ?? false
        guard request["type"]?.string == "get", wantsTime else {
            // What a device says of its remote login is for the record only.
            if request["type"]?.string != "ssh" { statistics.malformed += 1 }
            return
        }
        let skew = Int(behavior.timeSkew.nanoseconds / 1_000_000)
        let (arrival, departure) = (message.arrival + skew, now + skew)
        var body: HubJSON = ["type": "get", "time": HubJSON(departure / 1000)]
        if !behavior.omitsNTPTimes {
            body["ntptime1"] = HubJSON(arrival)
            body["ntptime2"] = HubJSON(departure)
        }
        sendSystem(body, to: message.device, isReply: true)
    }

    /// Asks a device to switch its remote login on or off.
    func pushRemoteLogin(_ isOn: Bool, to device: HubDeviceName) throws(HubSimulatorError) {
        try requireDevice(device)
        sendSystem(["type": "ssh", "switch": isOn ? 1 : 0], to: device, isReply: false)
    }

    private func sendSystem(_ body: HubJSON, to device: HubDeviceName, isReply: Bool) {
        let topic = "$sys/operation/result/\(device)"
        send(ServiceAnswer(service: .time, device: device, topic: topic, body: .json(body), isReply: isReply))
    }
}
