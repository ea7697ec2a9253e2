import CLinux
import Kernel
import SAL
import Testing

/// What sockets leave behind. Each test has a process of its own, whose memory nobody else uses.
@Suite(.timeLimit(.minutes(1))) struct SocketLeakTests {
    @Test func aThousandConnectionsLeaveNothingBehind() async {
        await #expect(processExitsWith: .success) {
            let (loop, peer) = (EventLoop.start(), Peer())
            let port = peer.port
            func connect(_ count: Int) async {
                for index in 0..<count {
                    let probe = Probe()
                    let stream = await loop.call {
                        LoopBox(
                            LinuxNetwork(loop: loop).connect(
                                to: Endpoint(host: "127.0.0.1", port: port),
                                deadline: loop.now + .seconds(10),
                                handler: probe
                            )
                        )
                    }
                    await probe.wait(on: loop) { $0.isOpen || $0.isClosed }
                    let accepted = CLinux.accept(peer.listener, nil, nil)
                    await loop.call { _ = stream.value.send(([1, 2, 3] as [UInt8]).span) }
                    // The peer ends one half, this side the other.
                    if index % 2 == 0 { close(accepted) } else { await loop.call { stream.value.close() } }
                    await probe.wait(on: loop) { $0.isClosed }
                    if index % 2 != 0 { close(accepted) }
                }
            }
            // The caches of the allocator fill up, one for each thread.
            await connect(500)
            let before = await usage(loop)
            await connect(1_000)
            let after = await usage(loop)
            #expect(after.heap - before.heap < 16_384, "heap grew from \(before.heap) to \(after.heap) bytes")
            #expect(after.descriptors == before.descriptors)
            loop.stop()
        }
    }

    /// Refused connections, names without an address, datagram sockets, and serial ports.
    @Test func whatFailsOrIsClosedLeavesNothingBehind() async {
        await #expect(processExitsWith: .success) {
            let loop = EventLoop.start()
            var (line, other): (Int32, Int32) = (-1, -1)
            var name = [CChar](repeating: 0, count: 128)
            openpty(&line, &other, &name, nil, nil)
            let path = String(decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
            func open(_ count: Int) async {
                for _ in 0..<count {
                    for host in ["127.0.0.1", "..."] {
                        let probe = Probe()
                        await loop.call {
                            _ = LinuxNetwork(loop: loop).connect(
                                to: Endpoint(host: host, port: 1),
                                deadline: loop.now + .seconds(10),
                                handler: probe
                            )
                        }
                        await probe.wait(on: loop) { $0.isClosed }
                    }
                    let datagrams = DatagramProbe()
                    let socket = await loop.call {
                        LoopBox(
                            LinuxNetwork(loop: loop).openDatagrams(
                                to: Endpoint(host: "127.0.0.1", port: 9),
                                deadline: loop.now + .seconds(10),
                                handler: datagrams
                            )
                        )
                    }
                    await datagrams.wait(on: loop) { $0.isOpen }
                    await loop.call { socket.value.close() }
                    await datagrams.wait(on: loop) { $0.isClosed }
                    let probe = Probe()
                    await loop.call {
                        let stream = try? SerialPort.open(path: path, loop: loop)
                        stream?.handler = probe
                        stream?.close()
                        if stream == nil { probe.closed(nil) }
                        _ = try? SerialPort.open(path: "/dev/null", loop: loop)
                        _ = try? SerialPort.open(path: path, settings: SerialSettings(baudRate: 12_345), loop: loop)
                    }
                    await probe.wait(on: loop) { $0.isClosed }
                }
            }
            await open(200)
            let before = await usage(loop)
            await open(300)
            let after = await usage(loop)
            #expect(after.heap - before.heap < 16_384, "heap grew from \(before.heap) to \(after.heap) bytes")
            #expect(after.descriptors == before.descriptors)
            loop.stop()
        }
    }
}
