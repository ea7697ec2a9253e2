internal import Kernel
internal import MQTTClient

/// Random numbers that a seed repeats.
public struct ModelRandom: RandomNumberGenerator {
    private var state: UInt64
    /// The numbers of `seed`.
    public init(seed: UInt64) { state = seed }
    /// The next number.
    public mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var value = state
        value = (value ^ (value >> 30)) &* 0xBF58_476D_1CE4_E5B9
        value = (value ^ (value >> 27)) &* 0x94D0_49BB_1331_11EB
        return value ^ (value >> 31)
    }
}

/// A session, a server that keeps to the rules of QoS, and a network between them that cuts, delays and breaks: what happens is random, and what must hold is checked
/// (MQTT 5.0, 4.3 and 4.4). The server answers in any order, and repeats itself.
public final class SessionModel {
    /// What a message from the server is doing.
    private struct Outgoing {
        let packetID: UInt16
        let qos: UInt8
        let number: Int
        var isReleased = false
        var wasSentNow = false
    }

    private var random: ModelRandom
    private var session: MQTTSession
    private let isVersion5: Bool
    private let receiveMaximum: Int
    private let losesSessions: Bool

    // The server.
    private var isConnected = false
    private var hasSession = false
    private var input: [UInt8] = []
    private var answers: [[UInt8]] = []
    private var unreleased: [UInt16: Int] = [:]
    private var outgoing: [Outgoing] = []
    private var nextPacketID: UInt16 = 0
    private var clientUnderWay = 0

    // What is checked.
    private var published: [MQTTRequestID: (number: Int, qos: UInt8)] = [:]
    private var numberCount = 0
    /// How often the server has got a message of the client, and whether the client was told so.
    private var arrivals: [Int: Int] = [:]
    private var qosOf: [Int: UInt8] = [:]
    private var lastArrival: [UInt8: Int] = [:]
    private var receipts: [(MQTTReceipt, Int)] = []
    private var deliveries: [Int: Int] = [:]
    private var serverNumberCount = 0
    private var now = Duration.zero
    private var sessionLosses = 0
    /// What went wrong.
    public private(set) var failures: [String] = []
    /// How many messages have made it each way.
    public private(set) var completedCount = 0
    /// How many messages of the server were delivered.
    public private(set) var deliveredCount = 0

    /// A model whose events are those of `seed`. Unless it `losesSessions`, the server keeps the session over all breaks.
    public init(seed: UInt64, isVersion5: Bool, losesSessions: Bool) {
        random = ModelRandom(seed: seed)
        self.isVersion5 = isVersion5
        self.losesSessions = losesSessions
        receiveMaximum = 1 + Int(seed % 7)
        var configuration = MQTTConfiguration(clientID: [0x6D])
        configuration.version = isVersion5 ? .v5_0 : .v3_1_1
        configuration.cleanStart = false
        configuration.sessionExpirySeconds = isVersion5 ? .max : 0
        configuration.receiveMaximum = 5
        configuration.queue.requests = 20
        configuration.outgoingTopicAliases = 2
        session = MQTTSession(configuration)
    }

    private func chance(_ percent: Int) -> Bool { Int.random(in: 0..<100, using: &random) < percent }

    private func expect(_ condition: Bool, _ text: @autoclosure () -> String) {
        if !condition { failures.append(text()) }
    }

    /// Runs `steps` random events, then lets all that is under way end, and checks that nothing is lost.
    public func run(steps: Int) {
        for _ in 0..<steps where failures.count < 5 { step() }
        settle()
    }

    private func step() {
        now += .milliseconds(Int.random(in: 0..<200, using: &random))
        switch Int.random(in: 0..<100, using: &random) {
        case 0..<25: publish()
        case 25..<50: transfer(whole: false)
        case 50..<70: answer()
        case 70..<82: serverPublishes()
        case 82..<95: acknowledge()
        case 95..<97: if isConnected { breakConnection() }
        default: do throws(MQTTError) { try session.handleTimeout(at: now) } catch { breakConnection() }
        }
        if !isConnected, chance(60) { connect() }
    }

    /// All that is under way ends.
    private func settle() {
        for _ in 0..<20_000 where failures.count < 5 {
            if !isConnected { connect() }
            transfer(whole: true)
            answer()
            acknowledge()
            sendAgain()
            if session.waitingCount == 0, outgoing.isEmpty, answers.isEmpty, receipts.isEmpty, input.isEmpty { break }
        }
        expect(session.waitingCount == 0, "\(session.waitingCount) requests never ended")
        expect(outgoing.isEmpty, "\(outgoing.count) messages of the server never ended")
        expect(published.isEmpty, "\(published.count) publishes were never told of")
        guard sessionLosses == 0 else { return }
        for (number, qos) in qosOf {
            if qos > 0 { expect(arrivals[number, default: 0] >= 1, "message \(number) was lost") }
            if qos == 2 {
                expect(arrivals[number, default: 0] == 1, "message \(number) came \(arrivals[number] ?? 0) times")
            }
        }
    }

