// A server that echoes, for tests of what happens to a process: `socket-server DESCRIPTORS` may have so many. It prints `port=N`, and from then on a line
// whenever its figures change, until it is ended.
import CLinux
import Kernel
import SAL

final class Echo: ByteStreamHandler {
    let stream: any ByteStream
    let server: Server

    init(_ stream: any ByteStream, _ server: Server) {
        self.stream = stream
        self.server = server
    }

    func opened() {}
    func received(_ bytes: Span<UInt8>) -> Int { stream.send(bytes) }
    func writable() { stream.resumeReceiving() }
    func closed(_ error: SocketError?) { server.connections -= 1 }
}

final class Server: StreamListenerHandler, TimerHandler, @unchecked Sendable {
    // @unchecked: used on its loop only.
    var connections = 0
    private var failures = 0
    private var lastFailure = ""
    private var printed = ""
    private var listener: (any StreamListener)?
    private var heapBefore = 0
    private var timer: Timer?

    func start(_ loop: EventLoop) throws(SocketError) {
        let listener = try LinuxNetwork(loop: loop).listen(
            at: SocketAddress(address: .v4(0x7F00_0001), port: 0),
            handler: self
        )
        self.listener = listener
        heapBefore = heap
        say("port=\(listener.localAddress?.port ?? 0)")
        let timer = Timer(on: loop)
        self.timer = timer
        timer.start(after: .milliseconds(20), every: .milliseconds(20), handler: self)
    }

    private var heap: Int {
        let info = mallinfo2()
        return Int(info.uordblks) + Int(info.hblkhd)
    }

    func accepted(_ stream: any ByteStream, from peer: SocketAddress?) {
        connections += 1
        stream.handler = Echo(stream, self)
    }

    func acceptFailed(_ error: SocketError) {
        failures += 1
        lastFailure = "\(error)"
    }

    func timerFired(_ timer: Timer) {
        let line = "connections=\(connections) failing=\(failures > 0) \(lastFailure)"
        guard line != printed else { return }
        printed = line
        say("\(line) heap=\(heap - heapBefore)")
    }

    private func say(_ line: String) {
        print(line)
        fflush(nil)
    }
}

@main enum Main {
    static func main() {
        guard CommandLine.arguments.count == 2, let limit = UInt(CommandLine.arguments[1]) else {
            print("usage: socket-server DESCRIPTORS")
            return
        }
        clinux_limit_descriptors(limit)
        let loop = EventLoop()
        let server = Server()
        loop.execute { do throws(SocketError) { try server.start(loop) } catch { fatalError("\(error)") } }
        loop.run()
    }
}
