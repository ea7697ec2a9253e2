internal import CLinux
internal import CMicroHTTPD
internal import Kernel

/// An HTTP server of libmicrohttpd: a thread per connection, so that an answer may wait.
final class HTTPServer: Sendable {
    typealias Handler = @Sendable (HTTPRequest) -> HTTPResponse

    /// How many connections there may be; further ones are closed at once.
    static let connectionLimit: UInt32 = 100
    static let idleSeconds: UInt32 = 30

    private let context: Context
    private let daemon: Guarded<OpaquePointer?>

    /// What the library's callbacks work with.
    fileprivate final class Context: Sendable {
        let handler: Handler
        let maximumBodyBytes: Int
        let isSecure: Bool
        let isStopping = Guarded(false)

        init(handler: @escaping Handler, maximumBodyBytes: Int, isSecure: Bool) {
            self.handler = handler
            self.maximumBodyBytes = maximumBodyBytes
            self.isSecure = isSecure
        }
    }

    /// Begins to serve at a reserved port; with TLS if there are a certificate and a key, as PEM files. What is longer than `maximumBodyBytes` is refused
    /// with 413. The handler is called on the connection's thread.
    init(
        port: ReservedPort,
        identity: (certificatePath: String, keyPath: String)? = nil,
        maximumBodyBytes: Int,
        handler: @escaping Handler
    ) throws(HubSimulatorError) {
        context = Context(handler: handler, maximumBodyBytes: maximumBodyBytes, isSecure: identity != nil)
        var settings = cmhd_settings()
        settings.listener = try port.makeListener()
        settings.connection_limit = Self.connectionLimit
        settings.timeout_seconds = Self.idleSeconds
        settings.context = Unmanaged.passUnretained(context).toOpaque()
        var texts: [UnsafeMutablePointer<CChar>?] = []
        defer { texts.forEach { free($0) } }
        if let identity {
            for path in [identity.certificatePath, identity.keyPath] {
                texts.append(strdup(String(decoding: try readFile(path), as: UTF8.self)))
            }
            settings.certificate = UnsafePointer(texts[0])
            settings.key = UnsafePointer(texts[1])
        }
        let started = cmhd_start(
            &settings,
            { context, connection, path, method, _, data, size, state in
                HTTPServer.handle(context, connection, path, method, data, size, state)
            },
            { _, _, state, _ in
                guard let pointer = state?.pointee else { return }
                Unmanaged<HTTPIncoming>.fromOpaque(pointer).release()
                state?.pointee = nil
            }
        )
        guard let started else {
            close(settings.listener)
            throw .httpFailed(port.number)
        }
        daemon = Guarded(started)
    }

    deinit { stop() }

    /// Ends all connections; answers that wait are waited for.
    func stop() {
        context.isStopping.withLock { $0 = true }
        guard let running = daemon.withLock({ $0.take() }) else { return }
        MHD_stop_daemon(running)
    }

    /// Called at a request's head, then with pieces of its body, and at its end.
    private static func handle(
        _ context: UnsafeMutableRawPointer?,
        _ connection: OpaquePointer?,
        _ path: UnsafePointer<CChar>?,
        _ method: UnsafePointer<CChar>?,
        _ data: UnsafePointer<CChar>?,
        _ size: UnsafeMutablePointer<Int>?,
        _ state: UnsafeMutablePointer<UnsafeMutableRawPointer?>?
    ) -> MHD_Result {
        guard let context, let connection, let size, let state, let path, let method else { return cmhd_no() }
        let server = Unmanaged<Context>.fromOpaque(context).takeUnretainedValue()
        guard let pointer = state.pointee else {
            state.pointee = Unmanaged.passRetained(HTTPIncoming()).toOpaque()
            return cmhd_yes()
        }
        let incoming = Unmanaged<HTTPIncoming>.fromOpaque(pointer).takeUnretainedValue()
        guard size.pointee == 0 else {
            incoming.append(UnsafeRawBufferPointer(start: data, count: size.pointee), limit: server.maximumBodyBytes)
            size.pointee = 0
            return cmhd_yes()
        }
        guard !incoming.isTooLong else { return queue(HTTPResponse(413), connection, server) }
        let request = HTTPRequest(
            method: String(cString: method),
            path: String(cString: path),
            query: values(of: connection, cmhd_arguments()),
            headers: values(of: connection, cmhd_headers(), inLowercase: true),
            body: incoming.body,
            isSecure: server.isSecure
        )
        let response = server.handler(request)
        _ = waitUntil(timeout: response.delay) { server.isStopping.withLock { $0 } }
        return queue(response, connection, server)
    }

