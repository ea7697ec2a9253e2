internal import CCoAP
internal import CLinux
internal import Glibc
internal import Kernel

/// The thread of a ``CoAPEndpoint``: libcoap's context, and what is to be sent later.
final class CoAPWorker: @unchecked Sendable {
    // @unchecked: `context` and what follows it belong to the thread, once it runs; the rest is immutable or locked.

    struct Shared {
        var behavior: CoAPBehavior
        var statistics = CoAPStatistics()
        var tokens: [[UInt8]: CoAPHubRules.Device] = [:]
        var isStopping = false
    }

    let port: UInt16
    let securePort: UInt16?
    let shared: Guarded<Shared>
    private let rules: CoAPHubRules
    private let keys: DTLSKeys?
    private let wakeUp: Int32
    private let thread = Guarded<pthread_t?>(nil)
    private let context: OpaquePointer
    private var later: [LaterMessage] = []
    private var answered = AnsweredRequests()

    /// A message that is sent by us, not as the outcome of libcoap's request handler.
    private struct LaterMessage {
        let dueAt: Int64
        let session: OpaquePointer
        let type: coap_pdu_type_t
        /// That of the request, for an acknowledgement.
        let messageID: Int32?
        let token: [UInt8]
        let response: CoAPHubRules.Response
    }

    /// COAP_IO_NO_WAIT, which Swift cannot import.
    private static let noWait = UInt32.max

    private static let setUp: Void = {
        coap_startup()
        coap_set_log_level(0)
    }()

    /// With `keys`, it also listens at `securePort` for DTLS.
    init(
        port: UInt16,
        securePort: UInt16,
        behavior: CoAPBehavior,
        rules: CoAPHubRules,
        keys: DTLSKeys?
    ) throws(CoAPEndpointError) {
        _ = Self.setUp
        self.rules = rules
        self.keys = keys
        shared = Guarded(Shared(behavior: behavior))
        guard let context = coap_new_context(nil) else { throw .setUpFailed }
        do throws(CoAPEndpointError) {
            self.port = try CoAPPorts.listen(context, port, COAP_PROTO_UDP)
            if let keys {
                guard keys.install(in: context) else { throw .setUpFailed }
                self.securePort = try CoAPPorts.listen(context, securePort, COAP_PROTO_DTLS)
            } else {
                self.securePort = nil
            }
            guard Self.addResource(to: context) else { throw .setUpFailed }
        } catch {
            coap_free_context(context)
            throw error
        }
        self.context = context
        wakeUp = eventfd(0, Int32(EFD_CLOEXEC | EFD_NONBLOCK))
    }

    private static func addResource(to context: OpaquePointer) -> Bool {
        guard let resource = coap_resource_unknown_init({ CoAPWorker.handle($1, $2, $4) }) else { return false }
        // The topics are no resources of their own: whatever has none comes here.
        for method in [COAP_REQUEST_GET, COAP_REQUEST_POST, COAP_REQUEST_DELETE, COAP_REQUEST_FETCH] {
            coap_register_request_handler(resource, method) { CoAPWorker.handle($1, $2, $4) }
        }
        coap_add_resource(context, resource)
        // Critical, so libcoap must be told that it is understood.
        coap_register_option(context, CoAPMessageParts.credentialOption)
        return true
    }

    // MARK: The thread

    func start() throws(CoAPEndpointError) {
        coap_set_app_data(context, Unmanaged.passUnretained(self).toOpaque())
        var thread = pthread_t()
        let argument = Unmanaged.passRetained(self)
        let result = pthread_create(
            &thread,
            nil,
            { argument in
                if let argument { Unmanaged<CoAPWorker>.fromOpaque(argument).takeRetainedValue().run() }
                return nil
            },
            argument.toOpaque()
        )
        guard result == 0 else {
            argument.release()
            coap_free_context(context)
            close(wakeUp)
            throw .setUpFailed
        }
        self.thread.withLock { $0 = thread }
    }

    /// Ends the thread and waits for it, unless the thread itself asks.
    func stop() {
        guard let thread = self.thread.withLock({ $0.take() }) else { return }
        shared.withLock { $0.isStopping = true }
        eventfd_write(wakeUp, 1)
        if pthread_equal(thread, pthread_self()) != 0 {
            pthread_detach(thread)
        } else {
            pthread_join(thread, nil)
        }
    }

    private func run() {
        var descriptors = [
            pollfd(fd: coap_context_get_coap_fd(context), events: Int16(POLLIN), revents: 0),
            pollfd(fd: wakeUp, events: Int16(POLLIN), revents: 0),
        ]
        while !shared.withLock({ $0.isStopping }) {
            // The first call arms libcoap's own timer, which makes its descriptor readable too.
            coap_io_process(context, Self.noWait)
            let wait = sendDue()
            poll(&descriptors, 2, wait)
        }
        for message in later { coap_session_release(message.session) }
        coap_free_context(context)
        close(wakeUp)
    }

    /// Sends what is due, and returns for how many milliseconds nothing is.
    private func sendDue() -> Int32 {
        let now = clinux_monotonic_ns()
        for message in later where message.dueAt <= now {
            send(message)
            coap_session_release(message.session)
        }
        later.removeAll { $0.dueAt <= now }
        guard let next = later.map(\.dueAt).min() else { return -1 }
        return Int32(clamping: (next - now + 999_999) / 1_000_000)
    }

