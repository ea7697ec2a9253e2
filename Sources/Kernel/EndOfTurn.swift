/// Something that acts once at the end of a turn of its loop, such as a stream that writes what the turn has produced.
public protocol EndOfTurnHandler: AnyObject {
    /// Called on the loop after all that was ready in this turn has been dealt with.
    func endOfTurn()
}

/// A call at the end of the current turn of an ``EventLoop``. Use it on its loop only; it allocates nothing.
public final class EndOfTurn {
    /// The loop that makes the call.
    public let loop: EventLoop
    fileprivate var handler: (any EndOfTurnHandler)?
    fileprivate var next: EndOfTurn?

    /// A call that is not asked for yet.
    public init(on loop: EventLoop) { self.loop = loop }

    /// Has `handler` called once at the end of the current turn, however often it is asked for until then; `handler` is kept
    /// alive meanwhile.
    public func request(_ handler: any EndOfTurnHandler) {
        if self.handler != nil { return }
        self.handler = handler
        loop.turnEnds.append(self)
    }
}

/// The calls that a turn is to end with, in the order of the requests.
struct EndOfTurnQueue {
    private var first: EndOfTurn?
    private var last: EndOfTurn?

    mutating func append(_ call: EndOfTurn) {
        if let last { last.next = call } else { first = call }
        last = call
    }

    mutating func popFirst() -> (any EndOfTurnHandler)? {
        guard let call = first else { return nil }
        first = call.next
        if first == nil { last = nil }
        call.next = nil
        let handler = call.handler
        call.handler = nil
        return handler
    }
}

extension EventLoop {
    /// Makes the calls that were asked for, those included that are asked for meanwhile; called by the ports once per turn.
    func endTurn() { while let handler = turnEnds.popFirst() { handler.endOfTurn() } }
}
