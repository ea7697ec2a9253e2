internal import CLinux

/// The state of a simulated modem: what it has been told, and its links. It knows nothing of how bytes come and go.
struct Dialect {
    /// A socket on this machine that a link of the modem stands for.
    struct Link {
        var descriptor: Int32
        let isStream: Bool
        var isConnecting: Bool
        /// What has arrived from the network and was not read by the host.
        var buffer: [UInt8] = []
        /// For datagrams: the lengths of those in the buffer.
        var boundaries: [Int] = []
        var hasEnded = false
        var wasNotified = false
        /// What the host has sent and the network has not taken.
        var outgoing: [UInt8] = []
    }

    /// How much a passive link holds before its peer is stopped.
    static let linkBufferBytes = 5_760
    static let linkCount = 5

    let generation: ModemSimulatorConfiguration.Generation
    var echo = true
    var mode = 1
    var multiplex = false
    var passive = false
    var showsPeer = false
    var hasJoined = true
    var name = "apus"
    var links = [Link?](repeating: nil, count: linkCount)
    /// A payload is due: for this link, so many bytes.
    var payload: (link: Int, left: Int, bytes: [UInt8])?

    init(generation: ModemSimulatorConfiguration.Generation) { self.generation = generation }

    var maximumSend: Int { generation == .v1 ? 2_048 : 8_192 }

    /// Splits the parameters of a command: at commas, but not inside strings; quotes and escapes are removed.
    static func parameters(_ text: Substring) -> [String] {
        var list: [String] = []
        var current = ""
        var isInString = false
        var isEscaped = false
        for character in text {
            if isEscaped {
                current.append(character)
                isEscaped = false
            } else if isInString, character == "\\" {
                isEscaped = true
            } else if character == "\"" {
                isInString.toggle()
            } else if character == ",", !isInString {
                list.append(current)
                current = ""
            } else {
                current.append(character)
            }
        }
        return list + [current]
    }
}

/// A random number generator whose seed repeats a run.
struct Randomness: RandomNumberGenerator, Sendable {
    private var state: UInt64
    init(seed: UInt64) { state = seed &* 0x9E37_79B9_7F4A_7C15 | 1 }
    mutating func next() -> UInt64 {
        state ^= state << 13
        state ^= state >> 7
        state ^= state << 17
        return state
    }
}
