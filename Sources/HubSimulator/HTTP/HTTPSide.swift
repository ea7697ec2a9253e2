/// The HTTP servers of a running hub: the gateway for devices with and without TLS, and the control API, which only this host reaches.
final class HTTPSide: Sendable {
    private let ports: [ReservedPort]
    private let servers: [HTTPServer]

    var httpPort: UInt16 { ports[0].number }
    var httpsPort: UInt16 { ports[1].number }
    var controlPort: UInt16 { ports[2].number }

    /// Begins to serve.
    init(
        configuration: HubConfiguration,
        identity: (certificatePath: String, keyPath: String),
        gateway: GatewayHTTP,
        control: ControlAPI
    ) throws(HubSimulatorError) {
        ports = [
            try ReservedPort(address: configuration.address, port: configuration.httpPort),
            try ReservedPort(address: configuration.address, port: configuration.httpsPort),
            try ReservedPort(address: "127.0.0.1", port: configuration.controlPort),
        ]
        let limit = GatewayHTTP.maximumBodyBytes
        var servers: [HTTPServer] = []
        do throws(HubSimulatorError) {
            servers.append(try HTTPServer(port: ports[0], maximumBodyBytes: limit) { gateway.respond(to: $0) })
            servers.append(
                try HTTPServer(port: ports[1], identity: identity, maximumBodyBytes: limit) { gateway.respond(to: $0) }
            )
            servers.append(
                try HTTPServer(port: ports[2], maximumBodyBytes: ServiceCore.maximumFileBytes * 3 / 2) {
                    control.respond(to: $0)
                }
            )
        } catch {
            for server in servers { server.stop() }
            throw error
        }
        self.servers = servers
    }

    /// Ends all connections.
    func stop() { for server in servers { server.stop() } }
}