    private static func values(
        of connection: OpaquePointer,
        _ kind: MHD_ValueKind,
        inLowercase: Bool = false
    ) -> [String: String] {
        let list = HTTPValues(inLowercase: inLowercase)
        MHD_get_connection_values(
            connection,
            kind,
            { list, _, name, value in
                guard let list, let name else { return cmhd_yes() }
                Unmanaged<HTTPValues>.fromOpaque(list).takeUnretainedValue().add(name, value)
                return cmhd_yes()
            },
            Unmanaged.passUnretained(list).toOpaque()
        )
        return list.values
    }

    private static func queue(_ response: HTTPResponse, _ connection: OpaquePointer, _ server: Context) -> MHD_Result {
        guard let body = HTTPOutgoing(response, isStopping: server.isStopping) else {
            return queue(HTTPResponse(404), connection, server)
        }
        let size = response.isChunked ? cmhd_unknown_size() : UInt64(response.body.count)
        let made = MHD_create_response_from_callback(
            size,
            body.blockSize,
            { body, _, buffer, size in
                guard let body, let buffer else { return cmhd_broken_body() }
                let target = UnsafeMutableRawBufferPointer(start: buffer, count: size)
                return Unmanaged<HTTPOutgoing>.fromOpaque(body).takeUnretainedValue().read(into: target)
            },
            Unmanaged.passRetained(body).toOpaque(),
            { body in if let body { Unmanaged<HTTPOutgoing>.fromOpaque(body).release() } }
        )
        guard let made else { return cmhd_no() }
        defer { MHD_destroy_response(made) }
        for header in response.headers { MHD_add_response_header(made, header.name, header.value) }
        return MHD_queue_response(connection, UInt32(response.status), made)
    }
}

/// A request's body while it comes.
private final class HTTPIncoming {
    private(set) var body: [UInt8] = []
    private(set) var isTooLong = false

    func append(_ bytes: UnsafeRawBufferPointer, limit: Int) {
        guard !isTooLong, body.count + bytes.count <= limit else {
            isTooLong = true
            body = []
            return
        }
        body.append(contentsOf: bytes)
    }
}

/// Names and values of a request.
private final class HTTPValues {
    private(set) var values: [String: String] = [:]
    private let inLowercase: Bool

    init(inLowercase: Bool) { self.inLowercase = inLowercase }

    func add(_ name: UnsafePointer<CChar>, _ value: UnsafePointer<CChar>?) {
        let name = String(cString: name)
        values[inLowercase ? name.lowercased() : name] = value.map { String(cString: $0) } ?? ""
    }
}

/// A response's body while it goes.
private final class HTTPOutgoing {
    private let response: HTTPResponse
    private let isStopping: Guarded<Bool>
    private var file: Int32 = -1
    private var sent = 0

    /// `nil` if the file cannot be read.
    init?(_ response: HTTPResponse, isStopping: Guarded<Bool>) {
        self.response = response
        self.isStopping = isStopping
        guard case .file(let path, let offset, _) = response.body else { return }
        file = clinux_open(path, O_RDONLY | O_CLOEXEC, 0)
        guard file >= 0, lseek(file, offset, SEEK_SET) == offset else { return nil }
    }

    deinit { if file >= 0 { close(file) } }

    /// A tenth of a second's worth of a slow body.
    var blockSize: Int { response.bytesPerSecond.map { max(1, min($0 / 10, 16_384)) } ?? 16_384 }

    func read(into target: UnsafeMutableRawBufferPointer) -> Int {
        if response.bytesPerSecond != nil { usleep(100_000) }
        guard !isStopping.withLock({ $0 }) else { return cmhd_broken_body() }
        let end = min(response.isCutAfter ?? Int.max, response.body.count)
        let count = min(target.count, end - sent, blockSize)
        guard count > 0 else { return sent < response.body.count ? cmhd_broken_body() : cmhd_end_of_body() }
        switch response.body {
        case .bytes(let bytes):
            target.copyBytes(from: bytes[sent..<sent + count])
            sent += count
            return count
        case .file:
            let got = CLinux.read(file, target.baseAddress, count)
            guard got > 0 else { return cmhd_broken_body() }
            sent += got
            return got
        }
    }
}
