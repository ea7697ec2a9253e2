/// The modem's side of the multiplexer: channels that the host opens, each with commands of its own.
final class Multiplexer {
    /// What `AT+CMUX` has set.
    struct Parameters {
        var isAdvanced = false
        /// N1: the most information of a frame to the host.
        var frameBytes = 31
    }

    /// Channels that a host can open, control not counted.
    static let channels = 1...4

    private let parameters: Parameters
    private unowned let worker: Worker
    private var reader: FrameReader
    private var open: Set<Int> = []
    /// Channels that the host takes nothing on, and what waits for it.
    private var held: [Int: [UInt8]] = [:]
    private var holdsAll = false

    init(_ parameters: Parameters, worker: Worker) {
        self.parameters = parameters
        self.worker = worker
        reader = FrameReader(isAdvanced: parameters.isAdvanced)
    }

    /// Takes the host's bytes, until it has ended the multiplexer; returns what is left.
    func receive(_ bytes: [UInt8]) -> [UInt8] {
        for (index, byte) in bytes.enumerated() {
            let damaged = reader.damaged
            if let frame = reader.take(byte) {
                worker.count(\.frames)
                if !take(frame) { return Array(bytes[(index + 1)...]) }
            }
            if reader.damaged > damaged { worker.count(\.damagedFrames) }
        }
        return []
    }

    /// Sends what an interpreter of commands says.
    func send(_ bytes: [UInt8], on dlci: Int, afterMilliseconds delay: Int) {
        guard open.contains(dlci) else { return }
        if holdsAll || held[dlci] != nil { return held[dlci, default: []] += bytes }
        var rest = bytes[...]
        while !rest.isEmpty {
            let piece = Array(rest.prefix(parameters.frameBytes))
            rest = rest.dropFirst(piece.count)
            put(.uih, dlci, piece, carriesCR: worker.faults.setsCommandBit, afterMilliseconds: delay)
        }
    }

    private func put(
        _ kind: Frame.Kind,
        _ dlci: Int,
        _ information: [UInt8] = [],
        carriesCR: Bool,
        hasFinal: Bool = false,
        afterMilliseconds delay: Int = 0
    ) {
        let frame = Frame(dlci: dlci, kind: kind, carriesCR: carriesCR, hasFinal: hasFinal, information: information)
        worker.transmit(frame.octets(isAdvanced: parameters.isAdvanced), afterMilliseconds: delay)
    }

    /// Answers of this side have C/R.
    private func answer(_ kind: Frame.Kind, _ dlci: Int) { put(kind, dlci, carriesCR: true, hasFinal: true) }

    /// False if that was the end of the multiplexer.
    private func take(_ frame: Frame) -> Bool {
        switch frame.kind {
        case .sabm where frame.dlci == 0 || Self.channels.contains(frame.dlci):
            answer(.ua, frame.dlci)
            guard open.insert(frame.dlci).inserted, frame.dlci > 0 else { break }
            control(0xE3, [UInt8(frame.dlci * 4 + 3), 0x8D])
            worker.channelOpened(frame.dlci)
        case .sabm: answer(.dm, frame.dlci)
        case .disc:
            guard open.remove(frame.dlci) != nil else {
                answer(.dm, frame.dlci)
                break
            }
            answer(.ua, frame.dlci)
            if frame.dlci == 0 { return leave() }
            held[frame.dlci] = nil
            worker.channelClosed(frame.dlci)
        case .uih where frame.dlci == 0, .ui where frame.dlci == 0: return takeControl(frame.information)
        case .uih, .ui:
            guard open.contains(frame.dlci) else {
                answer(.dm, frame.dlci)
                break
            }
            worker.channelReceived(frame.information, on: frame.dlci)
        case .ua, .dm: break
        }
        return true
    }

    private func leave() -> Bool {
        worker.leaveMultiplexer()
        return false
    }

    // MARK: Control

    private func control(_ type: UInt8, _ values: [UInt8]) {
        put(.uih, 0, [type, UInt8(values.count * 2 + 1)] + values, carriesCR: worker.faults.setsCommandBit)
    }

    private func takeControl(_ message: [UInt8]) -> Bool {
        guard message.count >= 2, message.count >= 2 + Int(message[1] / 2) else { return true }
        let values = Array(message[2..<(2 + Int(message[1] / 2))])
        switch message[0] {
        case 0xC3:
            control(0xC1, [])
            return leave()
        case 0x23: if !worker.faults.ignoresTests { control(0x21, values) }
        case 0xE3:
            control(0xE1, values)
            guard values.count >= 2 else { break }
            let dlci = Int(values[0] / 4)
            if values[1] & 2 != 0 { held[dlci] = held[dlci] ?? [] } else { release(dlci) }
        case 0x63:
            control(0x61, [])
            holdsAll = true
        case 0xA3:
            control(0xA1, [])
            holdsAll = false
            for dlci in held.keys { release(dlci) }
        case 0x43: control(0x41, [])
        case 0x83: control(0x81, values)
        // An answer.
        case let type where type & 2 == 0: break
        case let type: control(0x11, [type])
        }
        return true
    }

    private func release(_ dlci: Int) {
        guard !holdsAll, let bytes = held.removeValue(forKey: dlci) else { return }
        send(bytes, on: dlci, afterMilliseconds: 0)
    }
}
