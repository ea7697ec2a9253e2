import CLinux
import Glibc
import Kernel
import NetworkSimulator
import SAL
import Testing

@testable import SecureTransport

/// Both roles against bytes that were cut, changed, split, or made up.
@Suite(.timeLimit(.minutes(2))) struct EngineTests {
    typealias Kind = EnginePair.Kind
    typealias Role = EnginePair.Role

    private func pair(_ kind: Kind, isDatagram: Bool = false) throws -> EnginePair {
        let (client, server) = try kind.contexts(isDatagram: isDatagram)
        return try EnginePair(client, server)
    }

    @Test(arguments: Kind.allCases, [false, true])
    func theTwoEndsAgree(kind: Kind, isDatagram: Bool) throws {
        let pair = try pair(kind, isDatagram: isDatagram)
        pair.run()
        #expect(pair.client.isOpen && pair.server.isOpen, "\(pair.client.failure as Any) \(pair.server.failure as Any)")
        #expect(try pair.client.send([1, 2, 3]) == 3)
        #expect(try pair.server.send([4]) == 1)
        pair.run()
        #expect(pair.server.received == [[1, 2, 3]] && pair.client.received == [[4]])
    }

    @Test(arguments: Kind.allCases) func anyByteMayComeByItself(kind: Kind) throws {
        let pair = try pair(kind)
        pair.fault = { _, _, bytes in bytes.map { [$0] } }
        pair.run()
        #expect(pair.client.isOpen && pair.server.isOpen)
        #expect(try pair.client.send([UInt8](repeating: 3, count: 1_000)) == 1_000)
        pair.run()
        #expect(pair.server.received.flatMap(\.self) == [UInt8](repeating: 3, count: 1_000))
    }

    @Test(arguments: Role.allCases) func recordsHaveNoneToAllOfTheBytesThatTheyMayHave(from: Role) throws {
        let pair = try pair(.key)
        pair.run()
        let (here, there) = (pair.end(from), pair.end(from == .client ? .server : .client))
        // An empty record is nothing to read, and no end.
        #expect(try here.send([]) == 0)
        pair.run()
        #expect(there.received.isEmpty && there.failure == nil && !there.hasEnded)
        for (count, taken) in [(1, 1), (16_383, 16_383), (16_384, 16_384), (16_385, 16_384)] {
            there.received = []
            let bytes = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 7) }
            #expect(try here.send(bytes) == taken)
            pair.run()
            #expect(there.received.flatMap(\.self) == Array(bytes[..<taken]))
        }
        // A header that promises more than a record may have.
        there.take([23, 3, 3, 0x48, 0x01] + [UInt8](repeating: 0, count: 100))
        guard case .protocolFailure? = there.failure else {
            Issue.record("\(there.failure as Any)")
            return
        }
    }

    /// Every other byte of a handshake with a key, and some of one with certificates: whatever is changed, at least one end notices, and nobody believes that all is well.
    @Test(arguments: Kind.allCases, Role.allCases) func aChangedByteIsNoticed(kind: Kind, from: Role) throws {
        let (client, server) = try kind.contexts(isDatagram: false)
        var lengths: [Int] = []
        let model = try EnginePair(client, server)
        model.fault = { role, _, bytes in
            if role == from { lengths.append(bytes.count) }
            return [bytes]
        }
        model.run()
        try #require(model.client.isOpen && model.server.isOpen)
        for (number, length) in lengths.enumerated() {
            for offset in stride(from: 0, to: length, by: kind == .key ? 2 : 37) {
                let pair = try EnginePair(client, server)
                pair.fault = { role, piece, bytes in
                    var changed = bytes
                    if role == from, piece == number, offset < bytes.count { changed[offset] ^= 0x15 }
                    return [changed]
                }
                pair.run()
                // The version in the header of a ClientHello's record means nothing (RFC 5246, E.1).
                if number == 0, offset == 1 || offset == 2 { continue }
                #expect(!(pair.client.isOpen && pair.server.isOpen), "piece \(number), byte \(offset)")
            }
        }
    }

    /// What is cut off anywhere is never taken for whole, and the end of it is told.
    @Test(arguments: Kind.allCases, Role.allCases) func aHandshakeThatIsCutAnywhereIsNoHandshake(kind: Kind, from: Role)
        throws
    {
        let (client, server) = try kind.contexts(isDatagram: false)
        var total = 0
        let model = try EnginePair(client, server)
        model.fault = { role, _, bytes in
            if role == from { total += bytes.count }
            return [bytes]
        }
        model.run()
        let other: Role = from == .client ? .server : .client
        for cut in stride(from: 0, to: total, by: kind == .key ? 7 : 61) {
            let pair = try EnginePair(client, server)
            var left = cut
            pair.fault = { role, _, bytes in
                guard role == from else { return [bytes] }
                let part = Array(bytes.prefix(left))
                left -= part.count
                return [part]
            }
            pair.run()
            #expect(!pair.end(other).isOpen && pair.end(other).failure == nil, "after \(cut) bytes")
        }
    }

    /// What no peer would send: edits of a real conversation, and noise, for both roles, on streams and as datagrams.
    @Test(arguments: Role.allCases, [false, true]) func madeUpBytesFailInOrder(from: Role, isDatagram: Bool) throws {
        let (client, server) = try Kind.key.contexts(isDatagram: isDatagram)
        var random = DTLSTests.Seeded(state: from == .client ? 7 : 8)
        for _ in 0..<400 {
            let pair = try EnginePair(client, server)
            let number = Int.random(in: 0..<6, using: &random)
            pair.fault = { role, piece, bytes in
                guard role == from, piece == number else { return [bytes] }
                return Self.edit(bytes, &random)
            }
            pair.run()
            if pair.client.isOpen { _ = try? pair.client.send([1, 2, 3]) }
            pair.run()
            // What was read is what was sent, or nothing.
            #expect(pair.server.received.isEmpty || pair.server.received.flatMap(\.self) == [1, 2, 3])
        }
    }

    static func edit(_ bytes: [UInt8], _ random: inout DTLSTests.Seeded) -> [[UInt8]] {
        var changed = bytes
        guard !bytes.isEmpty else { return [bytes] }
        switch Int.random(in: 0..<8, using: &random) {
        case 0:
            for _ in 0..<Int.random(in: 1...8, using: &random) {
                changed[Int.random(in: 0..<changed.count, using: &random)] = .random(in: 0...255, using: &random)
            }
        case 1: changed.removeSubrange(Int.random(in: 0..<changed.count, using: &random)...)
        case 2: changed.remove(at: Int.random(in: 0..<changed.count, using: &random))
        case 3:
            changed.insert(.random(in: 0...255, using: &random), at: Int.random(in: 0...changed.count, using: &random))
        case 4: return [bytes, bytes]
        case 5: return []
        case 6:
            // A length somewhere that is the largest, or none.
            let at = Int.random(in: 0..<changed.count, using: &random)
            let value: UInt8 = Bool.random(using: &random) ? 0xFF : 0
            for index in at..<min(at + 3, changed.count) { changed[index] = value }
        default:
            changed = (0..<Int.random(in: 0..<600, using: &random)).map { _ in .random(in: 0...255, using: &random) }
            // Mostly in a record that looks like one.
            if changed.count > 5 {
                changed.replaceSubrange(0..<5, with: [22, 3, 3, 0, UInt8(truncatingIfNeeded: changed.count - 5)])
            }
        }
        return [changed]
    }

    /// A datagram that comes at the very time of a retransmission is read all the same: an alert is not sent twice.
    @Test func anAlertAtTheTimeOfARetransmissionIsHeard() throws {
        let (client, server) = try Kind.key.contexts(isDatagram: true)
        let pair = try EnginePair(client, server)
        let end = pair.client
        pair.fault = { from, number, bytes in
            // The first is the HelloVerifyRequest; in place of the ServerHello comes handshake_failure, and then nothing.
            guard from == .server, number > 0 else { return [bytes] }
            guard number == 1 else { return [] }
            end.time = .seconds(1)
            return [[21, 254, 253, 0, 0, 0, 0, 0, 0, 0, 1, 0, 2, 2, 40]]
        }
        pair.run()
        #expect(end.failure == .alertReceived(.handshakeFailure))
    }

    /// In a process of its own that may have no more memory than it has.
    @Test func whenThereIsNoMemoryItIsAnError() async {
        await #expect(processExitsWith: .success) {
            // The sanitizers have allocators of their own, which end the process.
            for name in ["__asan_init", "__tsan_init"] where dlsym(nil, name) != nil { return }
            let (client, server) = try Kind.key.contexts(isDatagram: false)
            let before = try EnginePair(client, server)
            before.run()
            try #require(before.client.isOpen)
            // Small pieces are still to be had, since what is Swift's own must be; large ones are not.
            let blocks = (0..<100_000).map { _ in malloc(512) }
            for index in stride(from: 0, to: blocks.count, by: 2) { free(blocks[index]) }
            let file = fopen("/proc/self/statm", "r")
            var pages = 0
            withUnsafeMutablePointer(to: &pages) { pages in _ = withVaList([pages]) { vfscanf(file, "%ld", $0) } }
            fclose(file)
            var limit = rlimit()
            getrlimit(__rlimit_resource_t(RLIMIT_AS.rawValue), &limit)
            limit.rlim_cur = rlim_t(pages * 4_096)
            setrlimit(__rlimit_resource_t(RLIMIT_AS.rawValue), &limit)
            var engines: [TLSEngine] = []
            engines.reserveCapacity(10_000)
            var error: SecureTransportError?
            while error == nil, engines.count < 10_000 {
                do throws(SecureTransportError) {
                    engines.append(try TLSEngine(client, host: Array("localhost".utf8), port: 1) { $0.count })
                } catch let failure { error = failure }
            }
            #expect(error == .outOfMemory, "\(engines.count) engines")
            engines = []
            let after = try EnginePair(client, server)
            after.run()
            #expect(after.client.isOpen)
        }
    }

    @Test func tenThousandSessionsLeaveNothingBehind() async {
        await #expect(processExitsWith: .success) {
            // All but the first are resumed, which takes a hundredth of the time.
            let (clientConfiguration, serverConfiguration) = Kind.key.configurations
            let (client, server) = (try TLSContext(clientConfiguration), try TLSContext(serverConfiguration))
            func meet() throws {
                let pair = try EnginePair(client, server)
                pair.run()
                try #require(pair.client.isOpen && pair.server.isOpen)
                _ = try pair.client.engine?.closeNotify()
                pair.run()
            }
            for _ in 0..<100 { try meet() }
            let before = heapInUse()
            for _ in 0..<10_000 { try meet() }
            #expect(heapInUse() - before < 16_384)
        }
    }

    /// A server whose clients go away in the middle of their handshakes says so of each, and serves the next.
    @Test(arguments: Kind.allCases) func aServerSurvivesClientsThatGoAway(kind: Kind) async throws {
        let (client, server) = kind.configurations
        try await TLSPair.withHosts { here, there in
            let notes = TLSPair.Notes()
            let secureServer = try TLSPair.server(there, server, notes)
            let whole = CutNetwork(here, after: .max)
            let first = try SecureNetwork(over: whole, client) { _, _ in }
            #expect(try await TLSPair.meet(here, there, first, secureServer, notes).wasEchoed)
            for cut in stride(from: 0, to: whole.handshakeBytes, by: kind == .key ? 17 : 151) {
                var fresh = client
                fresh.sessions = nil
                let network = try SecureNetwork(over: CutNetwork(here, after: cut), fresh) { _, _ in }
                let outcome = try await TLSPair.meet(here, there, network, secureServer, notes)
                #expect(outcome.server == .closedInHandshake, "after \(cut) bytes: \(outcome)")
            }
            #expect(try await TLSPair.meet(here, there, first, secureServer, notes).wasEchoed)
        }
    }

    /// A network whose streams end when so many bytes have been sent.
    final class CutNetwork: Network, @unchecked Sendable {
        // @unchecked: used on the loop only.
        private let inner: SimulatedHost
        private let limit: Int
        /// How many bytes the first stream has sent before it received its last.
        private(set) var handshakeBytes = 0

        init(_ inner: SimulatedHost, after limit: Int) {
            self.inner = inner
            self.limit = limit
        }

        var loop: EventLoop { inner.loop }
        var capabilities: NetworkCapabilities { inner.capabilities }

        func connect(to endpoint: Endpoint, deadline: Duration, handler: any ByteStreamHandler) -> any ByteStream {
            let stream = CutStream(limit, handler) { [unowned self] in if handshakeBytes < $0 { handshakeBytes = $0 } }
            stream.below = inner.connect(to: endpoint, deadline: deadline, handler: stream)
            return stream
        }
    }

    final class CutStream: ByteStream, ByteStreamHandler {
        var handler: (any ByteStreamHandler)?
        var below: (any ByteStream)?
        private var left: Int
        private var sent = 0
        private let told: (Int) -> Void
        private var isOpen = false

        init(_ limit: Int, _ handler: any ByteStreamHandler, _ told: @escaping (Int) -> Void) {
            left = limit
            self.handler = handler
            self.told = told
        }

        func send(_ bytes: Span<UInt8>) -> Int {
            let part = bytes.extracting(first: min(left, bytes.count))
            left -= part.count
            sent += part.count
            if !part.isEmpty { _ = below?.send(part) }
            if left == 0 { below?.close() }
            return bytes.count
        }
        func resumeReceiving() { below?.resumeReceiving() }
        func close() { below?.close() }
        func abort() { below?.abort() }
        func opened() {
            handler?.opened()
            if left == 0 { below?.close() }
        }
        func received(_ bytes: Span<UInt8>) -> Int {
            // The server's last word of the handshake is its Finished; what follows is the echo.
            if !isOpen { told(sent) }
            let taken = handler?.received(bytes) ?? bytes.count
            if (handler as? SecureStream)?.agreement != nil { isOpen = true }
            return taken
        }
        func writable() { handler?.writable() }
        func closed(_ error: SocketError?) {
            below = nil
            let handler = handler
            self.handler = nil
            handler?.closed(error)
        }
    }
}

/// How many bytes of the heap are in use.
private func heapInUse() -> Int {
    let info = mallinfo2()
    return Int(info.uordblks) + Int(info.hblkhd)
}
