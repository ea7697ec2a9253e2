// MQTT in straight-line code by way of a modem: it publishes to itself with each guarantee, prints what comes back, and says goodbye.
//
// Where the server is, it is told in a line on the first UART: HOST PORT
import ATAdapter
import Board
import Kernel
import MQTTClient
import SAL

@main enum Main {
    static func main() {
        let loop = Board.makeLoop()
        Console.print("ready\n")
        guard let server = endpoint(Console.readLine(limit: 80)) else {
            Console.print("error=no-server\n")
            return
        }
        let modem = Modem(serial: UARTStream(loop: loop), loop: loop)
        var configuration = MQTTConfiguration(clientID: Array("straight".utf8))
        configuration.connectTimeout = .seconds(20)
        let connection = MQTTConnection(to: server, over: modem, configuration: configuration)
        let client = MQTTBlockingClient(connection)
        do throws(MQTTError) {
            try client.connect()
            Console.print("connected\n")
            let topic = Array("board/straight".utf8)
            try client.subscribe(to: topic.span, options: MQTTSubscriptionOptions(.exactlyOnce))
            for qos in [QoS.atMostOnce, .atLeastOnce, .exactlyOnce] {
                let payload: [UInt8] = [0x30 + qos.rawValue]
                try client.publish(topic: topic.span, payload: payload.span, qos: qos)
            }
            while let message = try client.receive(.seconds(2)) {
                Console.print("received=")
                Console.print(Int(message.payload[message.payload.startIndex]) - 0x30)
                Console.print("\n")
            }
            client.disconnect()
            Console.print("done\n")
        } catch { Console.print("error=mqtt\n") }
    }

    /// A host and a port with a space in between.
    private static func endpoint(_ line: [UInt8]) -> Endpoint? {
        guard let space = line.firstIndex(of: 0x20) else { return nil }
        var port: UInt16 = 0
        for byte in line[(space + 1)...] where byte >= 0x30 && byte <= 0x39 { port = port &* 10 &+ UInt16(byte - 0x30) }
        return port > 0 ? Endpoint(host: Array(line[..<space]), port: port) : nil
    }
}
