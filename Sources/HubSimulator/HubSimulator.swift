internal import CLinux
internal import Kernel

/// A hub on this host, for tests of devices: a real Mosquitto broker that checks logins and topics as Tencent Cloud IoT Hub does.
///
/// Everything is in one directory, which a first start fills:
///
///     registry.json                  products and devices with their secrets; may be edited while the hub runs
///     ca.crt  ca.key                 the certificate authority; devices need ca.crt
///     server.crt  server.key         the hub's certificate: localhost, 127.0.0.1, ::1, hub.apus.test
///     devices/PRODUCT/               NAME_cert.crt and NAME_private.key of devices with a certificate
///     broker/                        the broker's configuration, log and sessions
///     state.sqlite                   what the services remember of devices and products
///     files/                         files for devices, and from them
///
/// All calls may come from any thread and wait for their outcome; none may be made in an event handler, but for ``sendControl(to:deviceName:payload:)``
/// and ``publish(topic:payload:qos:)``, which never wait.
public final class HubSimulator: Sendable {
    struct Running {
        let broker: MosquittoBroker
        let cloud: CloudLink
        let coap: CoAPEndpoint
        let http: HTTPSide
        let endpoints: HubEndpoints
        let supervisor: Supervisor?
    }

    /// Looks at a running hub four times a second.
    final class Supervisor: TimerHandler, @unchecked Sendable {
        // @unchecked: the timer is used on the loop only.
        private let loop = EventLoop.start()
        private let check: @Sendable () -> Void
        private lazy var timer = Timer(on: loop)

        init(check: @escaping @Sendable () -> Void) {
            self.check = check
            loop.execute { self.timer.start(after: .milliseconds(250), every: .milliseconds(250), handler: self) }
        }

        func timerFired(_ timer: Timer) { check() }
        func stop() { loop.stop() }
    }

    /// The absolute path of the hub's directory.
    public let directory: String
    /// The devices.
    public let registry: DeviceRegistry
    /// The cloud's services: shadow, calls, configuration and the others.
    public let services: CloudServices
    private let configuration: HubConfiguration
    let identities: Identities
    let record: HubRecord
    private let lock: Int32
    private let running = Guarded<Running?>(nil)
    /// Held while something is started or stopped; its value says whether the broker is to run: not after ``stopBroker()``.
    private let wantsBroker = Guarded(false)

