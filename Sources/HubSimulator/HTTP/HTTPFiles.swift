internal import CLinux

/// Files that devices fetch and send: in the directory `files`, by URLs which are signed and expire.
extension ServiceCore {
    static let maximumFileBytes = 64 << 20
    static let fileRoot = "/files/"

    /// The URL of a file for one method, good until `lifetime` from now.
    func fileURL(_ name: String, method: String, lifetime: Duration) throws(HubSimulatorError) -> String {
        let expiry = now / 1000 + Int(lifetime.components.seconds)
        let base = behavior.sendsFilesByTLS ? fileBaseURLs.secure : fileBaseURLs.plain
        let sign = try fileSignature(name, method: method, expiry: expiry)
        return "\(base)\(Self.fileRoot)\(Self.escaped(name))?expires=\(expiry)&sign=\(sign)"
    }

    /// A name may be anything, so its digest is the file's.
    func filePath(_ name: String) -> String {
        "\(directory)/files/\(hex(Cryptography.digest(.sha256, Array(name.utf8))))"
    }

    /// Keeps a file.
    func writeFile(_ name: String, _ bytes: [UInt8]) throws(HubSimulatorError) {
        guard bytes.count <= Self.maximumFileBytes else { throw .tooLong("the file", limit: Self.maximumFileBytes) }
        guard 1...200 ~= name.utf8.count else { throw .invalidRequest("a file's name is 1 to 200 bytes") }
        try makeDirectory("\(directory)/files")
        try replaceFile(filePath(name), with: bytes)
    }

    /// Answers a GET, PUT or POST of a file.
    func serveFile(_ request: HTTPRequest, ignoresRange: Bool) throws(HubSimulatorError) -> HTTPResponse {
        let name = String(request.path.dropFirst(Self.fileRoot.count))
        let method = request.method == "HEAD" ? "GET" : request.method
        guard let expiry = request.query["expires"].flatMap({ Int($0) }), expiry >= now / 1000,
            let sign = request.query["sign"],
            Cryptography.areEqual(
                Array(sign.utf8),
                Array(try fileSignature(name, method: method, expiry: expiry).utf8)
            )
        else { return HTTPResponse(403, "the URL is not signed so, or has expired") }
        guard method == "GET" else { return try takeFile(request, name) }
        var status = stat()
        guard stat(filePath(name), &status) == 0 else { return HTTPResponse(404, "there is no file \(name)") }
        let size = status.st_size
        let headers = [("Content-Type", "application/octet-stream"), ("Accept-Ranges", "bytes")]
        func whole() -> HTTPResponse {
            HTTPResponse(200, body: .file(path: filePath(name), offset: 0, count: size), headers: headers)
        }
        guard !ignoresRange, let text = request.headers["range"] else { return whole() }
        switch HTTPRange(text, size: size) {
        case .invalid: return whole()
        case .unsatisfiable:
            return HTTPResponse(416, body: .bytes([]), headers: [("Content-Range", "bytes */\(size)")])
        case .bytes(let range):
            let part = "bytes \(range.lowerBound)-\(range.upperBound - 1)/\(size)"
            return HTTPResponse(
                206,
                body: .file(path: filePath(name), offset: range.lowerBound, count: range.count),
                headers: headers + [("Content-Range", part)]
            )
        }
    }

    /// Keeps what is sent, unless its MD5 is another than the header says.
    private func takeFile(_ request: HTTPRequest, _ name: String) throws(HubSimulatorError) -> HTTPResponse {
        if let sum = request.headers["content-md5"],
            Base64.decode(sum) != Cryptography.digest(.md5, request.body)
        {
            return HTTPResponse(400, "Content-MD5 is not that of the body")
        }
        try writeFile(name, request.body)
        return HTTPResponse(200)
    }

    /// With `%` and digits for what a URL's path does not have (RFC 3986, 3.3).
    private static func escaped(_ name: String) -> String {
        name.utf8.map { byte in
            let isPlain = byte.isUpper || byte.isLower || byte.isDigit || "-._~/".utf8.contains(byte)
            return isPlain ? String(UnicodeScalar(byte)) : "%" + hex([byte]).uppercased()
        }.joined()
    }

    private func fileSignature(_ name: String, method: String, expiry: Int) throws(HubSimulatorError) -> String {
        let key: String
        if let kept = try store.document(.resource, "url-key")?.string {
            key = kept
        } else {
            key = hex(secretBytes(16))
            try store.put(.resource, "url-key", .string(key))
        }
        return hex(Cryptography.hmac(.sha256, key: Array(key.utf8), Array("\(method) \(name) \(expiry)".utf8)))
    }
}

/// What a `Range` header asks for (RFC 9110, 14.1.2).
enum HTTPRange: Equatable {
    case bytes(Range<Int>)
    case unsatisfiable
    /// None, or several, which are answered by the whole.
    case invalid

    init(_ text: String, size: Int) {
        let parts = text.dropFirst("bytes=".count).split(separator: "-", omittingEmptySubsequences: false)
        guard text.hasPrefix("bytes="), parts.count == 2 else {
            self = .invalid
            return
        }
        switch (Int(parts[0]), Int(parts[1])) {
        case (let first?, let last?) where last >= first:
            self = first < size ? .bytes(first..<min(last, size - 1) + 1) : .unsatisfiable
        case (let first?, nil) where parts[1].isEmpty: self = first < size ? .bytes(first..<size) : .unsatisfiable
        case (nil, let count?) where parts[0].isEmpty:
            self = count > 0 && size > 0 ? .bytes(max(0, size - count)..<size) : .unsatisfiable
        default: self = .invalid
        }
    }
}