    // MARK: The client's side

    private func publish() {
        let qos = UInt8.random(in: 0...2, using: &random)
        numberCount += 1
        let number = numberCount
        let payload = Self.bytes(number)
        let topic: [UInt8] = [0x74, 0x30 + UInt8(number % 4)]
        do throws(MQTTError) {
            let request = try session.publish(
                topic: topic.span,
                payload: payload.span,
                qos: QoS(rawValue: qos) ?? .atMostOnce,
                isRetained: false,
                at: now
            )
            qosOf[number] = qos
            if let request { published[request] = (number, qos) }
        } catch {
            switch error {
            case .queueFull, .notConnected: break
            default: failures.append("publish: \(error)")
            }
        }
    }

    private func connect() {
        if losesSessions, hasSession, chance(10) {
            hasSession = false
            sessionLosses += 1
        }
        do throws(MQTTError) { try session.connect(at: now) } catch { failures.append("connect: \(error)") }
        isConnected = true
        input = []
        answers = []
        clientUnderWay = 0
        session.withOutgoing({ span in span.count }, at: now)
        if !hasSession {
            unreleased = [:]
            outgoing = []
            lastArrival = [:]
        }
        for index in outgoing.indices { outgoing[index].wasSentNow = false }
        var connack: [UInt8] = [0x20, isVersion5 ? 9 : 2, hasSession ? 1 : 0, 0]
        // Receive maximum and topic alias maximum.
        if isVersion5 { connack += [6, 0x21, 0, UInt8(receiveMaximum), 0x22, 0, 2] }
        hasSession = true
        deliver(connack)
        // The server sends again what was not acknowledged, in its order.
        for index in outgoing.indices { send(index) }
    }

    private func breakConnection() {
        isConnected = false
        session.transportClosed()
    }

    private func acknowledge() {
        guard !receipts.isEmpty else { return }
        let index = Int.random(in: 0..<receipts.count, using: &random)
        session.acknowledge(receipts.remove(at: index).0)
    }

    private func handle(_ event: MQTTSession.Event) {
        switch event {
        case .nothing, .connected: break
        case .message(let message):
            var number = 0
            for byte in message.payload { number = number << 8 | Int(byte) }
            deliveries[number, default: 0] += 1
            deliveredCount += 1
            if message.qos == .exactlyOnce, sessionLosses == 0 {
                expect(deliveries[number] == 1, "message \(number) of the server was delivered twice")
            }
            if message.qos != .atMostOnce { receipts.append((message.receipt, number)) }
        case .published(let request, _):
            guard let (number, _) = published.removeValue(forKey: request) else {
                return failures.append("request \(request) was acknowledged twice")
            }
            completedCount += 1
            if sessionLosses == 0 {
                expect(arrivals[number, default: 0] >= 1, "message \(number) was acknowledged and has not arrived")
            }
        case .failed(let request, let error): failures.append("request \(request): \(error)")
        case .subscribed, .subscriptionLost, .unsubscribed, .reauthenticated: failures.append("\(event)")
        }
    }

    // MARK: The network

    /// Bytes of the client reach the server: a few, or all.
    private func transfer(whole: Bool) {
        guard isConnected else { return }
        var limit = whole ? Int.max : Int.random(in: 0..<60, using: &random)
        session.withOutgoing(
            { [self] span in
                let count = min(limit, span.count)
                limit -= count
                for index in 0..<count { input.append(span[index]) }
                return count
            },
            at: now
        )
        while let event = session.nextEvent() { handle(event) }
        while let packet = nextPacket() { receive(packet) }
    }

    private func nextPacket() -> [UInt8]? {
        guard input.count >= 2, input.count >= 2 + Int(input[1]) else { return nil }
        let packet = Array(input[..<(2 + Int(input[1]))])
        input.removeFirst(packet.count)
        return packet
    }

    /// Bytes of the server reach the client, cut anywhere.
    private func deliver(_ packet: [UInt8]) {
        var rest = packet[...]
        while !rest.isEmpty, isConnected {
            let piece = rest.prefix(Int.random(in: 1...packet.count, using: &random))
            var offered = piece
            while !offered.isEmpty, isConnected {
                do throws(MQTTError) {
                    let (taken, event) = try session.receive(offered.span, at: now)
                    offered = offered.dropFirst(taken)
                    handle(event)
                } catch {
                    failures.append("the client threw \(error) at \(packet)")
                    breakConnection()
                }
            }
            rest = rest.dropFirst(piece.count)
        }
        while let event = session.nextEvent() { handle(event) }
    }

    // MARK: The server's side

    private func answer() {
        guard isConnected, !answers.isEmpty else { return }
        let index = Int.random(in: 0..<answers.count, using: &random)
        let packet = answers.remove(at: index)
        // The last answer to a message makes room for another.
        if packet[0] == 0x40 || packet[0] == 0x70 { clientUnderWay -= 1 }
        deliver(packet)
        // A server that repeats itself.
        if chance(5), packet[0] != 0x50 { deliver(packet) }
    }

