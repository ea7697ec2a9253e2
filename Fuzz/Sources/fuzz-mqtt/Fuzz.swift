// What a server may send, and what it may not, to a session in all its states: the decoder of every packet of 3.1.1 and 5.0, and what the session makes of it.
//
// The input's first byte chooses the version and what the session has under way. Each of the following pieces starts with its length; it is what arrives, in one
// piece or cut in two. Between them the session does what a client does.
import FuzzDriver

@testable import MQTTClient

private let topic: [UInt8] = [0x61]

private func start(_ choice: UInt8) -> MQTTSession {
    var configuration = MQTTConfiguration(clientID: [0x63])
    configuration.version = choice & 1 == 0 ? .v3_1_1 : .v5_0
    configuration.cleanStart = choice & 2 == 0
    configuration.sessionExpirySeconds = choice & 1 == 0 ? 0 : 100
    configuration.maximumPacketBytes = 1_000
    configuration.receiveMaximum = 4
    configuration.outgoingTopicAliases = 2
    configuration.queue.requests = 20
    var session = MQTTSession(configuration)
    do {
        try session.connect(at: .zero)
        session.withOutgoing({ $0.count }, at: .zero)
        if choice & 4 == 0 {
            let answer: [UInt8] = choice & 1 == 0 ? [0x20, 2, 0, 0] : [0x20, 6, 0, 0, 3, 0x22, 0, 2]
            _ = try session.receive(answer.span, at: .zero)
        }
        if choice & 8 != 0 {
            for qos in [QoS.atLeastOnce, .exactlyOnce, .exactlyOnce] {
                _ = try session.publish(topic: topic.span, payload: topic.span, qos: qos, isRetained: false)
            }
            _ = try session.subscribe(to: topic.span)
            _ = try session.unsubscribe(from: topic.span)
        }
    } catch { fatalError("\(error)") }
    session.withOutgoing({ $0.count }, at: .zero)
    return session
}

@main enum Main { static func main() { runFuzzer { fuzz($0, $1) } } }

private func fuzz(_ data: UnsafePointer<UInt8>?, _ size: Int) -> CInt {
    guard let data, size > 1 else { return 0 }
    let input = Array(UnsafeBufferPointer(start: data, count: size))
    var session = start(input[0])
    var position = 1
    var receipts: [MQTTReceipt] = []
    var now = Duration.zero
    while position < input.count {
        let control = input[position]
        let count = min(Int(control & 0x3F), input.count - position - 1)
        let piece = Array(input[(position + 1)..<(position + 1 + count)])
        position += 1 + count
        now += .milliseconds(300)
        if control & 0x40 != 0, let receipt = receipts.popLast() { session.acknowledge(receipt) }
        var rest = piece[...]
        while !rest.isEmpty {
            let offered = control & 0x80 != 0 ? rest.prefix(1) : rest
            do {
                let (taken, event) = try session.receive(offered.span, at: now)
                precondition(taken > 0 && taken <= offered.count)
                rest = rest.dropFirst(taken)
                if case .message(let message) = event {
                    _ = message.properties.userProperties
                    _ = message.properties.subscriptionIdentifiers
                    if message.receipt.packetID != 0 { receipts.append(message.receipt) }
                    precondition(message.topic.count + message.payload.count <= 1_000)
                }
            } catch {
                // It says why, and begins anew.
                session.withOutgoing({ $0.count }, at: now)
                session.transportClosed()
                do { try session.connect(at: now) } catch { fatalError("\(error)") }
                rest = []
            }
        }
        while session.nextEvent() != nil {}
        session.withOutgoing({ $0.count }, at: now)
        do { try session.handleTimeout(at: now) } catch {
            session.transportClosed()
            do { try session.connect(at: now) } catch { fatalError("\(error)") }
        }
        precondition(session.waitingCount <= 20)
    }
    return 0
}
