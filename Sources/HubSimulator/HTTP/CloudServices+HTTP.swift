// MARK: - What devices do by HTTP

extension CloudServices {
    /// What dynamic registration may do with a product.
    public func registration(of productID: String) throws(HubSimulatorError) -> RegistrationSettings {
        try perform { core throws(HubSimulatorError) in try core.registration(of: productID) }
    }

    /// Sets what dynamic registration may do with a product.
    public func setRegistration(_ settings: RegistrationSettings, of productID: String) throws(HubSimulatorError) {
        try change { core throws(HubSimulatorError) in try core.setRegistration(settings, of: productID) }
    }

    /// The log lines that a device has uploaded, oldest first; the last 2000.
    public func logLines(of device: HubDeviceName) throws(HubSimulatorError) -> [String] {
        try perform { core throws(HubSimulatorError) in try core.store.lines(key: device.description) }
    }

    /// Keeps a file for devices: at most 64 MiB, and 200 bytes of name. One of the same name is replaced.
    public func putFile(_ name: String, _ bytes: [UInt8]) throws(HubSimulatorError) {
        try change { core throws(HubSimulatorError) in try core.writeFile(name, bytes) }
    }

    /// The bytes of a file that the hub keeps, or that a device has sent.
    public func file(_ name: String) throws(HubSimulatorError) -> [UInt8] {
        try perform { core throws(HubSimulatorError) in try readFile(core.filePath(name)) }
    }

    /// A URL for a file, good for one method until `lifetime` from now; then it is answered with 403.
    public func fileURL(
        _ name: String,
        method: String = "GET",
        lifetime: Duration
    ) throws(HubSimulatorError) -> String {
        try change { core throws(HubSimulatorError) in
            try core.fileURL(name, method: method, lifetime: lifetime)
        }
    }

    /// Lets something go wrong with HTTP; of several that fit, the first one does. At most 1000: `tooMany`.
    public func add(_ fault: HTTPFault) throws(HubSimulatorError) {
        guard fault.count > 0 else { return }
        try perform { core throws(HubSimulatorError) in
            guard core.httpFaults.count < ServiceCore.faultLimit else {
                throw .tooMany("faults", limit: ServiceCore.faultLimit)
            }
            core.httpFaults.append(fault)
        }
    }

    /// Takes back all faults of HTTP.
    public func removeHTTPFaults() throws(HubSimulatorError) { try perform { $0.httpFaults = [] } }

    /// The last 1000 requests of devices by HTTP, oldest first.
    public var httpRecords: [HTTPRecord] {
        get throws(HubSimulatorError) { try perform { $0.httpRecords } }
    }
}

extension ServiceCore {
    func takeHTTPFault(_ path: String) -> HTTPFault.Effect? {
        guard let index = httpFaults.firstIndex(where: { path.hasPrefix($0.path) }) else { return nil }
        let effect = httpFaults[index].effect
        httpFaults[index].count -= 1
        if httpFaults[index].count <= 0 { httpFaults.remove(at: index) }
        statistics.faults += 1
        return effect
    }
}
