import Kernel

extension Scenario {
    static var eventFlags: [Scenario] {
        [
            Scenario("event flags: any, all, and clearing, each way") { (checks) throws(KernelError) in
                let flags = EventFlags(0b0011)
                checks.expect(try flags.wait(for: 0b0110, .any, .noWait) == 0b0010)
                checks.expect(.wouldBlock) { () throws(KernelError) in _ = try flags.wait(for: 0b0110, .all, .noWait) }
                checks.expect(try flags.wait(for: 0b0011, .all, .noWait) == 0b0011)
                checks.expect(flags.current == 0b0011)
                checks.expect(try flags.wait(for: 0b0001, .all, clearing: true, .noWait) == 0b0001)
                checks.expect(flags.current == 0)
                checks.expect(.timedOut) { () throws(KernelError) in _ = try flags.wait(for: 1, .any, .milliseconds(3))
                }
                try flags.set(0x8000_0000)
                checks.expect(try flags.wait(for: 0xC000_0000, .any, clearing: true) == 0x8000_0000)
                checks.expect(flags.current == 0)
            },
            Scenario("event flags: replaced, added, and cleared") { (checks) throws(KernelError) in
                let flags = EventFlags(0b0101)
                try flags.replace(with: 0b0010)
                checks.expect(flags.current == 0b0010)
                try flags.set(0b1000)
                checks.expect(flags.current == 0b1010)
                try flags.clear(0b0010)
                checks.expect(flags.current == 0b1000)
            },
            Scenario("event flags: none is always all of none, and never any") { (checks) throws(KernelError) in
                let flags = EventFlags(7)
                checks.expect(try flags.wait(for: 0, .all, .noWait) == 0)
                checks.expect(.wouldBlock) { () throws(KernelError) in _ = try flags.wait(for: 0, .any, .noWait) }
            },
            Scenario("event flags: two halves make all") { (checks) throws(KernelError) in
                let flags = EventFlags()
                let waiter = try Worker { () throws(KernelError) in
                    guard try flags.wait(for: 0b11, .all) == 0b11 else { throw .wrongState }
                }.settled()
                try flags.set(0b01)
                try KernelTask.delay(.milliseconds(3))
                checks.expect(!waiter.hasEnded)
                try flags.set(0b10)
                checks.expect(try waiter.succeeds())
                checks.expect(flags.current == 0b11)
            },
            Scenario("event flags: who clears them leaves nothing to those behind") { (checks) throws(KernelError) in
                let flags = EventFlags()
                let first = try Worker(5) { () throws(KernelError) in _ = try flags.wait(for: 1, clearing: true) }
                    .settled()
                let second = try Worker(8) { () throws(KernelError) in _ = try flags.wait(for: 1) }.settled()
                try flags.set(3)
                checks.expect(try first.succeeds())
                checks.expect(flags.current == 0)
                checks.expect(!second.hasEnded)
                try flags.set(1)
                checks.expect(try second.succeeds())
            },
            Scenario("event flags: all whose flags are set go on, the others wait") { (checks) throws(KernelError) in
                let flags = EventFlags()
                var waiters: [Worker] = []
                for flag in [UInt32(1), 2, 1, 3] {
                    waiters.append(
                        try Worker { () throws(KernelError) in _ = try flags.wait(for: flag, .all) }.settled()
                    )
                }
                try flags.set(1)
                checks.expect(try waiters[0].succeeds())
                checks.expect(try waiters[2].succeeds())
                checks.expect(!waiters[1].hasEnded && !waiters[3].hasEnded)
                flags.destroy()
                checks.expect(try waiters[1].outcome() == .destroyed)
                checks.expect(try waiters[3].outcome() == .destroyed)
                checks.expect(.destroyed) { () throws(KernelError) in try flags.set(1) }
            },
            Scenario("K16: flags set by many at once are all there") { (checks) throws(KernelError) in
                let flags = EventFlags()
                var workers: [Worker] = []
                for bit in 0..<4 {
                    workers.append(
                        try Worker(12) { () throws(KernelError) in
                            for step in 0..<8 { try flags.set(1 << UInt32(step * 4 + bit)) }
                        }
                    )
                }
                for worker in workers { checks.expect(try worker.succeeds()) }
                checks.expect(flags.current == .max)
            },
        ]
    }
}
