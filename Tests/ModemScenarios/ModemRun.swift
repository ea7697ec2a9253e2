internal import ATAdapter
internal import Kernel
public import ModemSimulator
internal import NetworkSimulator
internal import SAL

/// A run in virtual time: a modem is set up, opens streams to a server and perhaps sends datagrams, and faults happen, all as the seed says.
/// What must hold: each side receives the bytes that the other has sent, in their order, up to an error at most; a stream that ends without an error has
/// carried all; nothing lasts for ever; and when the faults are over, the modem works again.
public final class ModemRun: @unchecked Sendable {
    // @unchecked: all happens on its loop, which the caller's thread runs.

    /// Longer than all timeouts that can follow one upon another.
    private static let longest = Duration.seconds(4 * 3_600)

    let loop = EventLoop.makeVirtual()
    let dialect: ModemDialect
    let plan: FaultPlan
    var random: ScenarioRandom
    let network: SimulatedNetwork
    let modemHost: SimulatedHost
    let serverHost: SimulatedHost
    private(set) var simulated: SimulatedModem?
    private(set) var modem: Modem?
    private var streams: [StreamPair] = []
    private var datagrams: DatagramPair?
    private var lastStream: StreamPair?
    private var isOver = false
    /// Called with all lines of the modem and all that happens, as text.
    private let trace: ((String) -> Void)?
    /// What went wrong.
    public private(set) var failures: [String] = []
    /// How many bytes were carried.
    public private(set) var byteCount = 0
    /// How many streams have carried all, and how many have ended with an error.
    public private(set) var completeCount = 0, errorCount = 0
    /// How long it has lasted, in the time of the loop.
    public var duration: Duration { loop.now - begin }
    private let begin: Duration

    /// A run with a modem of this dialect.
    public init(_ dialect: ModemDialect, seed: UInt64, trace: ((String) -> Void)? = nil) {
        self.dialect = dialect
        self.trace = trace
        random = ScenarioRandom(seed: seed)
        plan = FaultPlan(dialect, &random)
        begin = loop.now
        network = SimulatedNetwork(loop: loop, seed: seed)
        network.conditions.latency = .milliseconds(random.number(1...300))
        network.conditions.jitter = .milliseconds(random.number(0...50))
        network.conditions.pieces = random.pick([.segments, .segments, .random])
        modemHost = network.addHost("10.64.12.7")
        serverHost = network.addHost("192.0.2.7")
    }

    /// Runs to the end.
    public func run() {
        loop.run(after: { start() }, while: { !isOver })
        loop.stop()
        loop.run()
    }

    /// Whether a peer may get bytes that nobody has sent behind what a stream had sent that has ended with an error.
    var garblesBehindErrors: Bool { dialect == .espat || plan.garblesBehindErrors }

    func fail(_ text: String) {
        failures.append(text)
        note("! \(text)")
    }

    func note(_ text: String) { trace?("\(loop.now - begin) \(text)") }

    /// Has `body` called later, unless the run is over by then.
    func after(milliseconds: Int, _ body: @escaping () -> Void) {
        let call = LaterCall(on: loop) { [self] in if !isOver { body() } }
        call.timer.start(after: .milliseconds(milliseconds), handler: call)
    }

