internal import CLinux
internal import CoAPClient
internal import Kernel
internal import SAL
internal import SecureTransport

let coapServeOptions = [
    Option(nil, "port", value: "PORT", "serve: the port, 5683 or with --psk 5684 by default; 0 for a free one."),
    Option(nil, "bind", value: "ADDRESS", "serve: the address, instead of all."),
    Option(nil, "writable", "serve: take PUT and DELETE too."),
]

/// `apus coap serve`: a folder as resources.
func serveFolder(_ arguments: Arguments) async throws -> Int32 {
    guard arguments.operands.count == 2 else { throw UsageError("'serve' has one folder behind it") }
    let isWritable = arguments.has("writable")
    let folder = try ServedFolder(arguments.operands[1])
    let secure = try preSharedKeys(arguments)
    let port = UInt16(try arguments.number("port", in: 0...65_535) ?? (secure == nil ? 5683 : 5684))
    let addresses = try arguments["bind"].map { text throws(UsageError) in
        guard let address = IPAddress(text) else { throw UsageError("'\(text)' is no address") }
        return [address]
    }
    var configuration = CoAPServerConfiguration()
    configuration.messages.maximumBodyBytes = 16_777_216
    configuration.bodyBytesLimit = 67_108_864
    let network = LinuxNetwork(loop: EventLoop.start())
    var server: CoAPServer?
    // Where there is no IPv6, all addresses are those of IPv4.
    var candidates = addresses ?? [.anyIPv6, .anyIPv4]
    while server == nil {
        let address = SocketAddress(address: candidates.removeFirst(), port: port)
        do {
            server =
                if let secure {
                    try await CoAPServer.start(at: address, over: network, secure: secure, configuration: configuration)
                } else {
                    try await CoAPServer.start(at: address, over: network, configuration: configuration)
                }
        } catch { if candidates.isEmpty { throw error } }
    }
    guard let server else { return 1 }
    let files = FileResources(folder, server)
    await server.resource(
        methods: isWritable ? [.get, .put, .delete] : .get,
        change: {
            $0.includesSubpaths = true
            $0.isObservable = true
        },
        handler: { await files.respond($0) }
    )
    await server.resource(".well-known", "core") { files.list($0) }
    Interruption.watch()
    let scheme = secure == nil ? "coap" : "coaps"
    Console.print("serving \(arguments.operands[1]) as \(scheme)://*:\(await server.localAddress?.port ?? port)/")
    while !Interruption.hasCome {
        try await Task.sleep(for: .milliseconds(250))
        await files.notifyChanges()
    }
    await server.close()
    return 0
}

private func preSharedKeys(_ arguments: Arguments) throws -> TLSServerConfiguration? {
    guard case .preSharedKey(let expected, let key)? = try tlsConfiguration(arguments)?.identity else { return nil }
    var configuration = TLSServerConfiguration { $0 == expected ? key : nil }
    configuration.suites = .legacyPreSharedKey
    return configuration
}

