#if os(Linux)
internal import CWslay
public import Kernel
public import SAL
internal import SecureTransport

/// A WebSocket as a `ByteStream`: what one turn of the loop sends is one binary frame; frames that arrive are one stream of bytes.
///
/// The handler is told that it is open when the server has agreed. When it fails, ``failure`` says why.
@safe
public final class WebSocketStream: ByteStream, ByteStreamHandler, EndOfTurnHandler, TimerHandler {
    /// How many bytes wait to be framed before ``send(_:)`` takes less than it is given.
    static let sendBufferBytes = 65_536
    /// How long a peer may take to read what is sent before the close.
    static let closeTimeout = Duration.seconds(5)

    private enum State {
        /// The stream below connects.
        case opening
        /// The request is on its way.
        case handshaking
        case open
        /// What was sent is still to be framed, then the close frame.
        case closing
        /// The end is known; it is told at the end of the turn.
        case ending(SocketError?)
        case closed
    }

    /// Who is told what happens.
    public var handler: (any ByteStreamHandler)?
    /// Why the stream failed, if it did.
    public private(set) var failure: WebSocketError?
    /// Why the TLS below failed, if it did.
    private(set) var secureFailure: SecureTransportError?
    package var loopPlace = -1
    private let loop: EventLoop
    private var below: (any ByteStream)?
    private var state = State.opening
    private var request: [UInt8] = []
    private let key: [UInt8]
    private let head = HTTPHead()
    private var context: wslay_event_context_ptr?
    private var outgoing = ByteQueue(keeping: 65_536)
    private var owesWritable = false
    /// What wslay reads from, while the stream below offers it.
    private var input = unsafe UnsafeBufferPointer<UInt8>(start: nil, count: 0)
    /// Bytes that the handler has not taken yet: at most what wslay reads at a time.
    private var held: [UInt8] = []
    private var mayOffer = false
    private var isData = false
    private var hasQueuedClose = false
    private lazy var turnEnd = EndOfTurn(on: loop)
    private var deadlineTimer: Timer?

    init(
        loop: EventLoop,
        host: String,
        path: String,
        fields: [(name: String, value: String)],
        deadline: Duration,
        handler: any ByteStreamHandler
    ) {
        self.loop = loop
        self.handler = handler
        var generator = SystemRandomNumberGenerator()
        let nonce = (0..<16).map { _ in UInt8.random(in: 0...255, using: &generator) }
        key = Base64.encode(nonce.span)
        var lines = [
            "GET \(path) HTTP/1.1", "Host: \(host)", "Upgrade: websocket", "Connection: Upgrade",
            "Sec-WebSocket-Key: \(String(decoding: key, as: UTF8.self))", "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Protocol: mqtt",
        ]
        for field in fields { lines.append("\(field.name): \(field.value)") }
        request = Array((lines.joined(separator: "\r\n") + "\r\n\r\n").utf8)
        startTimer(at: deadline)
    }

    private func startTimer(at deadline: Duration) {
        let timer = deadlineTimer ?? Timer(on: loop)
        deadlineTimer = timer
        timer.start(at: deadline, handler: self)
    }

    deinit { unsafe wslay_event_context_free(context) }

    /// Sets the stream to use, whose handler this is.
    func attach(_ stream: any ByteStream) { if case .opening = state { below = stream } else { stream.abort() } }

    /// Where this end is.
    public var localAddress: SocketAddress? { below?.localAddress }
    /// Where the peer is.
    public var peerAddress: SocketAddress? { below?.peerAddress }

    /// Told by the stream below of a name's addresses.
    public func attemptFailed(_ address: SocketAddress, _ error: SocketError) { handler?.attemptFailed(address, error) }

    // MARK: ByteStream

    /// Takes bytes to send; they are framed at the end of the turn.
    public func send(_ bytes: Span<UInt8>) -> Int {
        guard case .open = state else { return 0 }
        let count = min(bytes.count, Self.sendBufferBytes - outgoing.count)
        if count < bytes.count { owesWritable = true }
        if count > 0 {
            outgoing.append(bytes.extracting(first: count))
            askForEndOfTurn()
        }
        return count
    }

    /// Says that the handler can take bytes again.
    public func resumeReceiving() {
        mayOffer = true
        askForEndOfTurn()
    }

    /// Sends what was taken and a close frame, then closes.
    public func close() {
        switch state {
        case .opening, .handshaking: abort()
        case .open:
            state = .closing
            held = []
            startTimer(at: loop.now + Self.closeTimeout)
            askForEndOfTurn()
        case .closing, .ending, .closed: break
        }
    }

    /// Closes at once.
    public func abort() {
        switch state {
        case .opening, .handshaking, .open, .closing: end(nil, aborts: true)
        case .ending, .closed: break
        }
    }

    // MARK: ByteStreamHandler, of the stream below