    private func start() {
        var settings = ModemSimulatorConfiguration()
        settings.dialect = dialect
        settings.seed = random.next()
        settings.faults = plan.faults
        settings.baudRate = plan.baudRate
        settings.registrationMilliseconds = random.pick([0, 0, 5_000])
        settings.bootMilliseconds = random.pick([0, 500, 3_000])
        if dialect == .espat, random.chance(30) { settings.generation = .v1 }
        note(
            "\(dialect.rawValue) \(settings.generation) \(plan.baudRate) baud, harmless: \(plan.isHarmless), \(plan.faults)"
        )
        let names = ["peer.example": serverHost.address]
        let tell: @Sendable (String) -> Void = { [self] in note($0) }
        guard let driver = ModemDriver(named: dialect.rawValue),
            let simulated = try? SimulatedModem(
                settings,
                over: modemHost,
                names: names,
                onLine: trace == nil ? nil : tell
            )
        else { return fail("there is no such modem") }
        var configuration = ModemConfiguration()
        configuration.sendChunkBytes = random.pick([100, 512, 2_048])
        configuration.readChunkBytes = random.pick([64, 512, 2_048])
        configuration.receiveBufferBytes = random.pick([3_000, 16_384])
        let modem = Modem(driver, serial: simulated, loop: loop, configuration: configuration)
        // What the modem says is noted when it is said, what is here when it has come.
        if trace != nil { modem.trace = { [unowned self] in note("    \($0)") } }
        (self.simulated, self.modem) = (simulated, modem)

        for index in 0..<random.number(1...3) {
            let stream = StreamPair(self, number: index)
            streams.append(stream)
            after(milliseconds: random.number(0...20_000)) { stream.open() }
        }
        if random.chance(40) {
            let pair = DatagramPair(self)
            datagrams = pair
            after(milliseconds: random.number(0...20_000)) { pair.open() }
        }
        if let faults = plan.laterFaults {
            after(milliseconds: plan.laterMilliseconds) { [self] in
                guard lastStream == nil else { return }
                note("from now on \(faults)")
                simulated.setFaults(faults)
            }
        }
        for (time, incident) in plan.incidents { after(milliseconds: time) { [self] in happen(incident) } }
        after(milliseconds: Int(Self.longest.components.seconds) * 1_000) { [self] in giveUp() }
    }

    private func happen(_ incident: FaultPlan.Incident) {
        guard lastStream == nil else { return }
        note("\(incident)")
        switch incident {
        case .loseContext: simulated?.loseContext()
        case .restart(let hasBanner): simulated?.restart(hasBanner: hasBanner)
        case .breakLinks(let hasNotice): simulated?.breakLinks(hasNotice: hasNotice)
        case .cutNetwork(let milliseconds):
            network.conditions.isCut = true
            after(milliseconds: milliseconds) { [self] in network.conditions.isCut = false }
        }
    }

    /// Called when a stream, or the datagrams, have ended.
    func ended() {
        guard streams.allSatisfy(\.isOver), datagrams?.isOver ?? true else { return }
        guard let lastStream else { return resume() }
        guard lastStream.isOver else { return }
        finish()
    }

    /// The faults are over: one more stream is to work.
    private func resume() {
        note("no more faults")
        simulated?.setFaults(Faults())
        network.conditions.isCut = false
        let stream = StreamPair(self, number: 9, mustWork: !plan.mayHaveLostContext)
        lastStream = stream
        // Behind what is left of restarts, lost contexts, and denied registrations.
        after(milliseconds: 90_000) { stream.open() }
    }

    private func giveUp() {
        for stream in streams where !stream.isOver { fail("stream \(stream.number) hangs: \(stream.state)") }
        if let datagrams, !datagrams.isOver { fail("the datagrams hang") }
        if let lastStream, !lastStream.isOver { fail("stream \(lastStream.number) hangs: \(lastStream.state)") }
        finish()
    }

    private func finish() {
        for stream in streams + (lastStream.map { [$0] } ?? []) {
            stream.check()
            byteCount += stream.byteCount
            if stream.isComplete { completeCount += 1 } else { errorCount += 1 }
        }
        datagrams?.check()
        isOver = true
        modem?.close()
        simulated?.close()
        (modem, simulated, streams, datagrams, lastStream) = (nil, nil, [], nil, nil)
    }
}

/// A call at a time of the loop.
private final class LaterCall: TimerHandler {
    let timer: Timer
    private let body: () -> Void

    init(on loop: EventLoop, _ body: @escaping () -> Void) {
        timer = Timer(on: loop)
        self.body = body
    }

    func timerFired(_ timer: Timer) { body() }
}
