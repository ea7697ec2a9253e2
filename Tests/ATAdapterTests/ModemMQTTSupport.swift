import Kernel
import SAL

@testable import ATAdapter

/// A handler that keeps what it is told, in words and in bytes.
final class MQTTProbe: ModemMQTTHandler {
    var log: [String] = []
    var messages: [(topic: String, payload: [UInt8])] = []
    var firmware: [UInt8] = []
    /// What is done when it is connected.
    var whenConnected: () -> Void = {}

    func connected() {
        log.append("connected")
        whenConnected()
    }

    func disconnected(_ error: ModemMQTTError, retryAt: Duration?) {
        log.append("\(retryAt == nil ? "over" : "waits") \(error)")
    }

    func received(topic: Span<UInt8>, payload: Span<UInt8>) {
        let topic = topic.indices.map { topic[$0] }
        messages.append((String(decoding: topic, as: UTF8.self), payload.indices.map { payload[$0] }))
        log.append("message")
    }

    func messageLost() { log.append("message lost") }
    func published(_ request: ModemMQTTRequestID) { log.append("published \(request)") }
    func subscribed(_ request: ModemMQTTRequestID) { log.append("subscribed \(request)") }
    func unsubscribed(_ request: ModemMQTTRequestID) { log.append("unsubscribed \(request)") }
    func failed(_ request: ModemMQTTRequestID, _ error: ModemMQTTError) { log.append("failed \(request) \(error)") }
    func subscriptionLost(filter: [UInt8], _ error: ModemMQTTError) {
        log.append("subscription lost \(String(decoding: filter, as: UTF8.self)) \(error)")
    }
    func firmwareChanged(_ state: ModemFirmwareState) { log.append("firmware \(state)") }
    func listensForFirmware(_ request: ModemMQTTRequestID) { log.append("listens \(request)") }
    func firmwareInfo(_ request: ModemMQTTRequestID, _ info: ModemFirmwareInfo) {
        log.append("info \(request) \(String(decoding: info.version, as: UTF8.self)) \(info.bytes)")
    }
    func firmwareData(_ request: ModemMQTTRequestID, _ bytes: Span<UInt8>) {
        for index in bytes.indices { firmware.append(bytes[index]) }
    }
}

extension ModemMQTTIdentity {
    static func test() throws -> ModemMQTTIdentity {
        try ModemMQTTIdentity(
            productID: Array("CTQS08Y5LG".utf8),
            deviceName: Array("Dev01".utf8),
            secret: Array("ZHNkIGRzZCA=".utf8)
        )
    }
}

/// A modem at a script whose firmware has MQTT.
final class MQTTBench {
    let bench: ModemBench
    let mqtt: ModemMQTT
    let probe = MQTTProbe()
    /// What the firmware says to its commands in place of success.
    var answers: [String: String] = [:]

    init(
        cut: Cut = .whole,
        lineBytes: Int = 512,
        _ configure: (inout ModemMQTTConfiguration) -> Void = { _ in }
    ) throws {
        var configuration = ModemMQTTConfiguration()
        configuration.firstDelayMilliseconds = 10
        configuration.commandTimeoutMilliseconds = 1_000
        configure(&configuration)
        bench = ModemBench(.tencentESP8266, cut: cut) { $0.lineBytes = lineBytes }
        mqtt = try ModemMQTT(on: bench.modem, identity: .test(), configuration: configuration)
        bench.stream.answer = { [unowned self] in answer($0) }
        bench.stream.payloadAnswer = { [unowned self] _ in answers["payload"] ?? "+TCMQTTPUBL:OK\r\n" }
    }

    private func answer(_ line: String) -> String? {
        guard line.hasPrefix("AT+TC") else { return nil }
        let name = line.dropFirst(2).prefix { $0 != "=" && $0 != "?" }
        if let answer = answers[String(name)] { return answer }
        switch name {
        case "+TCMQTTDISCONN": return "+CME ERROR:208\r\n"
        case "+TCMQTTPUBL", "+TCMQTTPUBRAW": return "OK\r\n>\r\n"
        case "+TCMQTTSTATE": return "+TCMQTTSTATE:1\r\nOK\r\n"
        default: return "OK\r\n\(name):OK\r\n"
        }
    }

    /// The firmware's commands so far, and payloads.
    var commands: [String] {
        bench.stream.lines.filter { $0.hasPrefix("AT+TC") || $0.hasPrefix("<") }.map {
            $0.hasPrefix("AT+TC") ? String($0.dropFirst(3)) : $0
        }
    }

    /// Connects, and forgets the commands for that.
    func connect() -> Bool {
        mqtt.connect(handler: probe)
        guard bench.run(until: { mqtt.isConnected && probe.log.last == "connected" }) else { return false }
        bench.stream.lines = []
        probe.log = []
        return true
    }

    @discardableResult
    func publish(
        _ payload: String,
        to topic: String = "CTQS08Y5LG/Dev01/event",
        qos: ModemMQTTQoS = .atLeastOnce
    ) throws -> ModemMQTTRequestID {
        try mqtt.publish(topic: topic.utf8.span, payload: payload.utf8.span, qos: qos)
    }

    @discardableResult
    func subscribe(_ filter: String = "CTQS08Y5LG/Dev01/control") throws -> ModemMQTTRequestID {
        try mqtt.subscribe(to: filter.utf8.span)
    }

    /// Waits until the handler was told `text`.
    func hears(_ text: String) -> Bool { bench.run(until: { probe.log.contains(text) }) }
}

/// The modem of a transcript: it takes what the host says there, byte for byte, and answers.
final class TranscriptStream: ByteStream, EndOfTurnHandler {
    var handler: (any ByteStreamHandler)?
    /// Where the host said something else.
    private(set) var deviation: String?
    private var steps: ArraySlice<Transcript.Step>
    private var due: ArraySlice<UInt8> = []
    private var said: [UInt8] = []
    private var pending: [[UInt8]] = []
    private var cutter: Cutter
    private lazy var turnEnd = EndOfTurn(on: loop)
    private let loop: EventLoop

    init(_ transcript: Transcript, loop: EventLoop, cut: Cut) {
        steps = transcript.steps[...]
        self.loop = loop
        cutter = Cutter(cut)
    }

    var isOver: Bool { steps.isEmpty && due.isEmpty && pending.isEmpty }

    func send(_ bytes: Span<UInt8>) -> Int {
        for index in bytes.indices { take(bytes[index]) }
        return bytes.count
    }

    private func take(_ byte: UInt8) {
        said.append(byte)
        if due.isEmpty, case .host(let bytes)? = steps.first {
            due = bytes[...]
            steps.removeFirst()
        }
        guard due.first == byte else {
            let said = String(decoding: said.suffix(60), as: UTF8.self)
            deviation = deviation ?? "\(said), where \(String(decoding: due, as: UTF8.self)) was due"
            return
        }
        due.removeFirst()
        guard due.isEmpty else { return }
        while let step = steps.first {
            switch step {
            case .host: return
            case .pause: break
            case .modem(let bytes): pending += cutter.pieces(of: bytes)
            }
            steps.removeFirst()
            turnEnd.request(self)
        }
    }

    func endOfTurn() {
        let pieces = pending
        pending = []
        for piece in pieces { _ = handler?.received(piece.span) }
    }

    func resumeReceiving() {}
    func close() {}
    func abort() {}
}