    /// The stream below is up: the request is sent.
    public func opened() {
        guard case .opening = state else { return }
        state = .handshaking
        sendRequest()
    }

    private func sendRequest() {
        guard let below, !request.isEmpty else { return }
        let taken = below.send(request.span)
        request.removeFirst(taken)
    }

    /// Bytes arrived.
    public func received(_ bytes: Span<UInt8>) -> Int {
        var taken = 0
        if case .handshaking = state {
            guard let count = head.take(bytes) else {
                fail(.noWebSocket)
                return bytes.count
            }
            taken = count
            guard head.isComplete else { return taken }
            finishHandshake()
        }
        switch state {
        case .open, .closing: return taken + receiveFrames(bytes.extracting(droppingFirst: taken))
        case .opening, .handshaking, .ending, .closed: return bytes.count
        }
    }

    private func finishHandshake() {
        guard head.status == 101 else { return fail(.refused(status: head.status)) }
        // RFC 6455, 4.1: the answer shows that the server has understood the request.
        let expected = Digest.sha1((key + Array("258EAFA5-E914-47DA-95CA-C5AB0DC85B11".utf8)).span)
        guard head.value("sec-websocket-accept") == String(decoding: Base64.encode(expected.span), as: UTF8.self),
            head.value("upgrade")?.lowercased() == "websocket"
        else { return fail(.noWebSocket) }
        guard head.value("sec-websocket-protocol") == "mqtt" else { return fail(.noSubprotocol) }
        var callbacks = wslay_event_callbacks()
        unsafe callbacks.recv_callback = { context, bytes, count, _, user in
            unsafe WebSocketStream.of(user).takeInput(context, UnsafeMutableBufferPointer(start: bytes, count: count))
        }
        unsafe callbacks.send_callback = { context, bytes, count, _, user in
            unsafe WebSocketStream.of(user).give(context, UnsafeBufferPointer(start: bytes, count: count))
        }
        unsafe callbacks.genmask_callback = { _, bytes, count, _ in
            var generator = SystemRandomNumberGenerator()
            for index in 0..<count { unsafe bytes?[index] = UInt8.random(in: 0...255, using: &generator) }
            return 0
        }
        unsafe callbacks.on_frame_recv_start_callback = { _, frame, user in
            if let frame = unsafe frame { unsafe WebSocketStream.of(user).frameStarts(frame.pointee.opcode) }
        }
        unsafe callbacks.on_frame_recv_chunk_callback = { _, chunk, user in
            guard let chunk = unsafe chunk else { return }
            let bytes = unsafe UnsafeBufferPointer(start: chunk.pointee.data, count: chunk.pointee.data_length)
            unsafe WebSocketStream.of(user).take(bytes)
        }
        let user = unsafe Unmanaged.passUnretained(self).toOpaque()
        guard unsafe wslay_event_context_client_init(&context, &callbacks, user) == 0 else {
            return fail(.badFrame(code: 0))
        }
        unsafe wslay_event_config_set_no_buffering(context, 1)
        deadlineTimer?.stop()
        deadlineTimer = nil
        state = .open
        handler?.opened()
    }

    private static func of(_ user: UnsafeMutableRawPointer?) -> WebSocketStream {
        guard let user = unsafe user else { preconditionFailure("wslay has lost its context") }
        return unsafe Unmanaged<WebSocketStream>.fromOpaque(user).takeUnretainedValue()
    }

    /// The stream below has room again.
    public func writable() {
        switch state {
        case .handshaking: sendRequest()
        case .open, .closing: flush()
        case .opening, .ending, .closed: break
        }
    }

    /// The stream below is over.
    public func closed(_ error: SocketError?) {
        secureFailure = (below as? SecureStream)?.failure
        below = nil
        switch state {
        case .closed, .ending: return
        case .closing: end(nil, aborts: false)
        case .opening, .handshaking, .open: end(error, aborts: false)
        }
    }

    // MARK: Frames

    private func receiveFrames(_ bytes: Span<UInt8>) -> Int {
        guard held.isEmpty else { return 0 }
        return unsafe bytes.withUnsafeBufferPointer { buffer in
            unsafe input = buffer
            let result = unsafe wslay_event_recv(context)
            let taken = unsafe buffer.count - input.count
            unsafe input = UnsafeBufferPointer(start: nil, count: 0)
            if result != 0 {
                fail(.badFrame(code: result))
                return buffer.count
            }
            return afterReceiving() ? taken : buffer.count
        }
    }

    /// Answers pings and closes; `false` if the stream is over.
    private func afterReceiving() -> Bool {
        switch state {
        case .opening, .handshaking, .ending, .closed: return false
        case .open, .closing: break
        }
        if unsafe wslay_event_get_close_received(context) != 0 {
            flush()
            let status = unsafe wslay_event_get_status_code_received(context)
            // 1000 and 1001 are an end in good order, 1005 is none told.
            if status == 1_000 || status == 1_001 || status == 1_005 || status == 0 {
                end(nil, aborts: false)
            } else {
                fail(.closed(status: status))
            }
            return false
        }
        if unsafe wslay_event_want_write(context) != 0 { askForEndOfTurn() }
        return true
    }

