internal import Kernel

extension CoAPSession {
    // MARK: Bodies that one message does not hold (RFC 7959)

    /// Makes `message` the first block of the request, and returns the rest, if its payload is too large for one message.
    func upload(_ request: CoAPRequest, _ message: inout CoAPMessage) throws(CoAPError) -> BlockTransfer? {
        let limit = configuration.maximumMessageBytes
        let bytes = message.encodedByteCount
        let isLarge = request.payload.count > CoAPBlock.byteCount(configuration.blockExponent) || bytes > limit
        // Who asks for blocks by number has them so.
        guard isLarge, !request.options.contains(.block1) else {
            if configuration.blockExponent < CoAPBlock.largestExponent, !request.options.contains(.block2),
                request.method != .put, request.method != .delete
            {
                // Blocks as small as these must be asked for (RFC 7959, 2.4).
                message.options.block2 = CoAPBlock(number: 0, sizeExponent: configuration.blockExponent)
            }
            return nil
        }
        // Twenty-two bytes are what Block1, Block2, Size1 and Request-Tag take at most.
        let room = limit - (bytes - request.payload.count) - 22
        guard room >= 16 else { throw .messageTooLarge(bytes: bytes, limit: limit) }
        let exponent = min(configuration.blockExponent, CoAPBlock.exponent(notOver: room))
        guard request.payload.count <= CoAPBlock.largestNumber * CoAPBlock.byteCount(exponent) else {
            throw .messageTooLarge(bytes: bytes, limit: CoAPBlock.largestNumber * CoAPBlock.byteCount(exponent))
        }
        var transfer = BlockTransfer(
            request.method,
            request.options,
            body: request.payload,
            isUploading: true,
            sizeExponent: exponent,
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

    /// Deals with the response to a request, or to one of its blocks.
    mutating func respond(at index: Int, _ result: Result<CoAPResponse, CoAPError>, at now: Duration) {
        if exchanges[index].observation != nil, observe(at: index, result, at: now) { return }
        if case .success(let response) = result, echo(response, at: index) { return }
        guard case .success(let response) = result, isBlock(response, at: index) else {
            return finish(at: index, result)
        }
        takeBlock(at: index, response)
    }

    /// Deals with a block of a transfer.
    mutating func takeBlock(at index: Int, _ response: CoAPResponse) {
        switch exchanges[index].transfer?.take(response) {
        case .finished(let result): finish(at: index, result)
        case .next: sendNextBlock(at: index)
        case nil: finish(at: index, .success(response))
        }
    }

    /// Sends a request again with the Echo option that the server wants to see in it, to know that it is fresh (RFC 9175, 2.3); `false` if it has been sent with one.
    private mutating func echo(_ response: CoAPResponse, at index: Int) -> Bool {
        guard response.code == .unauthorized, let value = response.options.first(.echo),
            var request = exchanges[index].request, !request.options.contains(.echo)
        else { return false }
        if exchanges[index].transfer != nil {
            exchanges[index].transfer?.options.add(.echo, value)
            sendNextBlock(at: index)
        } else {
            request.options.add(.echo, value)
            send(request, at: index)
        }
        return true
    }

    /// Whether a body is under way already.
    private var isUploading: Bool {
        if exchanges.contains(where: { $0.transfer?.isUploading == true }) { return true }
        for index in 0..<waiting.count where waiting[index].transfer != nil { return true }
        return false
    }

    /// Whether a response is but a part; if it is the first, the transfer begins.
    private mutating func isBlock(_ response: CoAPResponse, at index: Int) -> Bool {
        if exchanges[index].transfer != nil { return true }
        let block = response.options.block2
        let wantsBlocks = response.code == .requestEntityTooLarge && response.options.block1 != nil
        guard block?.hasMore == true || wantsBlocks,
            let request = exchanges[index].request
        else { return false }
        // Who asks for blocks by number has them so.
        if block != nil, request.options.block2.map({ $0.number > 0 }) == true { return false }
        if wantsBlocks, request.options.contains(.block1) || request.payload.isEmpty { return false }
        exchanges[index].transfer = BlockTransfer(
            request.code,
            request.options,
            body: request.payload,
            isUploading: wantsBlocks,
            sizeExponent: configuration.blockExponent,
            limits: configuration
        )
        return true
    }

    private mutating func sendNextBlock(at index: Int) {
        guard let transfer = exchanges[index].transfer else { return }
        let (options, payload) = transfer.nextRequest()
        let message = CoAPMessage(
            type: exchanges[index].isConfirmable ? .confirmable : .nonConfirmable,
            code: CoAPCode(rawValue: exchanges[index].datagram[1]),
            messageID: 0,
            token: exchanges[index].token,
            options: options,
            payload: Array(payload)
        )
        send(message, at: index)
    }

    /// Has an exchange go on with another message, when it is its turn.
    private mutating func send(_ message: CoAPMessage, at index: Int) {
        if exchanges[index].isOutstanding { outstandingCount -= 1 }
        exchanges[index].datagram = message.encoded
        exchanges[index].state = .waiting
        stalledCount += 1
    }
}
