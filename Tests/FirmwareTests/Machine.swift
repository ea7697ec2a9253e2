import CLinux
import Synchronization
import Testing

@testable import HubSimulator

/// A board in QEMU that runs a firmware image, its first UART at this program and its second wherever the test says.
final class Machine: Sendable {
    private let child: ChildProcess
    private let console: SerialLine
    private let directory: String

    /// Starts `image` of those that `make firmware` has built; `serial` is what QEMU connects the second UART to.
    init(_ image: String, serial: String) async throws {
        let path = try Self.image(image)
        directory = try Self.temporaryDirectory()
        let console = SerialLine()
        self.console = console
        let setpriv = try #require(findProgram("setpriv"), "setpriv, of util-linux, is not installed")
        // setpriv has the kernel end the machine with us, even if we are killed.
        child = try ChildProcess(
            setpriv,
            arguments: [
                "--pdeathsig", "KILL", "--", "qemu-system-arm", "-M", "mps2-an386", "-display", "none", "-monitor",
                "none", "-kernel", path, "-serial", console.path, "-serial", serial,
            ],
            outputPath: "\(directory)/output"
        )
        guard await console.isConnected() else {
            let output = (try? readFile("\(directory)/output")) ?? []
            child.stop(patience: .zero)
            throw MachineError(description: "QEMU has not started: \(String(decoding: output, as: UTF8.self))")
        }
    }

    deinit {
        child.stop(patience: .zero)
        _ = try? ChildProcess("/bin/rm", arguments: ["-rf", directory], outputPath: "/dev/null").wait()
    }

    /// Writes a line to the first UART.
    func write(_ line: String) { console.write(Array((line + "\n").utf8)) }

    /// What the image has printed.
    var output: String { String(decoding: console.received.filter { $0 != 0x0D }, as: UTF8.self) }

    /// Whether the image prints `text` within `timeout`.
    func prints(_ text: String, within timeout: Duration = .seconds(20)) async -> Bool {
        await eventually(within: timeout) { self.output.contains(text) }
    }

    /// The last number that the image printed for `name`, or -1.
    func counter(_ name: String) -> Int {
        let words = output.split(whereSeparator: { $0 == " " || $0 == "\n" })
        let word = words.last { $0.hasPrefix(name + "=") }
        return word.flatMap { Int($0.dropFirst(name.count + 1)) } ?? -1
    }

    /// The path of an image, in the package that this file is in.
    private static func image(_ name: String, file: String = #filePath) throws -> String {
        let package = file.split(separator: "/").dropLast(3).joined(separator: "/")
        let path = "/\(package)/Firmware/.build/images/\(name).elf"
        guard access(path, R_OK) == 0 else {
            throw MachineError(description: "\(path) is not there; build it with 'make firmware'")
        }
        return path
    }

    private static func temporaryDirectory() throws -> String {
        var path = Array("/tmp/apus-firmware-test-XXXXXX".utf8CString)
        try #require(mkdtemp(&path) != nil)
        return String(decoding: path.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}

/// Why a machine could not be started.
struct MachineError: Error, CustomStringConvertible {
    let description: String
}

/// A serial line: a TCP port of this program, for one connection by QEMU.
final class SerialLine: Sendable {
    private struct State {
        var descriptor: Int32 = -1
        var received: [UInt8] = []
        var isOver = false
    }

    private let state: Shared<State>
    private let listener: Int32
    /// What QEMU is told to connect to.
    let path: String

    init() {
        let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                _ = bind(listener, $0, size)
                getsockname(listener, $0, &size)
            }
        }
        listen(listener, 1)
        self.listener = listener
        path = "tcp:127.0.0.1:\(UInt16(bigEndian: address.sin_port))"
        let state = Shared(State())
        self.state = state
        onThread { Self.serve(listener, state) }
    }

    deinit {
        shutdown(listener, Int32(SHUT_RDWR))
        let descriptor = state.value.withLock { $0.descriptor }
        if descriptor >= 0 { shutdown(descriptor, Int32(SHUT_RDWR)) }
    }

    private static func serve(_ listener: Int32, _ state: Shared<State>) {
        let descriptor = accept(listener, nil, nil)
        close(listener)
        guard descriptor >= 0 else { return }
        state.value.withLock { $0.descriptor = descriptor }
        var chunk = [UInt8](repeating: 0, count: 16_384)
        while true {
            let count = recv(descriptor, &chunk, chunk.count, 0)
            guard count > 0 else { break }
            state.value.withLock { $0.received += chunk[..<count] }
        }
        state.value.withLock { $0.descriptor = -1 }
        close(descriptor)
    }

    var received: [UInt8] { state.value.withLock { $0.received } }

    func isConnected() async -> Bool { await eventually { self.state.value.withLock { $0.descriptor >= 0 } } }

    /// Writes, and waits while QEMU takes nothing.
    func write(_ bytes: [UInt8]) {
        let descriptor = state.value.withLock { $0.descriptor }
        guard descriptor >= 0 else { return }
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
            guard count > 0 else { return }
            rest = rest.dropFirst(count)
        }
    }
}

/// A value that threads share.
private final class Shared<Value: Sendable>: Sendable {
    let value: Mutex<Value>
    init(_ value: Value) { self.value = Mutex(value) }
}

/// Runs `body`, which may wait, on a thread of its own.
func onThread(_ body: @escaping @Sendable () -> Void) {
    final class Body: Sendable {
        let run: @Sendable () -> Void
        init(_ run: @escaping @Sendable () -> Void) { self.run = run }
    }
    let argument = Unmanaged.passRetained(Body(body)).toOpaque()
    var thread = pthread_t()
    pthread_create(
        &thread,
        nil,
        { argument in
            if let argument { Unmanaged<Body>.fromOpaque(argument).takeRetainedValue().run() }
            return nil
        },
        argument
    )
    pthread_detach(thread)
}

/// The result of `body`, which may wait: it has a thread of its own.
func offPool<Result: Sendable>(_ body: @escaping @Sendable () -> Result) async -> Result {
    await withCheckedContinuation { continuation in
        onThread { continuation.resume(returning: body()) }
    }
}

/// Whether a condition holds within `timeout`.
func eventually(within timeout: Duration = .seconds(10), _ condition: @escaping @Sendable () -> Bool) async -> Bool {
    await offPool { waitUntil(timeout: timeout, condition) }
}