    /// Prepares a hub in a directory, which is made and filled if need be. Only one hub at a time can have it.
    public init(directory: String, configuration: HubConfiguration = HubConfiguration()) throws(HubSimulatorError) {
        let directory = absolutePath(directory)
        self.directory = directory
        self.configuration = configuration
        try makeDirectory(directory)
        lock = clinux_open("\(directory)/lock", O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard lock >= 0 else { throw .file("\(directory)/lock", code: clinux_errno()) }
        do throws(HubSimulatorError) {
            guard flock(lock, LOCK_EX | LOCK_NB) == 0 else { throw .directoryInUse(directory) }
            identities = Identities(
                directory: directory,
                keys: configuration.certificateKeys,
                address: configuration.address
            )
            try identities.make()
            registry = try DeviceRegistry(directory: directory)
            record = HubRecord(registry: registry)
            services = try CloudServices(
                directory: directory,
                registry: registry,
                record: record,
                configuration: configuration
            )
        } catch {
            Self.release(lock)
            throw error
        }
    }

    deinit {
        stop()
        services.end()
        Self.release(lock)
    }

    private static func release(_ lock: Int32) {
        flock(lock, LOCK_UN)  // a child that is just being started may have a copy of the descriptor
        close(lock)
    }

    /// Starts everything; devices can log in when it returns.
    public func start() throws(HubSimulatorError) {
        try wantsBroker.withLock { wantsBroker throws(HubSimulatorError) in
            guard running.withLock({ $0 == nil }) else { throw .alreadyRunning }
            let broker = try MosquittoBroker(directory: directory, configuration: configuration)
            let record = record
            let cloud = try CloudLink(broker: broker) { topic, payload, qos in
                record.receive(topic: topic, payload: payload, qos: qos)
            }
            // Before the first device: what is published now waits for the broker.
            services.open { (topic, payload, qos) throws(HubSimulatorError) in
                try cloud.publish(topic: topic, payload: payload, qos: qos)
            }
            let coap: CoAPEndpoint
            do throws(HubSimulatorError) {
                coap = try startCoAP()
            } catch {
                services.close()
                cloud.close()
                throw error
            }
            let http: HTTPSide
            do throws(HubSimulatorError) {
                http = try startHTTP(host: broker.host)
            } catch {
                coap.stop()
                services.close()
                cloud.close()
                throw error
            }
            do throws(HubSimulatorError) {
                try broker.start()
                record.beginBroker(broker.processID ?? 0)
                try cloud.connect(timeout: configuration.startTimeout)
            } catch {
                http.stop()
                coap.stop()
                services.close()
                cloud.close()
                broker.stop()
                throw error
            }
            let endpoints = HubEndpoints(
                host: broker.host,
                mqttPort: broker.mqttPort.number,
                pskPort: broker.pskPort.number,
                tlsPort: broker.tlsPort.number,
                tlsKeyPort: broker.tlsKeyPort.number,
                coapPort: coap.port,
                coapsPort: coap.securePort ?? 0,
                httpPort: http.httpPort,
                httpsPort: http.httpsPort,
                controlPort: http.controlPort
            )
            let supervisor = configuration.restartsBroker ? Supervisor { [weak self] in self?.restartBroker() } : nil
            let parts = Running(
                broker: broker,
                cloud: cloud,
                coap: coap,
                http: http,
                endpoints: endpoints,
                supervisor: supervisor
            )
            running.withLock { $0 = parts }
            wantsBroker = true
        }
    }

    /// Stops everything; does nothing if the hub is not running. Files and sessions stay for the next start.
    public func stop() {
        wantsBroker.withLock { wantsBroker in
            wantsBroker = false
            let stopped = running.withLock { running in
                defer { running = nil }
                return running
            }
            stopped?.supervisor?.stop()
            stopped?.coap.stop()
            // The broker first: what it has acknowledged is on its way to the cloud side.
            stopped?.broker.stop()
            services.close()
            stopped?.http.stop()
            stopped?.cloud.close()
        }
    }

    /// Where devices connect to.
    public var endpoints: HubEndpoints {
        get throws(HubSimulatorError) { try parts().endpoints }
    }

    /// Whether the broker runs. It does not after ``stopBroker()`` or when it ended by itself.
    public var isBrokerRunning: Bool { running.withLock { $0?.broker.processID != nil } }

    /// The broker's process ID while it runs, to kill it in a test.
    public var brokerProcessID: Int32? { running.withLock { $0?.broker.processID } }

    /// The last lines of the broker's log.
    public var brokerLog: String { running.withLock { $0?.broker.lastWords ?? "" } }

    /// Stops the broker alone: devices lose their connections, and cannot connect until ``startBroker()``.
    public func stopBroker() throws(HubSimulatorError) {
        try wantsBroker.withLock { wantsBroker throws(HubSimulatorError) in
            wantsBroker = false
            try parts().broker.stop()
        }
    }

    /// Starts the broker again, with the same ports and the sessions it had.
    public func startBroker() throws(HubSimulatorError) {
        try wantsBroker.withLock { wantsBroker throws(HubSimulatorError) in
            try startBrokerAgain()
            wantsBroker = true
        }
    }

    private func startBrokerAgain() throws(HubSimulatorError) {
        let parts = try parts()
        guard parts.broker.processID == nil else { throw .alreadyRunning }
        try parts.broker.start()
        record.beginBroker(parts.broker.processID ?? 0)
        services.beginBroker()
        try parts.cloud.connect(timeout: configuration.startTimeout)
    }

    /// Starts a broker again that has ended by itself; if that fails, it is tried again at the next look.
    private func restartBroker() {
        wantsBroker.withLock { wantsBroker in
            guard wantsBroker, !isBrokerRunning else { return }
            do { try startBrokerAgain() } catch { try? parts().broker.stop() }
        }
    }

    /// The CoAP side, for its faults and counters.
    public var coap: CoAPEndpoint {
        get throws(HubSimulatorError) { try parts().coap }
    }

    private func startHTTP(host: String) throws(HubSimulatorError) -> HTTPSide {
        let http = try HTTPSide(
            configuration: configuration,
            identity: ("\(directory)/server.crt", "\(directory)/server.key"),
            gateway: GatewayHTTP(services: services, record: record),
            control: ControlAPI(services: services, registry: registry, record: record, identities: identities)
        )
        let name = host.contains(":") ? "[\(host)]" : host
        let urls = ("http://\(name):\(http.httpPort)", "https://\(name):\(http.httpsPort)")
        try services.perform { $0.fileBaseURLs = urls }
        return http
    }

    private func startCoAP() throws(HubSimulatorError) -> CoAPEndpoint {
        let registry = registry
        let (record, services) = (record, services)
        do {
            return try CoAPEndpoint(
                port: configuration.coapPort,
                securePort: configuration.coapsPort,
                keyOf: { identity in
                    guard let device = registry.device(clientID: identity), device.isEnabled else { return nil }
                    return device.secret.flatMap(Base64.decode)
                },
                isKnown: { registry.device(productID: $0, deviceName: $1)?.isEnabled ?? false },
                onMessage: { productID, deviceName, topic, payload, wantsAnswer in
                    let message = HubMessage(
                        productID: productID,
                        deviceName: deviceName,
                        topic: topic,
                        payload: payload,
                        qos: 1,
                        way: .coap
                    )
                    record.take(.message(message))
                    let answer = services.answerCoAP(topic: topic, payload: payload)
                    guard !topic.hasPrefix("$") else { return answer }
                    return wantsAnswer ? record.nextForCoAP(clientID: productID + deviceName) : nil
                }
            )
        } catch {
            switch error {
            case .cannotBind(let port, _): throw .portInUse(port)
            case .setUpFailed: throw .coapFailed
            }
        }
    }

    func parts() throws(HubSimulatorError) -> Running {
        guard let running = running.withLock({ $0 }) else { throw .notRunning }
        return running
    }
}
