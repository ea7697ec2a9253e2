/// Data mode: the line carries the data of one link as it is, until the escape between two silences.
extension CommandModem {
    struct DataMode {
        let link: Int
        /// How long the line is silent around the escape, in milliseconds.
        let silence: Int
        var lastByte: Int64
        /// Plus signs behind a silence, of which three may be the escape, and how often there were some.
        var pluses = 0
        var serial = 0
    }

    /// From now on the line carries the data of `link`.
    func beginData(_ link: Int, silenceMilliseconds: Int) {
        dataMode = DataMode(link: link, silence: silenceMilliseconds, lastByte: worker.now)
    }

    func takeData(_ input: inout [UInt8]) {
        guard var mode = dataMode else { return }
        let isAfterSilence = worker.now - mode.lastByte >= Int64(mode.silence) * 1_000_000
        let plus = UInt8(ascii: "+")
        if isAfterSilence || mode.pluses > 0, mode.pluses + input.count <= 3, input.allSatisfy({ $0 == plus }) {
            mode.pluses += input.count
            mode.serial += 1
            input = []
            let serial = mode.serial
            worker.after(milliseconds: mode.silence) { [self] in silenceCame(serial) }
        } else {
            input.insert(contentsOf: [UInt8](repeating: plus, count: mode.pluses), at: 0)
            mode.pluses = 0
            mode.serial += 1
            pass(&input, to: mode.link)
        }
        mode.lastByte = worker.now
        dataMode = mode
    }

    private func pass(_ bytes: inout [UInt8], to link: Int) {
        switch take(bytes, on: link, inParts: true) {
        case .bytes(let count): bytes.removeFirst(count)
        case .nothing: break
        case .gone: bytes = []
        }
    }

    /// The line was silent behind plus signs.
    private func silenceCame(_ serial: Int) {
        guard let mode = dataMode, mode.serial == serial else { return }
        if mode.pluses == 3 {
            dataMode = nil
            say("\r\nOK\r\n")
            serve(mode.link)
        } else {
            var bytes = [UInt8](repeating: UInt8(ascii: "+"), count: mode.pluses)
            dataMode?.pluses = 0
            pass(&bytes, to: mode.link)
        }
    }

    /// Gives the host what has come for the link.
    func passData(_ link: Int) {
        while let state = sockets[link], state.readable > 0 { put(sockets.read(link, 1_460).bytes) }
        guard let state = sockets[link], state.hasEnded, !state.endWasTold, state.buffer.isEmpty else { return }
        sockets[link]?.endWasTold = true
        guard tellsEndOfData(link) else { return }
        dataMode = nil
        say("\r\nNO CARRIER\r\n")
    }
}