    private func receive(_ packet: [UInt8]) {
        let packetID = packet.count >= 4 ? UInt16(packet[2]) << 8 | UInt16(packet[3]) : 0
        switch packet[0] >> 4 {
        case 3: receivePublish(packet)
        case 4, 5:
            guard let index = outgoing.firstIndex(where: { $0.packetID == packetID }) else {
                return failures.append("the client acknowledged what it was not sent: \(packet)")
            }
            expect(outgoing[index].qos == (packet[0] >> 4 == 4 ? 1 : 2), "the wrong acknowledgement: \(packet)")
            expect(outgoing[index].wasSentNow, "acknowledged before it was sent again: \(packet)")
            // The order of arrival (4.6).
            let earlier = outgoing[..<index].filter { $0.qos == outgoing[index].qos && !$0.isReleased && $0.wasSentNow }
            expect(earlier.isEmpty, "acknowledged out of order: \(packet)")
            if packet[0] >> 4 == 4 {
                outgoing.remove(at: index)
            } else {
                outgoing[index].isReleased = true
                answers.append([0x62, 2, packet[2], packet[3]])
            }
        case 6:
            let completed = unreleased.removeValue(forKey: packetID)
            if let completed { arrive(completed, 2) }
            answers.append([0x70, 2, packet[2], packet[3]])
        case 7: outgoing.removeAll { $0.packetID == packetID && $0.isReleased }
        case 12: answers.append([0xD0, 0])
        default: failures.append("the client sent \(packet)")
        }
    }

    private func receivePublish(_ packet: [UInt8]) {
        let qos = packet[0] >> 1 & 3
        let topicEnd = 4 + Int(packet[3])
        var position = topicEnd
        var packetID: UInt16 = 0
        if qos > 0 {
            packetID = UInt16(packet[position]) << 8 | UInt16(packet[position + 1])
            position += 2
        }
        if isVersion5 { position += 1 + Int(packet[position]) }
        let number = packet[position...].reduce(0) { $0 << 8 | Int($1) }
        if isVersion5, qos > 0 {
            clientUnderWay += 1
            expect(clientUnderWay <= receiveMaximum, "more than \(receiveMaximum) messages are under way")
        }
        switch qos {
        case 0: arrive(number, 0)
        case 1:
            arrive(number, 1)
            answers.append([0x40, 2, UInt8(packetID >> 8), UInt8(packetID & 255)])
        default:
            if let known = unreleased[packetID] {
                expect(known == number, "packet identifier \(packetID) was used for another message")
            }
            unreleased[packetID] = number
            answers.append([0x50, 2, UInt8(packetID >> 8), UInt8(packetID & 255)])
        }
    }

    private func arrive(_ number: Int, _ qos: UInt8) {
        arrivals[number, default: 0] += 1
        // Messages of one guarantee arrive first in the order in which they were published (4.6); those that are released come in the order of that.
        if arrivals[number] == 1, qos == 1 {
            expect(number > lastArrival[qos, default: 0], "message \(number) came after \(lastArrival[qos] ?? 0)")
            lastArrival[qos] = number
        }
    }

    private func serverPublishes() {
        guard isConnected, outgoing.count < 5, receipts.count < 5 else { return }
        serverNumberCount += 1
        let qos = UInt8.random(in: 0...2, using: &random)
        if qos == 0 {
            return deliver(publish(qos: 0, packetID: 0, number: serverNumberCount, isDuplicate: false))
        }
        repeat { nextPacketID = nextPacketID % 9 + 1 } while outgoing.contains { $0.packetID == nextPacketID }
        outgoing.append(Outgoing(packetID: nextPacketID, qos: qos, number: serverNumberCount))
        send(outgoing.count - 1)
    }

    private func send(_ index: Int) {
        guard isConnected, index < outgoing.count else { return }
        let message = outgoing[index]
        outgoing[index].wasSentNow = true
        if message.isReleased {
            answers.append([0x62, 2, 0, UInt8(message.packetID)])
        } else {
            deliver(
                publish(
                    qos: message.qos,
                    packetID: message.packetID,
                    number: message.number,
                    isDuplicate: deliveries[message.number] != nil
                )
            )
        }
    }

    /// A server may send what is released again at a reconnect only, so nothing is done here but for what the client has not been sent yet.
    private func sendAgain() {
        for index in outgoing.indices where !outgoing[index].wasSentNow { send(index) }
    }

    private func publish(qos: UInt8, packetID: UInt16, number: Int, isDuplicate: Bool) -> [UInt8] {
        var body: [UInt8] = [0, 1, 0x73]
        if qos > 0 { body += [UInt8(packetID >> 8), UInt8(packetID & 255)] }
        if isVersion5 { body.append(0) }
        body += Self.bytes(number)
        return [0x30 | qos << 1 | (isDuplicate && qos > 0 ? 8 : 0), UInt8(body.count)] + body
    }

    private static func bytes(_ number: Int) -> [UInt8] {
        [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: number >> $0) }
    }
}
