internal import ModemSimulator

/// What goes wrong in a run of ``ModemRun``, and when: all that the seed decides about the modem.
struct FaultPlan {
    /// What happens at a moment of its own.
    enum Incident: Equatable {
        case loseContext
        case restart(hasBanner: Bool)
        case breakLinks(hasNotice: Bool)
        /// Nothing goes between the modem and the server for so many milliseconds.
        case cutNetwork(milliseconds: Int)
    }

    /// From the start on.
    private(set) var faults = Faults()
    /// From ``laterMilliseconds`` on.
    var laterFaults: Faults?
    var laterMilliseconds = 0
    var incidents: [(milliseconds: Int, incident: Incident)] = []
    /// Nothing of it may make a difference to the application.
    var isHarmless: Bool
    /// The modem may take what the driver sends to find back to it for payload that it still waits for, and the peer gets that behind what the
    /// stream, which has ended with an error, had sent: ESP-AT has no way to end such a wait, and a deaf modem does not see the end.
    var garblesBehindErrors: Bool {
        faults.isDeaf || faults.deafEvery > 0 || laterFaults.map { $0.isDeaf || $0.deafEvery > 0 } ?? false
    }
    /// Links may be cut at the modem, or reads refused as if they were, so that an end may look like that of the peer.
    var cutsLinks = false
    var baudRate = 0

    private let dialect: ModemDialect

    init(_ dialect: ModemDialect, _ random: inout ScenarioRandom) {
        self.dialect = dialect
        isHarmless = random.chance(25)
        baudRate = random.pick([0, 0, 9_600, 115_200, 921_600])
        addHarmless(&random)
        guard !isHarmless else { return }
        // At once, so that the modem is set up under it too, or later.
        if random.chance(50) {
            var early = faults
            addHarmful(&random, to: &early)
            faults = early
        }
        if random.chance(50) {
            var later = faults
            laterMilliseconds = random.number(500...30_000)
            addHarmful(&random, to: &later)
            if random.chance(50) { addHarmful(&random, to: &later) }
            laterFaults = later
        }
        faults = withoutAmbiguity(faults)
        laterFaults = laterFaults.map(withoutAmbiguity)
        let hasIncident = random.chance(40)
        if hasIncident || faults.restartsEvery > 0 || (laterFaults?.restartsEvery ?? 0) > 0 {
            // A modem that restarts without a word, and goes on echoing, cannot be told from one that has not.
            faults.echoIsStuck = false
            laterFaults?.echoIsStuck = false
        }
        if hasIncident {
            let time = random.number(100...40_000)
            let incident = random.pick([
                Incident.loseContext, .restart(hasBanner: true), .restart(hasBanner: false),
                .breakLinks(hasNotice: true), .breakLinks(hasNotice: false),
                .cutNetwork(milliseconds: random.number(100...60_000)),
            ])
            incidents.append((time, incident))
            cutsLinks = true
        }
    }

    /// The modem may have lost its context while it was being set up, and nobody has heard of it.
    var mayHaveLostContext: Bool {
        faults.losesContextEvery > 0 || laterFaults.map { $0.losesContextEvery > 0 } ?? false
            || incidents.contains { $0.incident == .loseContext }
    }

    /// Lines of ESP-AT may stand right behind data, so that data that is shorter than announced is not told from them.
    private func withoutAmbiguity(_ faults: Faults) -> Faults {
        var faults = faults
        if dialect == .espat, faults.insertsNotices || faults.insertsGarbage { faults.wrongLengthEvery = 0 }
        // One that falls deaf while it still answers, slowly, what came before cannot be told from one that has answered all.
        if faults.deafEvery > 0 { faults.resultDelayMilliseconds = 0 }
        return faults
    }