/// The files of a folder as answers to requests.
private actor FileResources {
    private static let linkLimit = 1_000
    private nonisolated let folder: ServedFolder
    private let server: CoAPServer
    /// The ETags of what is observed, as they were told.
    private var told: [[[UInt8]]: [UInt8]?] = [:]
    /// Those of what somebody has begun to observe since the observers were told last.
    private var begun: [[[UInt8]]: [UInt8]?] = [:]

    init(_ folder: ServedFolder, _ server: CoAPServer) {
        self.folder = folder
        self.server = server
    }

    func respond(_ request: CoAPServerRequest) async -> CoAPResponse {
        switch request.method {
        case .get:
            // What changes from here on is told.
            if request.options.observe == 0, !request.isNotification { begun[request.path] = folder.eTag(request.path) }
            return read(request)
        case .put, .delete:
            let path = request.path
            if let failed = request.failedPrecondition(current: folder.eTag(path)) { return failed }
            let response = request.method == .put ? write(request) : delete(request)
            await notifyChanges()
            return response
        default: return CoAPResponse(.methodNotAllowed)
        }
    }

    private func write(_ request: CoAPServerRequest) -> CoAPResponse {
        switch folder.write(request.payload, to: request.path) {
        case .success(let isNew): CoAPResponse(isNew ? .created : .changed)
        case .failure(let refusal): CoAPResponse(refusal.code)
        }
    }

    private func delete(_ request: CoAPServerRequest) -> CoAPResponse {
        switch folder.delete(request.path) {
        case .success: CoAPResponse(.deleted)
        case .failure(let refusal): CoAPResponse(refusal.code)
        }
    }

    // MARK: Reading

    private func read(_ request: CoAPServerRequest) -> CoAPResponse {
        switch folder.entry(request.path) {
        case .file(let file): block(of: file, request)
        case .folder(let open): listing(open, request)
        case nil: CoAPResponse(.notFound)
        }
    }

    /// The block of a file that is asked for: no more than that is read.
    private func block(of file: ServedFolder.OpenFile, _ request: CoAPServerRequest) -> CoAPResponse {
        let format = contentFormat(request.path.last ?? [])
        if let accept = request.options.accept, accept != format { return CoAPResponse(.notAcceptable) }
        let wanted = request.options.block2
        let exponent = min(wanted?.sizeExponent ?? 6, 6)
        let size = 16 << Int(exponent)
        let offset = wanted?.offset ?? 0
        guard file.byteCount <= size << 20 else {
            return CoAPResponse(.internalServerError, payload: Array("too large".utf8))
        }
        guard offset == 0 || offset < file.byteCount else { return CoAPResponse(.badRequest) }
        let end = min(offset + size, file.byteCount)
        var response = CoAPResponse.content(file.read(offset..<end), format: format, eTag: file.eTag)
        // A file that has become shorter has another ETag now.
        guard response.payload.count == end - offset else { return CoAPResponse(.serviceUnavailable) }
        if wanted != nil || end < file.byteCount {
            response.options.block2 = CoAPBlock(
                number: offset / size,
                hasMore: end < file.byteCount,
                sizeExponent: exponent
            )
            if offset == 0 { response.options.add(.size2, uint: UInt32(clamping: file.byteCount)) }
        }
        return response
    }

    /// The entries of a folder as links.
    private func listing(_ open: ServedFolder.OpenFile, _ request: CoAPServerRequest) -> CoAPResponse {
        if let accept = request.options.accept, accept != .linkFormat { return CoAPResponse(.notAcceptable) }
        let links = folder.names(open).compactMap {
            link(request.path + [$0.name], isFolder: $0.isFolder, $0.byteCount)
        }
        return .links(links, for: request.options)
    }

    /// `/.well-known/core`: the files of all folders, as many as fit the limit.
    nonisolated func list(_ request: CoAPServerRequest) -> CoAPResponse {
        var links: [CoAPLink] = []
        var folders: [[[UInt8]]] = [[]]
        while let path = folders.popLast(), links.count < Self.linkLimit {
            guard case .folder(let open) = folder.entry(path) else { continue }
            for (name, isFolder, byteCount) in folder.names(open) where links.count < Self.linkLimit {
                if isFolder { folders.append(path + [name]) }
                if let link = link(path + [name], isFolder: isFolder, byteCount) { links.append(link) }
            }
        }
        return .links(links, for: request.options)
    }

    private nonisolated func link(_ path: [[UInt8]], isFolder: Bool, _ byteCount: Int) -> CoAPLink? {
        var options = CoAPOptions()
        for segment in path { options.add(.uriPath, segment) }
        var link = CoAPLink(to: options)
        let format = isFolder ? CoAPContentFormat.linkFormat : contentFormat(path.last ?? [])
        do {
            try link.add("ct", number: UInt64(format.rawValue))
            if !isFolder { try link.add("sz", number: UInt64(byteCount)) }
            try link.add("obs")
        } catch { return nil }
        return link
    }

    // MARK: Observers

    /// Tells observers of what has changed since they were told last.
    func notifyChanges() async {
        let observed = await server.observedPaths
        let last = told.merging(begun) { told, _ in told }
        told = begun.filter { !observed.contains($0.key) }
        begun = [:]
        for path in observed {
            let eTag = folder.eTag(path)
            told[path] = .some(eTag)
            if let last = last[path], last != eTag { await server.notify(path) }
        }
    }
}

/// What a file is by the end of its name (the registry of CoRE Parameters).
private func contentFormat(_ name: [UInt8]) -> CoAPContentFormat {
    let suffix = String(decoding: name, as: UTF8.self).split(separator: ".", omittingEmptySubsequences: false).last
    return switch suffix?.lowercased() ?? "" {
    case "txt", "md", "log", "csv": .textPlain
    case "link", "wlnk": .linkFormat
    case "xml": .xml
    case "exi": .exi
    case "json": .json
    case "cbor": .cbor
    case "gif": CoAPContentFormat(rawValue: 21)
    case "jpg", "jpeg": CoAPContentFormat(rawValue: 22)
    case "png": CoAPContentFormat(rawValue: 23)
    case "css": CoAPContentFormat(rawValue: 20_000)
    case "js": CoAPContentFormat(rawValue: 20_002)
    case "svg": CoAPContentFormat(rawValue: 30_000)
    default: .octetStream
    }
}
