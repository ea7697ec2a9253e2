internal import CLinux

/// Keys and certificates, made by the script `make-hub-identities.sh`, which is inside this program.
struct Identities {
    let directory: String
    let keys: HubConfiguration.CertificateKeys
    /// The address that the hub listens on, for the server's certificate.
    let address: String

    /// Makes what is missing of a hub's directory.
    func make() throws(HubSimulatorError) { try run([]) }

    /// Makes the certificate of one more device.
    func makeCertificate(productID: String, deviceName: String) throws(HubSimulatorError) {
        try run(["certificate", productID, deviceName])
    }

    private func run(_ arguments: [String]) throws(HubSimulatorError) {
        let script = "\(directory)/make-hub-identities.sh"
        let output = "\(directory)/make-hub-identities.log"
        try replaceFile(script, with: PackageResources.make_hub_identities_sh)
        var environment = ["HUB_KEYS=\(keys.rawValue)"]
        if !["127.0.0.1", "::1", "0.0.0.0", "::"].contains(address) {
            environment.append("HUB_SERVER_NAMES=IP:\(address)")
        }
        let child = try ChildProcess(
            "/bin/sh",
            arguments: [script, directory] + arguments,
            environment: environment,
            outputPath: output
        )
        let status = child.wait()
        guard status == 0 else {
            let text = (try? readFile(output)).map { String(decoding: $0, as: UTF8.self) } ?? ""
            throw .identitiesFailed(text.isEmpty ? "status \(status)" : text)
        }
        unlink(script)
        unlink(output)
    }
}
