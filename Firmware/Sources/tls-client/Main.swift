// A TLS client over the second UART, at whose other end is a server: it says hello, prints what it is answered, and ends when the server does.
//
// What it needs it is told in a line on the first UART:
//     psk identity=TEXT key=HEX seed=HEX
//     certificate name=HOST anchor=HEX seed=HEX          (in the image with certificates; DER)
import Board
import Kernel
import SAL
import SecureTransport

final class Client: ByteStreamHandler {
    let loop: EventLoop
    var stream: (any ByteStream)?

    init(_ loop: EventLoop) { self.loop = loop }

    func opened() {
        Console.print("secured heap=")
        Console.print(Board.leastFreeHeapBytes)
        Console.print(" ms=")
        Console.print(Board.ticks)
        Console.print("\n")
        var hello: [UInt8] = []
        for byte in [0x68, 0x65, 0x6C, 0x6C, 0x6F, 0x0A] as [UInt8] { hello.append(byte) }
        _ = stream?.send(hello.span)
    }

    func received(_ bytes: Span<UInt8>) -> Int {
        for index in bytes.indices { Console.print(copy(bytes, index, index + 1)) }
        return bytes.count
    }

    func writable() {}

    func closed(_ error: SocketError?) {
        Console.print(error == nil ? "end=clean\n" : "end=error\n")
        loop.stop()
    }
}

@main enum Main {
    static func main() {
        let loop = Board.makeLoop()
        let line = UARTNetwork(loop: loop)
        Console.print("ready\n")
        while true {
            let words = Words(Console.readLine(limit: 4_096))
            do throws(SecureTransportError) {
                guard let configuration = configuration(words) else {
                    Console.print("error=bad-config\n")
                    continue
                }
                let network = try SecureNetwork(over: line, configuration) { error, _ in tell(error) }
                let client = Client(loop)
                client.stream = network.connect(
                    to: Endpoint(host: words.value(of: "name") ?? [], port: 443),
                    deadline: loop.now + .seconds(30),
                    handler: client
                )
                loop.run()
                Board.exit(failed: false)
            } catch { tell(error) }
        }
    }

    private static func configuration(_ words: Words) -> TLSConfiguration? {
        guard let seed = words.bytes("seed"), seed.count == 32 else { return nil }
        let noise = SeededNoise(seed: seed)
        guard let random = try? SecureRandom(noise: { noise.next($0) }) else { return nil }
        if let key = words.bytes("key"), let identity = words.value(of: "identity") {
            return TLSConfiguration(
                preSharedKey: SecretBytes(key),
                identity: identity,
                suites: .legacyPreSharedKey,
                random: random
            )
        }
        #if CERTIFICATES
        if let anchor = words.bytes("anchor") { return TLSConfiguration(anchors: anchor, random: random) }
        #endif
        return nil
    }

    private static func tell(_ error: SecureTransportError) {
        switch error {
        case .alertReceived(let alert):
            Console.print("error=alert-")
            Console.print(Int(alert.rawValue))
        case .protocolFailure(let code), .badConfiguration(_, let code):
            Console.print("error=code")
            Console.print(Int(code))
        #if CERTIFICATES
        case .certificateRejected(let rejection):
            Console.print("error=certificate-")
            Console.print(Int(rejection.problems.rawValue))
        #endif
        case .truncated: Console.print("error=truncated")
        case .timedOut: Console.print("error=timed-out")
        default: Console.print("error=other")
        }
        Console.print("\n")
    }
}
