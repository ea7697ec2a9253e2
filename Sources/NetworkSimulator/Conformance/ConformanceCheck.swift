import Kernel
public import SAL

/// What every `Network` of SAL must do, one thing at a time: for the tests of a network, whatever it is made of.
///
/// ```swift
/// @Test(arguments: ConformanceCheck.all) func conforms(_ check: ConformanceCheck) async throws {
///     try await check.run(setup)
/// }
/// ```
public struct ConformanceCheck: Sendable, CustomStringConvertible {
    /// The network, and its surroundings.
    public struct Setup: Sendable {
        /// The network that is checked.
        public var subject: any Network & DatagramNetwork
        /// Another of its kind, to be used at the same time.
        public var other: (any Network & DatagramNetwork)?
        /// A network that the check's own servers run on.
        public var server: any ServerNetwork
        /// Where those listen, as the servers know it.
        public var serverAddress: IPAddress
        /// The same, as the subject knows it: an address.
        public var serverHost: String
        /// A name of it, if the subject can look up names.
        public var serverName: String?
        /// Where the subject finds no way to.
        public var unreachable: Endpoint?
        /// Where nobody answers, not even to refuse.
        public var silent: Endpoint?
        /// Restarts the device below the subject, if there is one.
        public var restartDevice: (@Sendable () async throws -> Void)?
        /// How much is sent where much is to be sent, in bytes.
        public var bulkBytes = 1_048_576
        /// Whether the subject tells a stream that was reset from one that ended.
        public var tellsResets = true
        /// Whether the subject tells a port where nobody listens from other failures.
        public var tellsRefusals = true
        /// How long anything may take, in the loop's time.
        public var patience = Duration.seconds(30)

        /// A subject whose peers are on `server`, which listens at `serverAddress`.
        public init(
            subject: any Network & DatagramNetwork,
            server: any ServerNetwork,
            serverAddress: IPAddress,
            serverHost: String
        ) {
            self.subject = subject
            self.server = server
            self.serverAddress = serverAddress
            self.serverHost = serverHost
        }
    }

    /// What must be so.
    public let name: String
    private let body: @Sendable (Setup) async throws -> Void

    init(_ name: String, _ body: @escaping @Sendable (Setup) async throws -> Void) {
        self.name = name
        self.body = body
    }

    /// Its name.
    public var description: String { name }

    /// Finds out whether it is so; throws ``ConformanceFailure`` if it is not. What the subject says that it cannot do, or the setup has not, is not asked for.
    public func run(_ setup: Setup) async throws { try await body(setup) }

    /// All of them.
    public static var all: [ConformanceCheck] { connecting + carrying + ending + datagrams + together }
}

/// What a network did otherwise than it must.
public struct ConformanceFailure: Error, CustomStringConvertible {
    /// In a sentence.
    public let description: String

    init(_ description: String) { self.description = description }
}

func require(_ condition: Bool, _ otherwise: @autoclosure () -> String) throws {
    if !condition { throw ConformanceFailure(otherwise()) }
}