    private mutating func addHarmless(_ random: inout ScenarioRandom) {
        faults.pieces = random.pick([.whole, .bytes, .random])
        faults.insertsNotices = random.chance(40)
        faults.doublesNotices = random.chance(20)
        faults.echoIsStuck = random.chance(10)
        faults.prompt = random.pick([.usual, .spaced, .bare])
        if random.chance(15) { faults.promptDelayMilliseconds = random.number(1...3_000) }
        if random.chance(15) { faults.resultDelayMilliseconds = random.number(1...1_500) }
        if random.chance(15) { faults.openDelayMilliseconds = random.number(1...8_000) }
        if random.chance(20) { faults.busyEvery = random.number(3...20) }
        if random.chance(20) { faults.takesPartEvery = random.number(2...6) }
        if random.chance(20) { faults.losesNoticeEvery = random.number(1...5) }
        faults.overlap = random.pick([.queue, .busy, .drop])
    }

    private mutating func addHarmful(_ random: inout ScenarioRandom, to faults: inout Faults) {
        switch random.number(0...14) {
        case 0: faults.losesResultEvery = random.number(4...40)
        case 1: faults.losesPromptEvery = random.number(1...8)
        case 2: faults.closesSilently = true
        case 3:
            faults.deafEvery = random.number(5...50)
            faults.deafMilliseconds = random.number(500...20_000)
        case 4:
            faults.failsCommandEvery = random.number(4...40)
            cutsLinks = true
            faults.errorCode = random.pick([0, 3, 4, 30, 50, 100, 567])
        case 5: faults.failsSendEvery = random.number(1...10)
        case 6:
            faults.closesDuringSendEvery = random.number(1...10)
            cutsLinks = true
        // Behind pushed bytes nothing may tell that there were fewer.
        case 7: if dialect != .bc26 { faults.wrongLengthEvery = random.number(1...10) }
        case 8: faults.refusesToOpen = true
        case 9: faults.refusesToJoin = true
        case 10: faults.linkLimit = random.number(1...2)
        case 11:
            faults.losesContextEvery = random.number(10...60)
            faults.contextReturnMilliseconds = random.number(100...20_000)
            cutsLinks = true
        case 12:
            faults.restartsEvery = random.number(10...80)
            faults.restartsSilently = random.chance(50)
            cutsLinks = true
        case 13: faults.insertsGarbage = true
        default: faults.isDeaf = random.chance(50)
        }
    }
}

/// Random numbers that a seed repeats (SplitMix64).
struct ScenarioRandom: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var value = state
        value = (value ^ (value >> 30)) &* 0xBF58_476D_1CE4_E5B9
        value = (value ^ (value >> 27)) &* 0x94D0_49BB_1331_11EB
        return value ^ (value >> 31)
    }

    mutating func chance(_ percent: Int) -> Bool { number(1...100) <= percent }

    mutating func number(_ range: ClosedRange<Int>) -> Int { Int.random(in: range, using: &self) }

    mutating func pick<Choice>(_ choices: [Choice]) -> Choice { choices[number(0...choices.count - 1)] }

    /// Bytes of all values, and texts that a modem's own lines are made of.
    mutating func payload(_ count: Int) -> [UInt8] {
        let texts = [
            "\r\nOK\r\n", "\r\nERROR\r\n", "\r\n> ", "> ", "@", "0, CLOSED\r\n", "\r\n+IPD,0,5:hello", "SEND OK\r\n",
            "\"",
            "\r\n+QIURC: \"closed\",0\r\n", "\r\n+CIPRXGET: 2,0,9,9\r\n", "+++", "\u{1B}", "\r\nRDY\r\n",
            "+NSOCLI:0\r\n",
            "\r\n+UUSOCL: 0\r\n", "ready\r\n",
        ]
        var bytes: [UInt8] = []
        while bytes.count < count {
            if chance(20) {
                bytes += Array(pick(texts).utf8)
            } else {
                for _ in 0..<number(1...60) { bytes.append(UInt8(truncatingIfNeeded: next())) }
            }
        }
        return Array(bytes.prefix(count))
    }
}
