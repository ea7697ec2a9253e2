#if !hasFeature(Embedded)
internal import Kernel
internal import SAL

/// A part of a body, as a ``CoAPDownload`` brings it.
public struct CoAPBodyPart: Equatable, Sendable {
    /// Where it begins in the body, in bytes.
    public let offset: Int
    /// The bytes; none if the body is empty.
    public let bytes: [UInt8]
    /// How many bytes the whole body has, if the server tells.
    public let totalBytes: Int?
    /// Which representation of the resource it is of, if the server tells. Whoever goes on later says it.
    public let eTag: [UInt8]?
}

/// A body that is fetched part by part, each when it is asked for: any length, in the memory of one part (RFC 7959).
///
/// It throws ``CoAPError/refused(_:diagnostic:)`` if the server answers with an error, and ``CoAPError/representationChanged`` if the resource changes meanwhile.
public struct CoAPDownload: AsyncSequence, Sendable {
    let client: CoAPClient
    let request: CoAPRequest
    let offset: Int
    let eTag: [UInt8]?
    let timeout: Duration?

    /// The parts, from the first.
    public func makeAsyncIterator() -> AsyncIterator { AsyncIterator(self) }

    /// The parts.
    public struct AsyncIterator: AsyncIteratorProtocol {
        private let download: CoAPDownload
        private var offset: Int
        private var eTag: [UInt8]?
        private var exponent: UInt8
        private var isOver = false

        init(_ download: CoAPDownload) {
            self.download = download
            offset = download.offset
            eTag = download.eTag
            exponent = download.client.configuration.blockExponent
        }

        /// The next part; `nil` when there are no more.
        public mutating func next() async throws(CoAPError) -> CoAPBodyPart? {
            if isOver { return nil }
            var request = download.request
            request.collectsBlocks = false
            request.options.block2 = CoAPBlock(at: offset, sizeExponent: exponent)
            let response = try await download.client.send(request, timeout: download.timeout)
            guard response.code.isSuccess else { throw .refused(response.code, diagnostic: response.payload) }
            if let eTag, response.options.eTag != eTag { throw .representationChanged }
            eTag = eTag ?? response.options.eTag
            // Without the option it is the whole body.
            let block = response.options.block2
            let start = block?.offset ?? 0
            guard start <= offset, block.map({ !$0.hasMore || start + response.payload.count > offset }) ?? true else {
                throw .unexpectedBlock
            }
            if let block { exponent = Swift.min(exponent, block.sizeExponent) }
            isOver = block?.hasMore != true
            // Who goes on in the middle of a block has its beginning already.
            let part = CoAPBodyPart(
                offset: offset,
                bytes: Array(response.payload.dropFirst(offset - start)),
                totalBytes: response.options.uint(.size2).map { Int($0) }
                    ?? (isOver ? start + response.payload.count : nil),
                eTag: response.options.eTag
            )
            offset = Swift.max(offset, start + response.payload.count)
            return part
        }
    }
}

extension CoAPClient {
    /// Fetches the body that a request, GET or FETCH, asks for, part by part. `offset` and `eTag` are those of a download that was broken off, which goes on so; `timeout` is for
    /// each part.
    public nonisolated func download(
        _ request: CoAPRequest,
        from offset: Int = 0,
        eTag: [UInt8]? = nil,
        timeout: Duration? = nil
    ) -> CoAPDownload {
        var request = request
        request.options.add(.size2, uint: 0)
        return CoAPDownload(client: self, request: request, offset: max(offset, 0), eTag: eTag, timeout: timeout)
    }

    /// Fetches the body of the resource at `path`, with the arguments `query`, as ``download(_:from:eTag:timeout:)`` does.
    public nonisolated func download(
        _ path: String,
        query: [String] = [],
        from offset: Int = 0,
        eTag: [UInt8]? = nil,
        timeout: Duration? = nil
    ) -> CoAPDownload {
        download(CoAPRequest(.get, path: path, query: query), from: offset, eTag: eTag, timeout: timeout)
    }

    /// Sends a body of `byteCount` bytes with a request, PUT, POST, PATCH or the like, block by block (RFC 7959): any length, in the memory of one block. Returns the response to the last
    /// one, or the first that is an error.
    ///
    /// `read` gives the bytes of a range of the body, as many as the range has (or the upload ends with ``CoAPError/bodyPartLength(bytes:expected:offset:)``), when they are sent; it may be asked for some again, since the server may have lost what it
    /// had, or want smaller blocks: ``CoAPConfiguration/bodyRestarts`` times. An upload that was broken off goes on at `offset`, the last that `progress` told: a server that has
    /// forgotten it makes it begin anew. `progress` is told how many bytes the server has; `timeout` is for each block.
    public nonisolated(nonsending) func upload(
        _ request: CoAPRequest,
        byteCount: Int,
        from offset: Int = 0,
        timeout: Duration? = nil,
        progress: ((Int) -> Void)? = nil,
        read: (Range<Int>) async throws -> [UInt8]
    ) async throws -> CoAPResponse {
        var exponent = configuration.blockExponent
        var restarts = configuration.bodyRestarts
        var offset = max(min(offset, byteCount), 0)
        offset -= offset % CoAPBlock.byteCount(exponent)
        while true {
            let end = min(offset + CoAPBlock.byteCount(exponent), byteCount)
            var block = request
            block.payload = try await read(offset..<end)
            guard block.payload.count == end - offset else {
                throw CoAPError.bodyPartLength(bytes: block.payload.count, expected: end - offset, offset: offset)
            }
            if byteCount > CoAPBlock.byteCount(exponent) {
                block.options.block1 = CoAPBlock(at: offset, hasMore: end < byteCount, sizeExponent: exponent)
                if offset == 0 { block.options.add(.size1, uint: UInt32(clamping: byteCount)) }
            }
            let response = try await send(block, timeout: timeout)
            let answer = response.options.block1
            switch response.code {
            case .requestEntityIncomplete where offset > 0 && restarts > 0:
                restarts -= 1
                offset = 0
            case .requestEntityTooLarge where answer.map { $0.sizeExponent < exponent } ?? false && restarts > 0:
                restarts -= 1
                offset = 0
            case .continue where end < byteCount:
                guard answer?.offset == offset else { throw CoAPError.unexpectedBlock }
                offset = end
                progress?(offset)
            default:
                if response.code.isSuccess {
                    // A server that takes a part for the whole does not know blocks.
                    guard end == byteCount else { throw CoAPError.unexpectedBlock }
                    progress?(byteCount)
                }
                return response
            }
            if let answer { exponent = min(exponent, answer.sizeExponent) }
        }
    }

    /// What the server has (RFC 6690): the links at `.well-known/core` that match all `filters`, whether the server looks at them or not. Throws ``CoAPError``, of which
    /// ``CoAPError/refused(_:diagnostic:)`` says that the server answers with an error, and ``CoAPLinkError``.
    public func discover(_ filters: CoAPLinkFilter..., timeout: Duration? = nil) async throws -> [CoAPLink] {
        var request = CoAPRequest(.get, path: ".well-known/core")
        request.options.accept = .linkFormat
        for filter in filters { request.options.addQuery(filter.description.utf8.span) }
        let response = try await send(request, timeout: timeout)
        guard response.code.isSuccess else { throw CoAPError.refused(response.code, diagnostic: response.payload) }
        return try CoAPLinkFormat.parse(response.payload.span, matching: filters)
    }
}
#endif
