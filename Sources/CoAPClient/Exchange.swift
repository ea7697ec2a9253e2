extension CoAPSession {
    /// A request from ``send(_:timeout:at:)`` until it is finished.
    final class Exchange {
        enum State {
            /// It has not been sent yet.
            case queued
            /// It waits for its turn to send its next message.
            case waiting
            /// Confirmable, and neither acknowledged nor answered: it counts as outstanding.
            case unacknowledged(transmissions: Int, timeout: Duration, resendAt: Duration)
            /// Acknowledged.
            case acknowledged
            /// It gets notifications.
            case observing
            /// Not confirmable, and on its way: it counts as outstanding too (RFC 7252, 4.7).
            case unacknowledgeable
            /// It is over.
            case over
        }

        /// Who is told how it went.
        enum Audience: Equatable {
            case user
            /// This observation: it fetches the rest of a notification.
            case observation(CoAPExchangeID)
            case nobody
        }

        let id: CoAPExchangeID
        /// Where the lists go on that the table of exchanges finds it by.
        var nextByToken = ExchangeTable.nowhere
        var nextByMessageID = ExchangeTable.nowhere
        /// Whether it is found by its token: from its first message on.
        var hasToken = false
        /// Whether it is in the line of those that have another message to send.
        var isInLine = false
        /// Whether a body that comes in blocks is put together.
        var collectsBlocks = true
        /// Whether it is over once it is sent.
        var wantsNoResponse = false
        /// Drawn when it goes out, as the message ID is.
        var token: CoAPToken
        let method: CoAPCode
        let isConfirmable: Bool
        let hasETag: Bool
        /// The time that the user gives it.
        var deadline: Duration?
        /// When the message under way is given up, which is that time if there is one.
        var giveUpAt: Duration?
        var state = State.queued
        var messageID: UInt16 = 0
        /// What is transmitted. Only the session changes it, and nothing that it calls meanwhile; so nobody looks whether something does.
        @safe @exclusivity(unchecked) var datagram: [UInt8]
        #if !hasFeature(Embedded)
        /// The request, until it is known how large the messages of the stream may be.
        var unprepared: Unprepared?
        /// Whether it was sent over a connection that ended without a response.
        var wasLost = false

        final class Unprepared {
            let request: CoAPRequest
            init(_ request: CoAPRequest) { self.request = request }
        }
        #endif
        /// The rest of the request, or of the response, if one message does not hold it.
        var transfer: BlockTransfer?
        /// What it observes.
        var observation: Observation?
        /// Whether it observes, and is asked for once more.
        var isRefreshing = false
        /// Whether its next message has the token of the last.
        var keepsToken = false
        var audience = Audience.user

        init(
            id: CoAPExchangeID,
            token: CoAPToken,
            method: CoAPCode,
            isConfirmable: Bool,
            hasETag: Bool,
            deadline: Duration?,
            datagram: [UInt8]
        ) {
            self.id = id
            self.token = token
            self.method = method
            self.isConfirmable = isConfirmable
            self.hasETag = hasETag
            self.deadline = deadline
            giveUpAt = deadline
            self.datagram = datagram
        }

        func isOver(at now: Duration) -> Bool { giveUpAt.map { $0 <= now } ?? false }

        /// When the server of an observed resource is asked again: up to fifteen seconds after it should have notified (RFC 7641, 3.3.1).
        var refreshAt: Duration? {
            guard case .observing = state, let observation, let staleAt = observation.staleAt else { return nil }
            // Drawn with the token, so that not all clients ask at once.
            return staleAt + .milliseconds(5_000 + 40 * Int64(token[0]))
        }

        /// Whether it waits to send its next block.
        var isStalled: Bool { if case .waiting = state { true } else { false } }

        var isOutstanding: Bool {
            switch state {
            case .unacknowledged, .unacknowledgeable: true
            case .queued, .waiting, .acknowledged, .observing, .over: false
            }
        }
    }
}
