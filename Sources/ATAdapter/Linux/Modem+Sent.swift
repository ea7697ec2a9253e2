#if !hasFeature(Embedded)
public import SAL

extension Modem {
    /// Calls `completion` when the modem has taken all that was sent on `stream` so far, or the stream has ended before: its handler is told
    /// of that first.
    public func whenSent(_ stream: any ByteStream, completion: @escaping () -> Void) {
        whenSent(stream as AnyObject, completion)
    }

    /// Calls `completion` when the modem has taken all datagrams that were sent on `socket` so far, or the socket has ended before.
    public func whenSent(_ socket: any DatagramSocket, completion: @escaping () -> Void) {
        whenSent(socket as AnyObject, completion)
    }

    private func whenSent(_ socket: AnyObject, _ completion: @escaping () -> Void) {
        guard let socket = socket as? ModemSocket, !socket.isTold else { return completion() }
        let earlier = socket.sent
        socket.sent = {
            earlier?()
            completion()
        }
        askForEndOfTurn()
    }
}
#endif
