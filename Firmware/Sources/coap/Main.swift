// CoAP by way of a modem's UDP: it writes a body of several blocks, reads it back, and observes it until it changes.
//
// What it needs it is told in a line on the first UART: host=HOST port=PORT seed=64HEXDIGITS
import ATAdapter
import Board
import CoAPClient
import Kernel
import SAL

final class Program {
    private let connection: CoAPConnection
    private var observation: CoAPExchangeID?

    init(_ connection: CoAPConnection) { self.connection = connection }

    private static func request(_ method: CoAPCode, _ payload: [UInt8] = []) -> CoAPRequest {
        var options = CoAPOptions()
        options.addPath("board".utf8.span)
        return CoAPRequest(method, options: options, payload: payload)
    }

    private static func body(_ first: UInt8) -> [UInt8] {
        var body: [UInt8] = []
        for index in 0..<3_000 { body.append(UInt8(truncatingIfNeeded: index) &+ first) }
        return body
    }

    func run() {
        send(.put, Self.body(0)) { response in
            Self.say("put=", response)
            self.send(.get) { response in
                Self.say("get=", response)
                Console.print(response.payload == Self.body(0) ? "same\n" : "different\n")
                self.observe()
            }
        }
    }

    private func observe() {
        do throws(CoAPError) {
            observation = try connection.observe(
                Self.request(.get),
                notified: { response in
                    guard let response else { return }
                    Self.say("notified=", response)
                    if response.payload == Self.body(1) { self.finish() }
                },
                completion: { result in
                    if case .failure(.cancelled) = result { return Console.print("done\n") }
                    Console.print("error=observation\n")
                }
            )
            send(.put, Self.body(1)) { Self.say("put=", $0) }
        } catch { Console.print("error=observe\n") }
    }

    private func finish() { if let observation { connection.cancel(observation) } }

    private func send(_ method: CoAPCode, _ payload: [UInt8] = [], _ body: @escaping (CoAPResponse) -> Void) {
        do throws(CoAPError) {
            try connection.send(Self.request(method, payload)) { result in
                switch result {
                case .success(let response): body(response)
                case .failure: Console.print("error=coap\n")
                }
            }
        } catch { Console.print("error=request\n") }
    }

    private static func say(_ what: StaticString, _ response: CoAPResponse) {
        Console.print(what)
        Console.print(Int(response.code.codeClass))
        Console.print(".")
        Console.print(Int(response.code.detail))
        Console.print(" bytes=")
        Console.print(response.payload.count)
        Console.print("\n")
    }
}

@main enum Main {
    static func main() {
        let loop = Board.makeLoop()
        Console.print("ready\n")
        let words = Words(Console.readLine(limit: 200))
        guard let host = words.value(of: "host"), let port = words.number("port"), port < 65_536,
            let seed = words.bytes("seed"), seed.count == 32
        else {
            Console.print("error=bad-config\n")
            return
        }
        let modem = Modem(serial: UARTStream(loop: loop), loop: loop)
        var halves: [UInt64] = [0, 0]
        for (index, byte) in SeededNoise(seed: seed).next(16).enumerated() {
            halves[index / 8] = halves[index / 8] << 8 | UInt64(byte)
        }
        var configuration = CoAPConfiguration()
        configuration.openTimeout = .seconds(20)
        configuration.blockBytes = 256
        let connection = CoAPConnection(
            to: Endpoint(host: host, port: UInt16(port)),
            over: modem,
            configuration: configuration,
            seed: CoAPSeed(halves[0], halves[1])
        )
        let program = Program(connection)
        program.run()
        loop.run()
    }
}
