internal import Kernel
public import SAL

extension Multiplexer {
    /// Opens a channel, of which modems have those from 1 on. It opens when there are frames; its `handler` is told then.
    ///
    /// It ends with `SocketError.addressInUse` while another stream has the channel, and with `.refused` if the modem does not have it.
    public func openChannel(_ number: Int, handler: any ByteStreamHandler) -> any ByteStream {
        let channel = MultiplexerChannel(number, self, handler)
        if case .closed = phase { channel.end(.closed) }
        if case .leaving = phase { channel.end(.closed) }
        if !(1..<session.channels.count).contains(number) { channel.end(.notSupported) }
        if channels.contains(where: { $0.number == number && !$0.isEnding }) { channel.end(.addressInUse(code: 0)) }
        channels.append(channel)
        askForEndOfTurn()
        return channel
    }

    /// Closes a channel at once, in which nobody is interested any more.
    func drop(_ number: Int) {
        if case .framed = phase { session.close(number, at: loop.now) }
    }
}
