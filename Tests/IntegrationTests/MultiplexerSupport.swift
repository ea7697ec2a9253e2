import ATAdapter
import CLinux
import Kernel
import ModemSimulator
import SAL
import Testing

@testable import HubSimulator

/// A modem of the stack on the first channel of a simulated one, over a real pseudo terminal.
final class MultiplexedModem: Sendable {
    let simulator: ModemSimulator
    let loop = EventLoop.start()
    private let parts: LoopConfined<(multiplexer: Multiplexer, modem: Modem)>

    init(
        _ configuration: ModemSimulatorConfiguration,
        _ own: MultiplexerConfiguration = MultiplexerConfiguration()
    ) async throws {
        simulator = try ModemSimulator(configuration)
        let driver = try #require(ModemDriver(named: configuration.dialect.rawValue))
        let result: Result<LoopConfined<(multiplexer: Multiplexer, modem: Modem)>, SocketError> = await loop.call {
            [loop, path = simulator.path] in
            Result { () throws(SocketError) in
                let multiplexer = try Multiplexer.open(driver, path: path, loop: loop, configuration: own)
                var configuration = ModemConfiguration()
                configuration.apn = Array("cmnet".utf8)
                return LoopConfined((multiplexer, Modem(over: multiplexer, configuration: configuration)))
            }
        }
        parts = try result.get()
    }

    deinit {
        simulator.stop()
        loop.stop()
    }

    var network: Modem { parts.value.modem }
    var state: MultiplexerState { get async { await loop.call { self.parts.value.multiplexer.state } } }
    var counters: MultiplexerCounters { get async { await loop.call { self.parts.value.multiplexer.counters } } }
    var transcript: String { simulator.transcript.suffix(20).joined(separator: "\n") }

    func open(_ number: Int, _ probe: ChannelProbe) async {
        await loop.call { probe.open(self.parts.value.multiplexer, number) }
    }

    func close() async {
        await loop.call {
            self.parts.value.modem.close()
            self.parts.value.multiplexer.close()
        }
    }

    /// Sends `bytes` to a server that echoes, over the modem's own sockets, and checks what comes back.
    func checkEcho(_ bytes: [UInt8], port: UInt16) async {
        let probe = StreamProbe(on: loop)
        probe.connect(over: network, port: port)
        probe.send(bytes)
        let isComplete = await probe.eventually { $0.received.count >= bytes.count || $0.isClosed }
        let state = probe.state.withLock { $0 }
        #expect(isComplete && state.received == bytes, "\(state.received.count) bytes, \(transcript)")
        probe.close()
        #expect(await probe.eventually { $0.isClosed && $0.error == nil })
    }
}

/// The owner of a channel, which keeps what it is told.
final class ChannelProbe: ByteStreamHandler, Sendable {
    struct State {
        var text = ""
        var isOpen = false
        var isClosed = false
        var error: SocketError?
        var isHungry = true
    }

    let state = Guarded(State())
    private let stream = Guarded<LoopConfined<any ByteStream>?>(nil)
    private let loop: EventLoop

    init(on loop: EventLoop) { self.loop = loop }

    func open(_ multiplexer: Multiplexer, _ number: Int) {
        let opened = multiplexer.openChannel(number, handler: self)
        stream.withLock { $0 = LoopConfined(opened) }
    }

    func send(_ text: String) async -> Int {
        await loop.call { self.stream.withLock { $0 }?.value.send(Array(text.utf8).span) ?? 0 }
    }

    func close() async { await loop.call { self.stream.withLock { $0 }?.value.close() } }

    func feed(_ isHungry: Bool) async {
        await loop.call {
            self.state.withLock { $0.isHungry = isHungry }
            if isHungry { self.stream.withLock { $0 }?.value.resumeReceiving() }
        }
    }

    func opened() { state.withLock { $0.isOpen = true } }

    func received(_ bytes: Span<UInt8>) -> Int {
        state.withLock { state in
            guard state.isHungry else { return 0 }
            state.text += String(decoding: bytes.indices.map { bytes[$0] }, as: UTF8.self)
            return bytes.count
        }
    }

    func writable() {}

    func closed(_ error: SocketError?) {
        state.withLock { state in
            precondition(!state.isClosed, "closed comes once")
            (state.isClosed, state.error) = (true, error)
        }
    }

    func eventually(_ timeout: Duration = .seconds(20), _ condition: @escaping @Sendable (State) -> Bool) async -> Bool
    {
        await offPool { waitUntil(timeout: timeout) { condition(self.state.withLock { $0 }) } }
    }
}
