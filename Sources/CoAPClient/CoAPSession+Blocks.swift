internal import Kernel

extension CoAPSession {
    // MARK: Bodies that one message does not hold (RFC 7959)

    /// Makes `message` the first block of the request, and returns the rest, if its payload is too large for one message.
    mutating func upload(_ request: CoAPRequest, _ message: inout CoAPMessage) throws(CoAPError) -> BlockTransfer? {
        let limit = messageLimit
        let bytes = message.encodedByteCount
        let isOverBlock = !isStreamed && request.payload.count > CoAPBlock.byteCount(configuration.blockExponent)
        // Who asks for blocks by number has them so.
        guard isOverBlock || bytes > limit, !request.options.contains(.block1) else {
            if downloadExponent < CoAPBlock.largestExponent, !request.options.contains(.block2),
                request.method != .put, request.method != .delete
            {
                // Blocks as small as these must be asked for (RFC 7959, 2.4).
                message.options.block2 = CoAPBlock(number: 0, sizeExponent: downloadExponent)
            }
            return nil
        }
        // Twenty-two bytes are what Block1, Block2, Size1 and Request-Tag take at most.
        let room = limit - (bytes - request.payload.count) - 22
        guard room >= 16, mayUseBlocks else { throw .messageTooLarge(bytes: bytes, limit: limit) }
        let exponent = min(uploadExponent, CoAPBlock.exponent(notOver: room, downFrom: uploadExponent))
        guard request.payload.count <= CoAPBlock.largestNumber * CoAPBlock.byteCount(exponent) else {
            throw .messageTooLarge(bytes: bytes, limit: CoAPBlock.largestNumber * CoAPBlock.byteCount(exponent))
        }
        let transfer = BlockTransfer(
            request.method,
            request.options,
            body: request.payload,
            isUploading: true,
            sizeExponent: exponent,
            bulkBlocks: max(room / CoAPBlock.byteCount(CoAPBlock.bulkExponent), 1),
            downloadExponent: downloadExponent,
            limits: configuration
        )
        if isUploading, !request.options.contains(.requestTag) {
            // The blocks of two bodies must not be mixed up (RFC 9175, 3.3).
            transfer.options.add(.requestTag, uint: UInt32(truncatingIfNeeded: lastID))
        }
        let (options, payload) = transfer.nextRequest()
        message.options = options
        message.payload = Array(payload)
        return transfer
    }

    #if hasFeature(Embedded)
    private var mayUseBlocks: Bool { true }
    private var uploadExponent: UInt8 { configuration.blockExponent }
    var downloadExponent: UInt8 { configuration.blockExponent }
    #else
    /// Whether the peer takes blocks.
    private var mayUseBlocks: Bool { !isStream || stream.peerTakesBlocks }
    /// How large the blocks are that a body is sent in, at most.
    private var uploadExponent: UInt8 {
        isStream && stream.peerTakesBulk ? CoAPBlock.bulkExponent : configuration.blockExponent
    }
    /// How large the blocks are that a body is asked for in, at most.
    var downloadExponent: UInt8 { isStream ? CoAPBlock.bulkExponent : configuration.blockExponent }
    #endif

    /// Deals with the response to a request, or to one of its blocks.
    mutating func respond(to exchange: Exchange, _ result: Result<CoAPResponse, CoAPError>, at now: Duration) {
        if exchange.observation != nil, observe(exchange, result, at: now) { return }
        guard case .success(let response) = result else { return finish(exchange, result) }
        if echo(response, exchange) { return }
        if isBlock(response, exchange) { takeBlock(exchange, response) } else { finish(exchange, result) }
    }

    /// Deals with a block of a transfer.
    mutating func takeBlock(_ exchange: Exchange, _ response: CoAPResponse) {
        switch exchange.transfer?.take(response) {
        case .finished(let result): finish(exchange, result)
        case .next: sendNextBlock(exchange)
        case nil: finish(exchange, .success(response))
        }
    }

    /// Sends a request again with the Echo option that the server wants to see in it, to know that it is fresh (RFC 9175, 2.3); `false` if it has been sent with one.
    private mutating func echo(_ response: CoAPResponse, _ exchange: Exchange) -> Bool {
        guard response.code == .unauthorized, let value = response.options.first(.echo),
            var request = request(of: exchange), !request.options.contains(.echo)
        else { return false }
        if exchange.transfer != nil {
            exchange.transfer?.options.add(.echo, value)
            sendNextBlock(exchange)
        } else {
            request.options.add(.echo, value)
            send(request, exchange)
        }
        return true
    }

    /// Whether a body is under way already.
    private var isUploading: Bool {
        for place in exchanges.indices where exchanges[place]?.transfer?.isUploading == true { return true }
        return false
    }

    /// Whether a response is but a part; if it is the first, the transfer begins.
    private mutating func isBlock(_ response: CoAPResponse, _ exchange: Exchange) -> Bool {
        if exchange.transfer != nil { return true }
        guard exchange.collectsBlocks else { return false }
        let block = response.options.block2
        let wantsBlocks = response.code == .requestEntityTooLarge && response.options.block1 != nil
        guard block?.hasMore == true || wantsBlocks, let request = request(of: exchange) else { return false }
        // Who asks for blocks by number has them so.
        if block != nil, request.options.block2.map({ $0.number > 0 }) == true { return false }
        if wantsBlocks, request.options.contains(.block1) || request.payload.isEmpty { return false }
        exchange.transfer = BlockTransfer(
            request.code,
            request.options,
            body: request.payload,
            isUploading: wantsBlocks,
            sizeExponent: configuration.blockExponent,
            downloadExponent: downloadExponent,
            limits: configuration
        )
        return true
    }

    private mutating func sendNextBlock(_ exchange: Exchange) {
        guard let transfer = exchange.transfer else { return }
        let (options, payload) = transfer.nextRequest()
        let message = CoAPMessage(
            type: exchange.isConfirmable ? .confirmable : .nonConfirmable,
            code: exchange.method,
            messageID: 0,
            token: exchange.token,
            options: options,
            payload: Array(payload)
        )
        send(message, exchange)
    }

    /// Has an exchange go on with another message, when it is its turn.
    private mutating func send(_ message: CoAPMessage, _ exchange: Exchange) {
        exchange.datagram = encode(message)
        stall(exchange)
    }
}
