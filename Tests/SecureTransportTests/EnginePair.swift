import Kernel
import SAL

@testable import SecureTransport

/// A client's and a server's engine with nothing between them but bytes: no loop, no socket, no time.
final class EnginePair {
    enum Role: String, CaseIterable, Sendable { case client, server }

    /// One end, and what it has sent that the other has not got yet: pieces as it wrote them.
    final class End {
        var engine: TLSEngine?
        var outgoing: [[UInt8]] = []
        var isOpen = false
        var hasEnded = false
        var failure: SecureTransportError?
        var received: [[UInt8]] = []
        /// It stands still, unless somebody sets it, so that nothing is sent again.
        var time: Duration = .zero
        private let isDatagram: Bool
        private let address: [UInt8]?

        init(_ context: TLSContext) throws(SecureTransportError) {
            isDatagram = context.isDatagram
            address = context.isServer && context.isDatagram ? [10, 0, 0, 1, 1, 2] : nil
            engine = try TLSEngine(context, host: context.isServer ? [] : Array("localhost".utf8), port: 8883) {
                [unowned self] bytes in
                outgoing.append((0..<bytes.count).map { bytes[$0] })
                return bytes.count
            }
            if isDatagram { engine?.useDatagrams(of: 1_400, clock: { [unowned self] in time }, schedule: { _ in }) }
            if let address { engine?.setPeer(address) }
        }

        /// Goes on as far as it can.
        func advance() {
            guard let engine, failure == nil, !hasEnded else { return }
            do throws(SecureTransportError) {
                while !isOpen {
                    switch try engine.handshake() {
                    case .done: isOpen = true
                    case .unverified:
                        _ = engine.reset()
                        if let address { engine.setPeer(address) }
                        return
                    case .blocked, .held, .reconnects, .ended: return
                    }
                }
                while true {
                    var bytes: [UInt8]?
                    let outcome = try engine.read { read in
                        bytes = (0..<read.count).map { read[$0] }
                        return read.count
                    }
                    if let bytes { received.append(bytes) }
                    switch outcome {
                    case .done: continue
                    case .ended: hasEnded = true
                    case .blocked, .held, .unverified, .reconnects: break
                    }
                    return
                }
            } catch { failure = error }
        }

        /// Takes bytes from the other end, as long as it wants any.
        func take(_ bytes: [UInt8]) {
            guard let engine, failure == nil, !bytes.isEmpty || isDatagram else { return }
            if isDatagram, bytes.isEmpty { return }
            var position = 0
            repeat {
                let rest = Array(bytes[position...])
                let taken = engine.receive(rest.span) { advance() }
                position += taken
                if taken == 0 { return }
            } while position < bytes.count && failure == nil && !hasEnded && !isDatagram
        }

        func send(_ bytes: [UInt8]) throws(SecureTransportError) -> Int { try engine?.write(bytes.span) ?? 0 }
    }

    let client: End
    let server: End
    /// Changes what one end sends on its way to the other: its number from 0, and its bytes; returns what arrives.
    var fault: ((_ from: Role, _ number: Int, _ bytes: [UInt8]) -> [[UInt8]])?
    private(set) var counts = [Role.client: 0, .server: 0]

    init(_ client: TLSContext, _ server: TLSContext) throws(SecureTransportError) {
        self.client = try End(client)
        self.server = try End(server)
    }

    func end(_ role: Role) -> End { role == .client ? client : server }

    /// Carries bytes to and fro until nobody has any, or so many pieces have gone.
    func run(limit: Int = 200) {
        client.advance()
        server.advance()
        var left = limit
        while left > 0, !client.outgoing.isEmpty || !server.outgoing.isEmpty {
            left -= 1
            for role in [Role.client, .server] {
                let (from, to) = role == .client ? (client, server) : (server, client)
                let pieces = from.outgoing
                from.outgoing = []
                for piece in pieces {
                    let number = counts[role, default: 0]
                    counts[role] = number + 1
                    for part in fault?(role, number, piece) ?? [piece] { to.take(part) }
                }
            }
        }
    }

    // MARK: Configurations

    /// Kinds of handshakes.
    enum Kind: String, CaseIterable, Sendable {
        case key, certificates
        func contexts(isDatagram: Bool) throws(SecureTransportError) -> (TLSContext, TLSContext) {
            var (client, server) = configurations
            // Each time the same.
            client.sessions = nil
            server.sessionSeconds = 0
            return (try TLSContext(client, isDatagram: isDatagram), try TLSContext(server, isDatagram: isDatagram))
        }

        var configurations: (TLSConfiguration, TLSServerConfiguration) {
            switch self {
            case .key:
                let key = SecretBytes(Array(1...16))
                var client = TLSConfiguration(
                    identity: .preSharedKey(identity: Array("device".utf8), key: key),
                    suites: .legacyPreSharedKey
                )
                client.suites = .secure
                return (client, TLSServerConfiguration { _ in key })
            case .certificates:
                var client = TLSConfiguration(trust: TestPKI.trust)
                client.identity = .certificate(TestPKI.certificate("client"))
                var server = TLSServerConfiguration(certificates: [TestPKI.certificate("good-ec")])
                server.clientCertificates = .required(TestPKI.trust)
                return (client, server)
            }
        }
    }
}
