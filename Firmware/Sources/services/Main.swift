// The device shadow on a board, without a network: what the hub says, and the time, come in lines on the first UART.
//     connect | lost | pass MILLISECONDS | report JSON | hub JSON
// What the device says, and is told, is printed.
import Board
import Kernel
import QCloudIoTHub

/// A device with a shadow.
struct Device {
    private let services = HubServices()
    private let shadow: HubShadow
    private var now: Duration = .zero

    init(_ identity: DeviceIdentity) {
        shadow = HubShadow(identity)
        services.add(shadow)
        services.granted(shadow.subscription.filter, at: now)
    }

    /// Does what a line says; `false` if that is nothing.
    mutating func take(_ line: [UInt8]) -> Bool {
        if line == bytes("connect") {
            services.connected(at: now)
        } else if line == bytes("lost") {
            services.disconnected(at: now)
        } else if let text = rest(line, after: "pass ") {
            var milliseconds = 0
            for digit in text where digit >= 0x30 && digit <= 0x39 {
                milliseconds = milliseconds * 10 + Int(digit - 0x30)
            }
            now += .milliseconds(milliseconds)
            services.handleTimeout(at: now)
        } else if let text = rest(line, after: "report ") {
            report(text)
        } else if let text = rest(line, after: "hub ") {
            let topic = shadow.subscription.filter
            let unused = services.unusedMessages
            _ = services.receive(topic: topic.span, payload: text.span, at: now)
            if services.unusedMessages > unused { Console.print("unused\n") }
        } else {
            return false
        }
        tell()
        return true
    }

    private func report(_ text: [UInt8]) {
        let state: JSONValue
        do throws(JSONError) { state = try JSONValue(parsing: text.span) } catch {
            return Console.print("error=json\n")
        }
        do throws(HubServiceError) { try shadow.report(state, at: now) } catch { Console.print("error=report\n") }
    }

    private func tell() {
        while let publish = services.nextPublish() {
            Console.print("send ")
            Console.print(publish.payload)
            Console.print("\n")
        }
        while let event = shadow.nextEvent() {
            switch event {
            case .delta(let delta):
                Console.print("delta ")
                if let text = try? delta.state.serialized() { Console.print(text) }
                Console.print("\n")
            case .reported: Console.print("reported\n")
            case .reportFailed: Console.print("error=refused\n")
            case .completed, .failed: Console.print("error=unasked\n")
            }
        }
        Console.print("heap=")
        Console.print(Board.freeHeapBytes)
        Console.print("\n")
    }

    private func rest(_ line: [UInt8], after prefix: StaticString) -> [UInt8]? {
        guard line.count >= prefix.utf8CodeUnitCount else { return nil }
        for index in 0..<prefix.utf8CodeUnitCount where line[index] != prefix.utf8Start[index] { return nil }
        var rest: [UInt8] = []
        for index in prefix.utf8CodeUnitCount..<line.count { rest.append(line[index]) }
        return rest
    }
}

func bytes(_ text: StaticString) -> [UInt8] {
    var bytes: [UInt8] = []
    for index in 0..<text.utf8CodeUnitCount { bytes.append(text.utf8Start[index]) }
    return bytes
}

@main enum Main {
    static func main() {
        guard let identity = try? identity(secret: bytes("AAECAwQFBgcICQoLDA0ODw==")) else { Board.exit(failed: true) }
        var device = Device(identity)
        Console.print("ready\n")
        while device.take(Console.readLine(limit: 1_024)) {}
        Board.exit(failed: false)
    }

    private static func identity(secret: [UInt8]) throws(HubIdentityError) -> DeviceIdentity {
        try DeviceIdentity(
            productID: bytes("Q7K2M9X4ZP"),
            deviceName: bytes("pump-01"),
            credential: .key(try DeviceSecret(base64: secret.span))
        )
    }
}
