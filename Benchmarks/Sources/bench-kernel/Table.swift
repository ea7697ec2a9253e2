import CKernelPeers

/// Something that is done so many times.
struct Way {
    let name: String
    let count: Int
    let run: (Int) -> Void

    init(_ name: String, _ count: Int = 300_000, _ run: @escaping (Int) -> Void) {
        self.name = name
        self.count = count
        self.run = run
    }
}

/// Prints the nanoseconds of each way to do the same, ours first: the least of several rounds, in which the ways take turns, so that what disturbs
/// the machine for a while disturbs all of them.
struct Table {
    let isJSON: Bool
    private(set) var missed: [String] = []
    private static let rounds = 7

    init(isJSON: Bool) { self.isJSON = isJSON }

    /// `goal` is the greatest ratio to the best of those whose names begin with `against` (to all, where that is nil).
    mutating func measure(_ what: String, _ ways: [Way], against: String? = nil, goal: Double? = nil, limit: Double? = nil) {
        var best = [Double](repeating: .infinity, count: ways.count)
        for _ in 0..<Self.rounds {
            for (index, way) in ways.enumerated() {
                let start = peer_now()
                way.run(way.count)
                best[index] = min(best[index], Double(peer_now() - start) / Double(way.count))
            }
        }
        print(what)
        let peers = zip(ways, best).dropFirst().filter { way, _ in against.map { way.name.hasPrefix($0) } ?? true }
        let fastest = peers.map(\.1).min()
        for (index, way) in ways.enumerated() {
            var line = "  " + way.name.padded(to: 34) + best[index].text.padded(to: 10, left: true) + " ns"
            if index == 0, let fastest {
                line += "   \((best[0] / fastest).text)x of the best peer"
                if let goal {
                    line += best[0] <= goal * fastest ? " (goal: \(goal.text), met)" : " (goal: \(goal.text), MISSED)"
                    if best[0] > goal * fastest { missed.append(what) }
                }
            }
            if index == 0, let limit {
                line += best[0] <= limit ? "   (goal: \(limit.text) ns, met)" : "   (goal: \(limit.text) ns, MISSED)"
                if best[0] > limit { missed.append(what) }
            }
            print(line)
            if isJSON { print("{\"what\": \"\(what)\", \"way\": \"\(way.name)\", \"ns\": \(best[index].text)}") }
        }
    }
}

extension Double {
    /// With two decimals below 10, one below 100, and none above.
    var text: String {
        let scale: Double = self < 10 ? 100 : self < 100 ? 10 : 1
        let number = (self * scale).rounded() / scale
        return scale == 1 ? "\(Int(number))" : "\(number)"
    }
}

extension String {
    func padded(to width: Int, left: Bool = false) -> String {
        let spaces = String(repeating: " ", count: max(0, width - count))
        return left ? spaces + self : self + spaces
    }
}