    private func send(_ message: LaterMessage) {
        let messageID = message.messageID ?? Int32(coap_new_message_id(message.session))
        let code = coap_pdu_code_t(UInt32(message.response.code))
        let size = coap_session_max_pdu_size(message.session)
        guard let pdu = coap_pdu_init(message.type, code, messageID, size) else { return }
        coap_add_token(pdu, message.token.count, message.token)
        if !message.response.payload.isEmpty {
            coap_add_data(pdu, message.response.payload.count, message.response.payload)
        }
        coap_send(message.session, pdu)
    }

    // MARK: Requests

    private static func handle(_ session: OpaquePointer?, _ request: OpaquePointer?, _ response: OpaquePointer?) {
        guard let session, let request, let response,
            let worker = coap_get_app_data(coap_session_get_context(session))
        else { return }
        Unmanaged<CoAPWorker>.fromOpaque(worker).takeUnretainedValue().handle(request, response, from: session)
    }

    private func handle(_ request: OpaquePointer, _ response: OpaquePointer, from session: OpaquePointer) {
        let parts = CoAPMessageParts(request)
        let behavior = shared.withLock { shared in
            let behavior = shared.behavior
            if behavior.requestsToDrop > 0 {
                shared.behavior.requestsToDrop -= 1
                shared.statistics.dropped += 1
            }
            return behavior
        }
        if behavior.requestsToDrop > 0 { return suppress(response) }
        let key = AnsweredRequests.Key(session, parts)
        let now = clinux_monotonic_ns()
        if let entry = answered.find(key, at: now) {
            shared.withLock { $0.statistics.duplicates += 1 }
            return entry.isReady(at: now) ? fill(response, entry) : suppress(response)
        }
        let outcome = outcome(of: parts, DTLSKeys.identity(of: session))
        respond(outcome, to: parts, key, response, session, behavior)
    }

    /// The closures of the user are called without the lock: they may ask the endpoint in turn.
    private func outcome(of parts: CoAPMessageParts, _ identity: String?) -> CoAPHubRules.Response {
        guard parts.isPost else {
            shared.withLock { $0.statistics.requests += 1 }
            return CoAPHubRules.Response(code: CoAPHubRules.methodNotAllowed)
        }
        let owner = shared.withLock { shared in parts.request.credential.flatMap { shared.tokens[$0] } }
        let outcome = rules.respond(to: parts.request, owner: owner, identity: identity)
        shared.withLock { shared in
            shared.statistics.requests += 1
            if outcome.isMessage { shared.statistics.messages += 1 }
            if let device = outcome.tokenOwner {
                shared.tokens = shared.tokens.filter { $0.value != device }
                shared.tokens[outcome.payload] = device
            }
        }
        return outcome
    }

    private func respond(
        _ outcome: CoAPHubRules.Response,
        to parts: CoAPMessageParts,
        _ key: AnsweredRequests.Key,
        _ response: OpaquePointer,
        _ session: OpaquePointer,
        _ behavior: CoAPBehavior
    ) {
        let now = clinux_monotonic_ns()
        let delay = behavior.responseDelay.components
        let dueAt = now + delay.seconds * 1_000_000_000 + delay.attoseconds / 1_000_000_000
        var entry = AnsweredRequests.Entry(code: outcome.code, payload: outcome.payload, readyAt: dueAt, madeAt: now)
        let isSeparate = outcome.isAnswer && parts.isConfirmable && behavior.answerStyle != .piggybacked
        if isSeparate {
            let code: UInt8 = behavior.answerStyle == .separateAfterValid ? 0x43 : 0
            entry = AnsweredRequests.Entry(code: code, payload: [], readyAt: now, madeAt: now)
        }
        answered.insert(entry, for: key)
        if entry.isReady(at: now) { fill(response, entry) } else { suppress(response) }
        guard isSeparate || !entry.isReady(at: now) else { return }
        let isAcknowledgement = parts.isConfirmable && !isSeparate
        later.append(
            LaterMessage(
                dueAt: dueAt,
                session: coap_session_reference(session),
                type: isAcknowledgement
                    ? COAP_MESSAGE_ACK : parts.isConfirmable ? COAP_MESSAGE_CON : COAP_MESSAGE_NON,
                messageID: isAcknowledgement ? parts.messageID : nil,
                token: parts.token,
                response: outcome
            )
        )
    }

    private func fill(_ response: OpaquePointer, _ entry: AnsweredRequests.Entry) {
        // Without a code libcoap sends an empty acknowledgement.
        guard entry.code != 0 else { return }
        coap_pdu_set_code(response, coap_pdu_code_t(UInt32(entry.code)))
        if !entry.payload.isEmpty { coap_add_data(response, entry.payload.count, entry.payload) }
    }

    /// Keeps libcoap from sending anything: a response of this type without a code is dropped.
    private func suppress(_ response: OpaquePointer) { coap_pdu_set_type(response, COAP_MESSAGE_NON) }
}