    private func frameStarts(_ opcode: UInt8) {
        // Control frames may stand between the pieces of a message, and are wslay's.
        isData = opcode < 8
        if opcode == 1 { fail(.textFrame) }
    }

    private func take(_ bytes: UnsafeBufferPointer<UInt8>) {
        guard isData, case .open = state, !bytes.isEmpty else { return }
        let taken = unsafe handler?.received(Span(_unsafeElements: bytes)) ?? bytes.count
        if taken < bytes.count, case .open = state { held = unsafe Array(bytes[taken...]) }
    }

    private func takeInput(_ context: wslay_event_context_ptr?, _ buffer: UnsafeMutableBufferPointer<UInt8>) -> Int {
        let count = unsafe held.isEmpty ? min(buffer.count, input.count) : 0
        guard count > 0, let source = unsafe input.baseAddress, let target = buffer.baseAddress else {
            unsafe wslay_event_set_error(context, Int32(WSLAY_ERR_WOULDBLOCK.rawValue))
            return -1
        }
        unsafe target.update(from: source, count: count)
        unsafe input = UnsafeBufferPointer(rebasing: input[count...])
        return count
    }

    private func give(_ context: wslay_event_context_ptr?, _ bytes: UnsafeBufferPointer<UInt8>) -> Int {
        let count = unsafe below?.send(Span(_unsafeElements: bytes)) ?? 0
        if count > 0 { return count }
        unsafe wslay_event_set_error(context, Int32(WSLAY_ERR_WOULDBLOCK.rawValue))
        return -1
    }

    private func offerHeld() {
        mayOffer = false
        guard !held.isEmpty, case .open = state else { return }
        let offered = held
        let taken = handler?.received(offered.span) ?? offered.count
        guard case .open = state else { return }
        held = Array(offered[taken...])
        guard held.isEmpty else { return }
        // wslay may have read more than it has told of.
        if unsafe wslay_event_recv(context) != 0 { return fail(.badFrame(code: 0)) }
        if afterReceiving(), held.isEmpty { below?.resumeReceiving() }
    }

    private func flush() {
        while true {
            if unsafe wslay_event_want_write(context) != 0 {
                let result = unsafe wslay_event_send(context)
                if result != 0 { return fail(.badFrame(code: result)) }
                // The stream below is full; it will say when it is not.
                if unsafe wslay_event_want_write(context) != 0 { return }
            }
            if !outgoing.isEmpty {
                let result = outgoing.withSpan { bytes in
                    unsafe bytes.withUnsafeBufferPointer { buffer in
                        var message = unsafe wslay_event_msg(
                            opcode: 2,
                            msg: buffer.baseAddress,
                            msg_length: buffer.count
                        )
                        return unsafe wslay_event_queue_msg(context, &message)
                    }
                }
                if result != 0 { return fail(.badFrame(code: result)) }
                outgoing.removeAll()
                continue
            }
            if case .closing = state {
                guard hasQueuedClose else {
                    hasQueuedClose = true
                    _ = unsafe wslay_event_queue_close(context, 1_000, nil, 0)
                    continue
                }
                return end(nil, aborts: false)
            }
            break
        }
        if owesWritable {
            owesWritable = false
            handler?.writable()
        }
    }

    // MARK: Ending

    private func fail(_ error: WebSocketError) {
        switch state {
        case .ending, .closed: return
        case .opening, .handshaking, .open, .closing: break
        }
        failure = error
        end(.streamDamaged(code: 0), aborts: false)
    }

    private func end(_ error: SocketError?, aborts: Bool) {
        deadlineTimer?.stop()
        deadlineTimer = nil
        outgoing.removeAll()
        held = []
        if let below {
            self.below = nil
            below.handler = nil
            if aborts { below.abort() } else { below.close() }
        }
        state = .ending(error)
        askForEndOfTurn()
    }

    /// The deadline has passed.
    public func timerFired(_ timer: Timer) {
        switch state {
        case .opening, .handshaking: end(.timedOut, aborts: true)
        case .closing: end(nil, aborts: true)
        case .open, .ending, .closed: break
        }
    }

    private func askForEndOfTurn() { turnEnd.request(self) }

    /// Does what the turn has asked for.
    public func endOfTurn() {
        switch state {
        case .open, .closing:
            if mayOffer { offerHeld() }
            if case .ending = state { return }
            flush()
        case .ending(let error):
            state = .closed
            let handler = self.handler
            self.handler = nil
            handler?.closed(error)
        case .opening, .handshaking, .closed: break
        }
    }
}

extension WebSocketStream: LoopMember {
    package func loopEnds(atOnce: Bool) { if atOnce { abort() } else { close() } }
}
#endif
