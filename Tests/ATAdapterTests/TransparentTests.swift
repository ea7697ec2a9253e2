import Kernel
import ModemSimulator
import NetworkSimulator
import SAL
import Testing

@testable import ATAdapter

/// A TCP connection that has the serial line to itself, in virtual time: the modem's silences take none.
@Suite(.timeLimit(.minutes(1))) struct TransparentTests {
    private static let dialects = [ModemDialect.espat, .quectel]

    /// The end of a stream in a test: keeps what it is given.
    private final class Reader: ByteStreamHandler {
        var stream: (any ByteStream)?
        var received: [UInt8] = []
        var window = Int.max
        var toSend: [UInt8] = []
        private(set) var isOpen = false
        private(set) var isClosed = false
        private(set) var error: SocketError?

        func opened() {
            isOpen = true
            writable()
        }

        func received(_ bytes: Span<UInt8>) -> Int {
            let count = min(bytes.count, window)
            for index in 0..<count { received.append(bytes[index]) }
            window -= count
            return count
        }

        func writable() {
            guard let stream, !toSend.isEmpty else { return }
            let count = stream.send(toSend.span)
            toSend.removeFirst(count)
        }

        func closed(_ error: SocketError?) { (isClosed, self.error) = (true, error) }
    }

    private func open(_ bench: VirtualBench) -> Reader {
        let reader = Reader()
        reader.stream = bench.modem.openTransparent(
            to: Endpoint(host: "192.0.2.7", port: 7_000),
            deadline: bench.loop.now + .seconds(60),
            handler: reader
        )
        return reader
    }

    /// What the server has, which keeps all and sends what the test says.
    private func serve(_ bench: VirtualBench) -> Reader {
        let reader = Reader()
        reader.stream = bench.accepted
        bench.accepted?.handler = reader
        return reader
    }

    private static let allBytes = (0..<20_000).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8) }

    @Test(arguments: dialects) func carriesAllBytesBothWays(dialect: ModemDialect) throws {
        let bench = try VirtualBench(dialect)
        bench.run {
            let client = open(bench)
            bench.after(.seconds(5)) {
                #expect(client.isOpen)
                let server = serve(bench)
                client.toSend = Self.allBytes
                client.writable()
                server.toSend = Self.allBytes.reversed()
                server.writable()
                bench.after(.seconds(20)) {
                    let (up, down) = (server.received == Self.allBytes, client.received == Self.allBytes.reversed())
                    #expect(up && down, "\(server.received.count) and \(client.received.count) bytes")
                    client.stream?.close()
                    bench.after(.seconds(10)) {
                        #expect(client.isClosed && client.error == nil)
                        #expect(server.isClosed && server.error == nil)
                        // The line is the modem's again.
                        let probe = bench.connect()
                        bench.after(.seconds(10)) {
                            #expect(probe.isOpen && !probe.isClosed)
                            #expect(bench.modem.counters.timeouts == 0)
                            bench.finish()
                        }
                    }
                }
            }
        }
    }

    /// Plus signs are data, wherever the silences are: the peer gets all of them, and the line stays a pipe.
    @Test(arguments: dialects, [["+++"], ["+", "+", "+"], ["++", "+"], ["+", "++x"], ["++++++"], ["+++", "+++"]])
    func plusSignsAreNoEscape(dialect: ModemDialect, pieces: [String]) throws {
        let bench = try VirtualBench(dialect)
        bench.run {
            let client = open(bench)
            bench.after(.seconds(5)) {
                let server = serve(bench)
                for (index, piece) in pieces.enumerated() {
                    // All within the time in which three count as one.
                    bench.after(.milliseconds(3_000 + 5 * index)) { _ = client.stream?.send(Array(piece.utf8).span) }
                }
                bench.after(.seconds(10)) { _ = client.stream?.send(Array(" and more".utf8).span) }
                bench.after(.seconds(15)) {
                    #expect(String(decoding: server.received, as: UTF8.self) == pieces.joined() + " and more")
                    #expect(!client.isClosed)
                    bench.finish()
                }
            }
        }
    }

    @Test func theEndOfThePeerIsTold() throws {
        let bench = try VirtualBench(.quectel)
        bench.run {
            let client = open(bench)
            bench.after(.seconds(5)) {
                _ = bench.accepted?.send(Array("bye\r\nNO CAR".utf8).span)
                bench.accepted?.close()
            }
            bench.after(.seconds(20)) {
                #expect(String(decoding: client.received, as: UTF8.self) == "bye\r\nNO CAR")
                #expect(client.isClosed && client.error == nil)
                let probe = bench.connect()
                bench.after(.seconds(10)) {
                    #expect(probe.isOpen)
                    bench.finish()
                }
            }
        }
    }

    /// What only begins like the modem's last word is data, after a while also at the end of a piece.
    @Test func whatLooksLikeTheEndIsGivenOn() throws {
        let bench = try VirtualBench(.quectel)
        bench.run {
            let client = open(bench)
            bench.after(.seconds(5)) { _ = bench.accepted?.send(Array("\r\nNO CARRIER".utf8).span) }
            bench.after(.seconds(10)) {
                #expect(String(decoding: client.received, as: UTF8.self) == "\r\nNO CARRIER")
                _ = bench.accepted?.send(Array("\r\n\r\r\nNO\r\nNO CARRIER\r\nand on".utf8).span)
            }
            bench.after(.seconds(15)) {
                let all = "\r\nNO CARRIER\r\n\r\r\nNO\r\nNO CARRIER\r\nand on"
                #expect(String(decoding: client.received, as: UTF8.self) == all)
                #expect(!client.isClosed)
                bench.finish()
            }
        }
    }

    @Test(arguments: dialects) func aReaderThatTakesNothingStopsTheLine(dialect: ModemDialect) throws {
        let bench = try VirtualBench(dialect)
        bench.run {
            let client = open(bench)
            client.window = 5
            bench.after(.seconds(5)) { _ = bench.accepted?.send(Array("hello, world".utf8).span) }
            bench.after(.seconds(10)) {
                #expect(String(decoding: client.received, as: UTF8.self) == "hello")
                client.window = .max
                client.stream?.resumeReceiving()
            }
            bench.after(.seconds(12)) {
                #expect(String(decoding: client.received, as: UTF8.self) == "hello, world")
                bench.finish()
            }
        }
    }

    @Test func theLineIsForOneOnly() throws {
        let bench = try VirtualBench(.quectel)
        bench.run {
            let first = open(bench)
            let second = open(bench)
            let probe = bench.connect()
            bench.after(.seconds(5)) {
                #expect(first.isOpen)
                #expect(second.isClosed && second.error == .tooManySockets(code: 0))
                #expect(!probe.isOpen && !probe.isClosed)
                let third = open(bench)
                first.stream?.close()
                bench.after(.seconds(10)) {
                    #expect(third.isClosed && third.error == .tooManySockets(code: 0))
                    #expect(first.isClosed && probe.isOpen)
                    // While there is a socket, there is no pipe.
                    let fourth = open(bench)
                    bench.after(.seconds(1)) {
                        #expect(fourth.isClosed && fourth.error == .tooManySockets(code: 0))
                        bench.finish()
                    }
                }
            }
        }
    }

    @Test func modemsWithoutItSaySo() throws {
        let bench = try VirtualBench(.ublox)
        bench.run {
            let client = open(bench)
            bench.after(.seconds(5)) {
                #expect(client.isClosed && client.error == .notSupported)
                bench.finish()
            }
        }
    }

    @Test(arguments: dialects) func aPeerThatIsNotThereIsAnError(dialect: ModemDialect) throws {
        let bench = try VirtualBench(dialect)
        bench.run {
            let reader = Reader()
            let endpoint = Endpoint(host: "192.0.2.7", port: 7_001)
            reader.stream = bench.modem.openTransparent(to: endpoint, deadline: .seconds(60), handler: reader)
            bench.after(.seconds(100)) {
                #expect(reader.isClosed && reader.error == .refused(code: 0), "\(String(describing: reader.error))")
                let probe = bench.connect()
                bench.after(.seconds(10)) {
                    #expect(probe.isOpen)
                    bench.finish()
                }
            }
        }
    }

    @Test(arguments: dialects) func aModemThatRestartsEndsIt(dialect: ModemDialect) throws {
        let bench = try VirtualBench(dialect)
        bench.run {
            let client = open(bench)
            bench.after(.seconds(5)) {
                #expect(client.isOpen)
                bench.modem.detach()
                bench.after(.seconds(1)) {
                    #expect(client.isClosed && client.error == .deviceRestarted)
                    bench.finish()
                }
            }
        }
    }

    @Test func closedBeforeItIsOpenItIsOver() throws {
        let bench = try VirtualBench(.quectel)
        bench.run {
            let client = open(bench)
            client.stream?.close()
            bench.after(.seconds(5)) {
                #expect(client.isClosed && client.error == nil && !client.isOpen)
                bench.finish()
            }
        }
    }
}
