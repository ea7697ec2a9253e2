import CPeers
import Glibc
import Synchronization

/// Counts acknowledgements, and lets the publisher wait until fewer than the window are under way.
final class Window: @unchecked Sendable {
    private let acknowledged = Atomic<Int>(0)
    private let semaphore: UnsafeMutablePointer<sem_t> = .allocate(capacity: 1)
    init(_ size: Int) { sem_init(semaphore, 0, UInt32(size)) }
    deinit { semaphore.deallocate() }
    func enter() { while sem_wait(semaphore) != 0 {} }
    func leave() { sem_post(semaphore) }
}

func synchronously(_ peer: String, _ scenario: Scenario, _ body: () -> Void) -> Result {
    let (cpu, start) = (cpuSeconds(), ContinuousClock.now)
    body()
    let elapsed = (ContinuousClock.now - start).components
    let seconds = Double(elapsed.seconds) + Double(elapsed.attoseconds) / 1e18
    return Result(
        peer: peer,
        cpuMicroseconds: (cpuSeconds() - cpu) * 1e6 / Double(scenario.count),
        messagesPerSecond: Double(scenario.count) / seconds
    )
}

/// Debian's libmosquitto, single thread, as its own command-line client uses it.
func mosquitto(_ scenario: Scenario, port: UInt16) -> Result {
    final class State { var underWay = 0; var isConnected = false }
    mosquitto_lib_init()
    let state = State()
    let client = mosquitto_new("bench", true, Unmanaged.passUnretained(state).toOpaque())
    mosquitto_connect_callback_set(client) { _, context, _ in
        if let context { Unmanaged<State>.fromOpaque(context).takeUnretainedValue().isConnected = true }
    }
    mosquitto_publish_callback_set(client) { _, context, _ in
        if let context { Unmanaged<State>.fromOpaque(context).takeUnretainedValue().underWay -= 1 }
    }
    mosquitto_int_option(client, MOSQ_OPT_TCP_NODELAY, 1)
    mosquitto_max_inflight_messages_set(client, 0)
    mosquitto_connect(client, "127.0.0.1", Int32(port), 60)
    while !state.isConnected { mosquitto_loop(client, 100, 1) }
    let result = synchronously("libmosquitto", scenario) {
        for _ in 0..<scenario.count {
            while state.underWay >= scenario.window { mosquitto_loop(client, 100, 1) }
            state.underWay += 1
            mosquitto_publish(
                client,
                nil,
                Bench.topic,
                Int32(scenario.payload.count),
                scenario.payload,
                scenario.qos,
                false
            )
        }
        while state.underWay > 0 { mosquitto_loop(client, 100, 1) }
    }
    mosquitto_disconnect(client)
    mosquitto_loop(client, 10, 1)
    mosquitto_destroy(client)
    withExtendedLifetime(state) {}
    return result
}

/// Debian's Paho C, asynchronous.
func paho(_ scenario: Scenario, port: UInt16) -> Result {
    var client: MQTTAsync?
    MQTTAsync_create(&client, "tcp://127.0.0.1:\(port)", "bench", Int32(MQTTCLIENT_PERSISTENCE_NONE), nil)
    let window = Window(scenario.window)
    let context = Unmanaged.passUnretained(window).toOpaque()
    MQTTAsync_setCallbacks(
        client,
        context,
        nil,
        { _, _, _, message in
            var message = message
            MQTTAsync_freeMessage(&message)
            return 1
        },
        nil
    )
    var options = peers_paho_connect_options()
    options.maxInflight = 65_535
    let connected = Window(0)
    options.context = Unmanaged.passUnretained(connected).toOpaque()
    options.onSuccess = { context, _ in
        if let context { Unmanaged<Window>.fromOpaque(context).takeUnretainedValue().leave() }
    }
    MQTTAsync_connect(client, &options)
    connected.enter()
    let result = synchronously("Paho", scenario) {
        var response = peers_paho_response_options()
        response.context = context
        response.onSuccess = { context, _ in
            if let context { Unmanaged<Window>.fromOpaque(context).takeUnretainedValue().leave() }
        }
        for _ in 0..<scenario.count {
            window.enter()
            while MQTTAsync_send(
                client,
                Bench.topic,
                Int32(scenario.payload.count),
                scenario.payload,
                scenario.qos,
                0,
                &response
            ) != 0 { usleep(100) }
        }
        for _ in 0..<scenario.window { window.enter() }
    }
    var bye = MQTTAsync_disconnectOptions()
    bye.struct_id = (
        CChar(UInt8(ascii: "M")), CChar(UInt8(ascii: "Q")), CChar(UInt8(ascii: "T")), CChar(UInt8(ascii: "D"))
    )
    bye.timeout = 100
    MQTTAsync_disconnect(client, &bye)
    usleep(50_000)
    MQTTAsync_destroy(&client)
    withExtendedLifetime((window, connected)) {}
    return result
}
