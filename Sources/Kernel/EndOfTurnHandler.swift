/// Something that acts once at the end of a turn of its loop, such as a stream that writes what the turn has produced.
public protocol EndOfTurnHandler: AnyObject {
    /// Called on the loop after all that was ready in this turn has been dealt with.
    func endOfTurn()
}

extension EventLoop {
    /// Calls `handler` once at the end of the current turn. The caller keeps track of whether it has asked already.
    public func atEndOfTurn(_ handler: any EndOfTurnHandler) { endOfTurnHandlers.append(handler) }

    /// Calls the end-of-turn handlers, those included that are added meanwhile; called by the ports once per turn.
    func runEndOfTurn() {
        var index = 0
        while index < endOfTurnHandlers.count {
            endOfTurnHandlers[index].endOfTurn()
            index += 1
        }
        endOfTurnHandlers.removeAll(keepingCapacity: true)
    }
}
