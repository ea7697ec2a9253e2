import ATAdapter
import Board
import Kernel
import MQTTClient
import QCloudIoTHub
import SAL

/// The device: reports, and does what it is told.
final class Device: MQTTConnectionHandler, TimerHandler {
    private let identity: DeviceIdentity
    private let modem: Modem
    private let connection: MQTTConnection
    private let timer: Timer
    private let eventTopic: [UInt8]
    private var interval: Duration
    private var sequence = 0
    private var published = 0
    private var acknowledged = 0
    private var received = 0
    /// The numbers of the reports under way, and when they were sent; at most as many as the connection takes.
    private var reportIDs = InlineArray<8, MQTTRequestID>(repeating: 0)
    private var sentAt = InlineArray<8, Int>(repeating: 0)

    init(_ settings: Settings, modem: Modem, network: any Network) {
        identity = settings.identity
        self.modem = modem
        eventTopic = HubTopic.event(of: settings.identity)
        interval = .milliseconds(settings.interval)
        timer = Timer(on: modem.loop)
        var configuration = MQTTConfiguration(clientID: settings.identity.clientID)
        configuration.keepAliveSeconds = 60
        configuration.connectTimeout = .seconds(20)
        configuration.maximumPacketBytes = 1_024
        configuration.queue.requests = 8
        connection = MQTTConnection(
            to: Endpoint(host: settings.host, port: settings.port),
            over: network,
            configuration: configuration
        )
    }

    func start() {
        do throws(MQTTError) {
            _ = try connection.subscribe(to: HubTopic.control(of: identity).span)
        } catch { Console.print("error=subscribe\n") }
        connection.connect(handler: self)
        timer.start(after: interval, every: interval, handler: self)
    }

    // MARK: Reports

    func timerFired(_ timer: Timer) {
        guard connection.isConnected else { return }
        modem.querySignal()
        // Built piece by piece: a few bytes of code where formatting would be kilobytes.
        var text = JSON()
        text.add("seq", sequence + 1)
        text.add("ticks", Board.ticks)
        text.add("freeHeap", Board.freeHeapBytes)
        if let signal = modem.signal { text.add("signal", signal) }
        guard let request = publish(text.finish()) else { return }
        sequence += 1
        published += 1
        for index in reportIDs.indices where reportIDs[index] == 0 {
            reportIDs[index] = request
            sentAt[index] = Board.ticks
            break
        }
        say(roundTrip: nil)
    }

    /// Publishes an event; `nil` if the queue is full: then this report is left out, and not counted.
    private func publish(_ payload: [UInt8]) -> MQTTRequestID? {
        do throws(MQTTError) {
            let topic = eventTopic
            return try connection.publish(topic: topic.span, payload: payload.span)
        } catch { return nil }
    }

    private func say(roundTrip: Int?) {
        Console.print("published=")
        Console.print(published)
        Console.print(" acknowledged=")
        Console.print(acknowledged)
        Console.print(" received=")
        Console.print(received)
        if let roundTrip {
            Console.print(" rtt=")
            Console.print(roundTrip)
        }
        Console.print(" heap=")
        Console.print(Board.leastFreeHeapBytes)
        Console.print("\n")
    }

    // MARK: MQTTConnectionHandler

    func willConnect(_ configuration: inout MQTTConfiguration) {
        Console.print("state=connecting\n")
        // A board with a hardware random number generator takes this from it. The connection ID is no secret: it only names the
        // attempt in the hub's logs.
        let random = Board.jitter
        do throws(HubIdentityError) {
            let login = try HubLogin(
                identity,
                connectionID: HubLogin.connectionID(random: random),
                expiry: .never
            )
            configuration.userName = login.userName
            configuration.password = login.password
        } catch { Console.print("error=login\n") }
    }

    func connected(_ info: MQTTConnectionInfo) { Console.print("state=connected\n") }

    func disconnected(_ error: MQTTError, retryAt: Duration?) {
        switch error {
        case .connectionRefused(let reason):
            Console.print("error=refused-")
            Console.print(Int(reason.code.rawValue))
            Console.print("\n")
        case .transport: Console.print("error=transport\n")
        default: Console.print("error=mqtt\n")
        }
        Console.print("state=reconnecting\n")
    }

    func received(_ message: MQTTMessage) -> MQTTDisposition {
        let payload = message.payload
        guard let control = Control(payload.span) else {
            Console.print("error=bad-control\n")
            return .taken
        }
        received += 1
        interval = .milliseconds(control.interval)
        timer.start(after: interval, every: interval, handler: self)
        var reply = JSON()
        reply.add("type", "control_reply")
        reply.add("token", control.token)
        reply.add("interval", control.interval)
        _ = publish(reply.finish())
        say(roundTrip: nil)
        return .taken
    }

    func published(_ request: MQTTRequestID, code: MQTTReasonCode) {
        for index in reportIDs.indices where reportIDs[index] == request {
            reportIDs[index] = 0
            acknowledged += 1
            say(roundTrip: Board.ticks - sentAt[index])
        }
    }

    func subscribed(_ request: MQTTRequestID, codes: [UInt8]) {
        if codes[0] >= 0x80 { Console.print("error=control-refused\n") }
    }

    func subscriptionLost(filter: [UInt8], code: MQTTReasonCode) { Console.print("error=control-lost\n") }
}
