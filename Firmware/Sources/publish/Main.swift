// Firmware that publishes a message every ten seconds by way of a modem: the program of the README.
import ATAdapter
import Board
import Kernel
import MQTTClient
import SAL

final class Publisher: MQTTConnectionHandler, TimerHandler {
    let connection: MQTTConnection
    init(_ connection: MQTTConnection) { self.connection = connection }

    func timerFired(_ timer: Timer) {
        let (topic, payload) = (Array("board/status".utf8), Array("alive".utf8))
        do throws(MQTTError) { _ = try connection.publish(topic: topic.span, payload: payload.span) } catch {
            Console.print("the queue is full\n")
        }
    }
}

@main enum Main {
    static func main() {
        let loop = Board.makeLoop()
        let modem = Modem(serial: UARTStream(loop: loop), loop: loop)
        let server = Endpoint(host: "192.168.1.10", port: 1883)
        let configuration = MQTTConfiguration(clientID: Array("board".utf8))
        let connection = MQTTConnection(to: server, over: modem, configuration: configuration)
        let publisher = Publisher(connection)
        connection.connect(handler: publisher)
        Timer(on: loop).start(after: .seconds(10), every: .seconds(10), handler: publisher)
        loop.run()
    }
}
