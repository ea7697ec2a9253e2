#if !hasFeature(Embedded)
internal import Kernel

/// How far a modem is on its way to the network: ``ModemState``, in more steps.
public enum ModemLinkState: Equatable, Sendable {
    /// There is no serial line.
    case off
    /// The modem is waited for: it starts, or does not answer yet.
    case booting
    /// It answers, and looks for its network.
    case searching
    /// A cellular network has registered it; the data connection comes next.
    case registered
    /// Sockets open.
    case attached
    /// It was attached, or could not be, for this reason if one is known; it is tried again.
    case lost(ATError?)
}

extension Modem {
    /// How far the modem is on its way, first as it is now, then each change: `for await state in modem.linkStates`. Any task may ask for it, and any
    /// number of them. A reader that is late misses the oldest of more than 32 changes.
    public var linkStates: AsyncStream<ModemLinkState> {
        let (states, source) = AsyncStream.makeStream(of: ModemLinkState.self, bufferingPolicy: .bufferingNewest(32))
        loop.execute { [self] in
            tellLinkState()
            linkReaders.add(source)
            source.yield(linkState)
        }
        return states
    }

    private var linkState: ModemLinkState {
        switch state {
        case .down: .off
        case .attached: .attached
        case .failed(let error): .lost(error)
        case .searching where attachStep == 0: .booting
        case .searching: attachStep >= dialect.registeredStep ? .registered : .searching
        }
    }

    /// Tells the readers what has changed.
    func tellLinkState() { linkReaders.tell(linkState) }
}

/// Who reads the ``Modem/linkStates`` of a modem; used on its loop only.
struct ModemLinkReaders {
    private var sources: [AsyncStream<ModemLinkState>.Continuation] = []
    private var last = ModemLinkState.off

    mutating func add(_ source: AsyncStream<ModemLinkState>.Continuation) { sources.append(source) }

    mutating func tell(_ state: ModemLinkState) {
        guard state != last else { return }
        let wasAttached = last == .attached
        last = state
        guard !sources.isEmpty else { return }
        // That it is set up again says that it was lost.
        if wasAttached, state == .booting { yield(.lost(nil)) }
        yield(state)
    }

    /// Readers that have ended are forgotten.
    private mutating func yield(_ state: ModemLinkState) {
        sources.removeAll { source in
            if case .terminated = source.yield(state) { true } else { false }
        }
    }
}
#endif
