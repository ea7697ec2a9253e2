internal import Kernel

/// A request whose body, or that of its response, does not fit into one message (RFC 7959): what has gone out of the one, and come in of the other.
final class BlockTransfer {
    /// What follows from a response.
    enum Step {
        /// The next block is to be sent, or asked for.
        case next
        case finished(Result<CoAPResponse, CoAPError>)
    }

    /// The user's options, without those of the blocks.
    var options: CoAPOptions
    /// The request's body.
    private let body: [UInt8]
    private let isFetch: Bool
    /// Whether the request may be made once more without harm (RFC 7252, 5.1).
    private let isSafe: Bool
    private let bodyLimit: Int
    private var restartsLeft: Int

    // The request's body.
    private(set) var isUploading: Bool
    private var uploaded = 0
    private var sizeExponent: UInt8
    /// How many blocks a message with several of them has.
    private let bulkBlocks: Int

    // The response's body.
    private var response: CoAPResponse?
    private var received: [UInt8] = []
    private var downloadExponent: UInt8
    private let largestExponent: UInt8

    /// The transfer of a request; it begins with the request's body if `isUploading`.
    init(
        _ method: CoAPCode,
        _ options: CoAPOptions,
        body: [UInt8],
        isUploading: Bool,
        sizeExponent: UInt8,
        bulkBlocks: Int = 1,
        downloadExponent: UInt8,
        limits configuration: CoAPConfiguration
    ) {
        self.options = options
        self.options.block1 = nil
        self.options.block2 = nil
        self.body = body
        isFetch = method == .fetch
        isSafe = isFetch || method == .get
        self.isUploading = isUploading
        self.sizeExponent = sizeExponent
        self.bulkBlocks = bulkBlocks
        self.downloadExponent = downloadExponent
        largestExponent = max(downloadExponent, CoAPBlock.largestExponent)
        bodyLimit = configuration.maximumBodyBytes
        restartsLeft = configuration.bodyRestarts
    }

    /// How many bytes of the request's body a message has.
    private var blockBytes: Int {
        CoAPBlock.byteCount(sizeExponent) * (sizeExponent == CoAPBlock.bulkExponent ? bulkBlocks : 1)
    }
    private var isLastBlock: Bool { uploaded + blockBytes >= body.count }

    // MARK: The next message

    /// The options and the payload of the next request.
    func nextRequest() -> (CoAPOptions, ArraySlice<UInt8>) {
        var options = options
        guard isUploading else {
            // What the request is conditional on was settled with the first block.
            options.remove(.observe)
            options.remove(.eTag)
            options.block2 = CoAPBlock(at: received.count, sizeExponent: downloadExponent)
            return (options, isFetch && body.count <= CoAPBlock.byteCount(CoAPBlock.largestExponent) ? body[...] : [])
        }
        options.block1 = CoAPBlock(at: uploaded, hasMore: !isLastBlock, sizeExponent: sizeExponent)
        if isLastBlock, downloadExponent < CoAPBlock.largestExponent {
            options.block2 = CoAPBlock(number: 0, sizeExponent: downloadExponent)
        }
        if uploaded == 0 { options.add(.size1, uint: UInt32(truncatingIfNeeded: body.count)) }
        return (options, body[uploaded..<min(uploaded + blockBytes, body.count)])
    }

    // MARK: Responses

    func take(_ response: CoAPResponse) -> Step { isUploading ? upload(response) : download(response) }

    private func upload(_ response: CoAPResponse) -> Step {
        let block = response.options.block1
        if response.code == .requestEntityTooLarge || response.code == .requestEntityIncomplete {
            return restartUpload(response, block)
        }
        guard response.code.isSuccess else { return .finished(.success(response)) }
        if isLastBlock {
            guard response.code != .continue else { return .finished(.failure(.unexpectedBlock)) }
            isUploading = false
            return download(response)
        }
        // Without the option the server has taken a part for the whole.
        guard let block, block.offset == uploaded, block.sizeExponent <= sizeExponent else {
            return .finished(.failure(.unexpectedBlock))
        }
        uploaded += blockBytes
        sizeExponent = block.sizeExponent
        return .next
    }

    /// The server wants smaller blocks (4.13), or has lost those that it had (4.08).
    private func restartUpload(_ response: CoAPResponse, _ block: CoAPBlock?) -> Step {
        let isSmaller = block.map { $0.sizeExponent < sizeExponent } ?? false
        let isWorthIt = response.code == .requestEntityTooLarge ? isSmaller : uploaded > 0
        guard isWorthIt, restartsLeft > 0 else { return .finished(.success(response)) }
        restartsLeft -= 1
        uploaded = 0
        if let block, isSmaller { sizeExponent = block.sizeExponent }
        return .next
    }

    /// Whether a block may have so many bytes.
    private func fits(_ count: Int, _ block: CoAPBlock) -> Bool {
        if block.sizeExponent == CoAPBlock.bulkExponent {
            return !block.hasMore || count > 0 && count % block.byteCount == 0
        }
        return block.hasMore ? count == block.byteCount : count <= block.byteCount
    }

    private func download(_ response: CoAPResponse) -> Step {
        guard response.code.isSuccess, let block = response.options.block2 else {
            var response = response
            response.options.block1 = nil
            return .finished(.success(response))
        }
        if let first = self.response, first.options.eTag != response.options.eTag || first.code != response.code {
            // It is another representation than that of the first block: from the start, unless that would be another request.
            guard isSafe, restartsLeft > 0 else { return .finished(.failure(.representationChanged)) }
            restartsLeft -= 1
            self.response = nil
            received = []
            if block.number > 0 { return .next }
        }
        guard block.sizeExponent <= largestExponent, block.offset == received.count, fits(response.payload.count, block)
        else { return .finished(.failure(.unexpectedBlock)) }
        let total = max(received.count + response.payload.count, Int(clamping: response.options.uint(.size2) ?? 0))
        guard total <= bodyLimit else { return .finished(.failure(.bodyTooLarge(bytes: total, limit: bodyLimit))) }
        if self.response == nil {
            received.reserveCapacity(total)
            self.response = CoAPResponse(response.code, options: response.options)
        }
        received.append(response.payload.span)
        downloadExponent = min(downloadExponent, block.sizeExponent)
        if block.hasMore { return .next }
        guard var whole = self.response else { return .finished(.success(response)) }
        whole.options.block1 = nil
        whole.options.block2 = nil
        whole.payload = received
        return .finished(.success(whole))
    }
}
