internal import Kernel
internal import SAL

/// What is done when nothing comes: commands are sent again, and a modem that has gone is noticed.
extension CMUXSession {
    /// Acts on a ``deadline`` that has passed; call it again until it returns `nil`.
    mutating func handleTimeout(at now: Duration) -> Event? {
        self.now = now
        if isOver { return nil }
        while now >= abandonsAt {
            let nothing: [UInt8] = []
            var position = 0
            if let frame = decoder.receive(nothing.span, from: &position) {
                if let event = handle(frame) { return event }
            } else if decoder.isInside {
                decoder.abandon()
            } else {
                abandonsAt = Self.never
            }
            count()
        }
        for number in channels.indices where now >= channels[number].repeatsAt {
            if let event = repeatPending(number) { return event }
        }
        if now >= testsAt { return handleTestTime() }
        return nil
    }

    mutating func repeatPending(_ number: Int) -> Event? {
        let isClosing = channels[number].state == .closing
        if channels[number].state == .open, channels[number].tries >= Self.closeTries {
            // Not all modems answer a status.
            channels[number].repeatsAt = Self.never
            return nil
        }
        if channels[number].tries >= (isClosing ? Self.closeTries : Self.openTries) {
            return ended(number, isClosing ? nil : .timedOut)
        }
        counters.repeats += 1
        sendPending(number)
        return nil
    }

    mutating func handleTestTime() -> Event? {
        if testTries == 0 {
            test(at: now)
        } else if testTries < Self.openTries {
            counters.repeats += 1
            sendTest()
        } else if heardAt < testBeganAt {
            return over(.unresponsive)
        } else {
            // It does not answer tests, but is there.
            endTest()
        }
        return nil
    }

    mutating func endTest() {
        testTries = 0
        testsAt = Self.never
    }
}
