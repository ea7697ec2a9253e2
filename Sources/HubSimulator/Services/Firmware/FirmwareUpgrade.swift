/// How a device is told of an update; what is wrong here, the device should notice.
public struct UpgradeOptions: Equatable, Sendable {
    /// How long the URL is good, from each message on.
    public var urlLifetime: Duration = .seconds(86_400)
    /// Free text for the device, up to 1536 bytes.
    public var userDefined: String?
    /// The task's number, for devices of IoT Explorer.
    public var taskID: Int?
    /// Instead of the file's MD5, in hexadecimal digits.
    public var md5: String?
    /// Instead of the file's size in bytes.
    public var fileSize: Int?

    /// An update that is as it says.
    public init() {}
}

/// How far a device is with an update.
public struct UpgradeStatus: Equatable, Sendable {
    /// What the device says.
    public enum State: String, Sendable {
        /// Nothing yet.
        case pending
        /// It fetches the file.
        case downloading
        /// It installs.
        case burning
        /// It has the version.
        case done
        /// It failed; the next report of another version begins anew.
        case failed = "fail"
    }

    /// The version that the device reported last; `nil` if it never did.
    public let reportedVersion: String?
    /// The version that it is to have; `nil` without an update.
    public let targetVersion: String?
    /// How far it is.
    public let state: State
    /// The last percentage.
    public let percent: Int
    /// 0, or −1 to −5 of a failure.
    public let resultCode: Int
    /// The device's words for it.
    public let resultMessage: String
    /// What reports broke of the rules: numbers that are no texts, steps in the wrong order. The last 100.
    public let violations: [String]
}

/// The rules of a device's update: what it reports, in which order.
struct UpgradeRecord {
    static let violationLimit = 100

    var document: HubJSON

    init(_ document: HubJSON?) { self.document = document ?? .emptyObject }

    var reportedVersion: String? { document["reported"]?.string }
    var targetVersion: String? { document["target"]?.string }
    var state: UpgradeStatus.State {
        document["state"]?.string.flatMap { UpgradeStatus.State(rawValue: $0) } ?? .pending
    }
    /// Whether the device has yet to get there.
    var isOpen: Bool { targetVersion != nil && state != .done }

    var status: UpgradeStatus {
        UpgradeStatus(
            reportedVersion: reportedVersion,
            targetVersion: targetVersion,
            state: state,
            percent: document["percent"]?.integer ?? 0,
            resultCode: document["resultCode"]?.integer ?? 0,
            resultMessage: document["resultMessage"]?.string ?? "",
            violations: document["violations"]?.elements?.compactMap(\.string) ?? []
        )
    }

    /// Begins an update; what was before is forgotten.
    mutating func begin(_ version: String, _ options: HubJSON) {
        let reported = document["reported"]
        document = ["target": .string(version), "options": options, "state": "pending"]
        if let reported { document["reported"] = reported }
    }

    /// The device says what it runs, which ends what was under way.
    mutating func reportVersion(_ version: String) {
        document["reported"] = .string(version)
        guard isOpen else { return }
        document["state"] = .string(version == targetVersion ? "done" : "pending")
        document["percent"] = 0
    }

    /// The device says how far it is.
    mutating func reportProgress(_ report: HubJSON) {
        guard let progress = report["progress"], let name = progress["state"]?.string,
            let next = UpgradeStatus.State(rawValue: name), next != .pending
        else { return violate("progress without one of the states") }
        // Done may be said after the new version has been, too.
        guard isOpen || (state == .done && next == .done) else { return violate("\(name) without an update") }
        if report["version"]?.string != targetVersion { violate("\(name) of another version") }
        for member in progress.members ?? [] where member.value.string == nil {
            violate("\(member.name) is no text in \(name)")
        }
        let percent = progress["percent"]?.integer ?? 0
        let before = document["percent"]?.integer ?? 0
        switch (state, next) {
        case (.pending, .downloading), (.failed, .downloading), (.downloading, .burning), (.burning, .done),
            (.done, .done), (_, .failed):
            break
        // What is there already need not be fetched.
        case (.pending, .burning): break
        case (.downloading, .downloading): if percent < before { violate("\(percent) percent after \(before)") }
        // The vendor's sample says done right after verification.
        case (.downloading, .done): break
        case (let state, let next): violate("\(next.rawValue) after \(state.rawValue)")
        }
        if next == .downloading, !(0...100 ~= percent) { violate("\(percent) percent") }
        document["state"] = .string(next.rawValue)
        document["percent"] = HubJSON(next == .downloading ? percent : before)
        document["resultCode"] = HubJSON(progress["result_code"]?.integer ?? 0)
        document["resultMessage"] = .string(progress["result_msg"]?.string ?? "")
    }

    private mutating func violate(_ text: String) {
        var violations = document["violations"]?.elements ?? []
        if violations.count == Self.violationLimit { violations.removeFirst() }
        document["violations"] = .array(violations + [.string(text)])
    }
}
