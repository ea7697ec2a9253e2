// A device behind a modem: it logs in to the hub with its key, reports at an interval, and does what the hub says.
//
// Who it is and where the hub is, it is told in a line on the first UART:
//     config host=ADDRESS port=N product=ID device=NAME secret=BASE64 interval=MS seed=HEX
// In the image with TLS it shows its key in the handshake, and `seed` is 32 bytes that its random numbers are made from; without, it signs its login.
public import ATAdapter
import Board
import Kernel
import MQTTClient
import SAL
#if TLS
import QCloudIoTHub
import SecureTransport
#endif

/// What the images `main-job`, which has the driver of an ESP-AT, and `main-job-quectel` do.
public enum MainJob {
    /// Does it, with a modem that `driver` is for.
    public static func run(_ driver: ModemDriver) -> Never {
        let loop = Board.makeLoop()
        Console.print("ready\n")
        while true {
            let line = Console.readLine(limit: 512)
            if let settings = Settings(line) { run(driver, settings, on: loop) }
            Console.print("error=bad-config\n")
        }
    }

    private static func run(_ driver: ModemDriver, _ settings: Settings, on loop: EventLoop) -> Never {
        var limits = ModemConfiguration()
        limits.sendBufferBytes = 1_024
        limits.sendChunkBytes = 512
        limits.readChunkBytes = 512
        limits.receiveBufferBytes = 1_024
        let modem = Modem(driver, serial: UARTStream(loop: loop), loop: loop, configuration: limits)
        #if TLS
        let noise = SeededNoise(seed: settings.seed)
        guard let random = try? SecureRandom(noise: { noise.next($0) }),
            var configuration = settings.identity.preSharedKeyConfiguration(random: random)
        else { fail("error=random\n") }
        // What the image's mbedTLS sends at most, which is what it may ask for.
        configuration.recordLimit = .bytes1024
        guard let network = try? SecureNetwork(over: modem, configuration) else { fail("error=tls\n") }
        #else
        let network = modem
        #endif
        let device = Device(settings, modem: modem, network: network)
        device.start()
        loop.run()
        Board.exit(failed: true)
    }

    #if TLS
    private static func fail(_ text: StaticString) -> Never {
        Console.print(text)
        Board.exit(failed: true)
    }
    #endif
}
