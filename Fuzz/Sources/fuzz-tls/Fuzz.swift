// Bytes that no peer would send, for both roles of TLS and DTLS and at each place of a handshake.
//
// The input's first byte chooses the role that is attacked, streams or datagrams, and a kind of handshake; its second byte the piece of the other end's conversation that is
// changed. The rest is what comes in its place, or, if its first bit is set, pairs of a place and a value to change the piece by.
import FuzzDriver

@testable import SecureTransport

private let contexts: [(TLSContext, TLSContext)] = {
    let key = SecretBytes(Array(1...16))
    var result: [(TLSContext, TLSContext)] = []
    for isDatagram in [false, true] {
        var client = TLSConfiguration(identity: .preSharedKey(identity: Array("device".utf8), key: key))
        client.sessions = nil
        client.suites = .legacyPreSharedKey
        var server = TLSServerConfiguration { _ in key }
        server.suites = .legacyPreSharedKey
        do {
            result.append(
                (try TLSContext(client, isDatagram: isDatagram), try TLSContext(server, isDatagram: isDatagram))
            )
        } catch { fatalError("\(error)") }
    }
    return result
}()

/// One end of a conversation.
private final class End {
    var engine: TLSEngine?
    var outgoing: [[UInt8]] = []
    private var isOpen = false
    private var isOver = false
    private let isDatagram: Bool
    private let isServer: Bool

    init(_ context: TLSContext) {
        isDatagram = context.isDatagram
        isServer = context.isServer
        do {
            engine = try TLSEngine(context, host: isServer ? [] : Array("localhost".utf8), port: 8883) {
                [unowned self] bytes in
                outgoing.append(bytes.indices.map { bytes[$0] })
                return bytes.count
            }
        } catch { fatalError("\(error)") }
        if isDatagram { engine?.useDatagrams(of: 1_400, clock: { .zero }, schedule: { _ in }) }
        if isServer { engine?.setPeer([1]) }
    }

    deinit { engine?.detach() }

    func advance() {
        guard let engine, !isOver else { return }
        do {
            while !isOpen {
                switch try engine.handshake() {
                case .done: isOpen = true
                case .unverified:
                    _ = engine.reset()
                    engine.setPeer([1])
                    return
                default: return
                }
            }
            while true {
                let outcome = try engine.read { $0.count }
                if outcome == .done { continue }
                if outcome == .ended { isOver = true }
                return
            }
        } catch { isOver = true }
    }

    func take(_ bytes: [UInt8]) {
        guard let engine, !isOver, !bytes.isEmpty else { return }
        var rest = bytes[...]
        repeat {
            let piece = Array(rest)
            let taken = engine.receive(piece.span) { advance() }
            guard taken > 0, !isDatagram else { return }
            rest = rest.dropFirst(taken)
        } while !rest.isEmpty && !isOver
    }
}

@main enum Main { static func main() { runFuzzer { fuzz($0, $1) } } }

private func fuzz(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    guard count > 3 else { return 0 }
    let input = Array(UnsafeBufferPointer(start: start, count: count))
    let (clientContext, serverContext) = contexts[Int(input[0] >> 1 & 1)]
    let client = End(clientContext)
    let server = End(serverContext)
    let attacked = input[0] & 1 == 0 ? client : server
    let place = Int(input[1] % 8)
    let rest = Array(input[3...])
    var number = 0
    client.advance()
    for _ in 0..<16 where !client.outgoing.isEmpty || !server.outgoing.isEmpty {
        for (from, to) in [(client, server), (server, client)] {
            let pieces = from.outgoing
            from.outgoing = []
            for var piece in pieces {
                if to === attacked {
                    if number == place {
                        if input[2] & 1 == 0 {
                            piece = rest
                        } else {
                            for index in stride(from: 0, to: rest.count - 1, by: 2) where !piece.isEmpty {
                                piece[Int(rest[index]) % piece.count] = rest[index + 1]
                            }
                        }
                    }
                    number += 1
                }
                to.take(piece)
            }
        }
    }
    return 0
}
