/// What a multiplexer has more than a plain line.
extension Worker {
    /// Goes on in frames once all that was said is on the line.
    func startMultiplexer(_ parameters: Multiplexer.Parameters) {
        afterOutput { [self] in
            input = []
            multiplexer = Multiplexer(parameters, worker: self)
        }
    }

    /// The line is plain again, and speaks with the first interpreter.
    func leaveMultiplexer() { endChannels() }

    func endChannels() {
        multiplexer = nil
        for other in others.values { other.powerDown() }
        (others, owners, channelInput) = ([:], [:], [:])
    }

    /// The host has opened a channel: it has an interpreter with settings of its own.
    func channelOpened(_ channel: Int) {
        guard channel > 1 else {
            (dialect as? CommandModem)?.echo = true
            return
        }
        let modem = makeDialect(channel: channel)
        others[channel] = modem
        modem.powerUp(hasBanner: false)
    }

    func channelClosed(_ channel: Int) {
        others.removeValue(forKey: channel)?.powerDown()
        channelInput[channel] = nil
    }

    func channelReceived(_ bytes: [UInt8], on channel: Int) { channelInput[channel, default: []] += bytes }

    /// A link belongs to the channel that has opened it.
    func own(_ link: Int, by channel: Int) { owners[link] = channel > 1 ? channel : nil }
}
