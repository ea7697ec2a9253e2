// A device behind an ESP-AT modem: it logs in to the hub with its key, reports at an interval, and does what the hub says.
//
// Who it is and where the hub is, it is told in a line on the first UART:
//     config host=ADDRESS port=N product=ID device=NAME secret=BASE64 interval=MS
import ATAdapter
import Board
import Kernel
import MQTTClient
import SAL

@main enum Main {
    static func main() {
        let loop = Board.makeLoop()
        Console.print("ready\n")
        while true {
            let line = Console.readLine()
            if let settings = Settings(line.span) { run(settings, on: loop) }
            Console.print("error=bad-config\n")
        }
    }

    private static func run(_ settings: Settings, on loop: EventLoop) -> Never {
        var limits = ModemConfiguration()
        limits.sendBufferBytes = 1_024
        limits.sendChunkBytes = 512
        limits.readChunkBytes = 512
        limits.receiveBufferBytes = 1_024
        let modem = Modem(serial: UARTStream(loop: loop), loop: loop, configuration: limits)
        let device = Device(settings, modem: modem)
        device.start()
        loop.run()
        Board.exit(failed: true)
    }
}
