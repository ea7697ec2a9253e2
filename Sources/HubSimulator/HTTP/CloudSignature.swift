/// The signature in the header of a request to the hub's HTTP gateway.
struct CloudSignature {
    /// The names that the real gateway has; a device that is sent elsewhere may sign with one of them or with the name that it uses.
    static let hosts = ["ap-guangzhou", "us-east", "europe", "ap-bangkok"].map { "\($0).gateway.tencentdevices.com" }

    /// What it is checked with.
    enum Key {
        /// A secret as its text, not decoded.
        case secret(String)
        /// The PEM text of a certificate.
        case certificate([UInt8])
    }

    let algorithm: String
    let timestamp: Int
    private let timestampText: String
    private let nonce: String
    private let signature: [UInt8]

    /// `nil` if a header is missing or is not what it should be.
    init?(_ request: HTTPRequest) {
        guard let algorithm = request.headers["x-tc-algorithm"], let timestampText = request.headers["x-tc-timestamp"],
            let timestamp = Int(timestampText), let nonce = request.headers["x-tc-nonce"], Int(nonce) != nil,
            let text = request.headers["x-tc-signature"], let signature = Base64.decode(text)
        else { return nil }
        self.algorithm = algorithm
        self.timestamp = timestamp
        self.timestampText = timestampText
        self.nonce = nonce
        self.signature = signature
    }

    /// The host that the request was signed with, or `nil` if the signature is wrong.
    func host(of request: HTTPRequest, key: Key) -> String? {
        ([request.host] + Self.hosts).first { isRight(for: request, host: $0, key: key) }
    }

    private func isRight(for request: HTTPRequest, host: String, key: Key) -> Bool {
        let digest = algorithm == "hmacsha1" ? Cryptography.Digest.sha1 : .sha256
        let hash = hex(Cryptography.digest(digest, request.body))
        let lines = [request.method, host, request.path, "", algorithm, timestampText, nonce, hash]
        let text = Array(lines.joined(separator: "\n").utf8)
        switch (key, algorithm) {
        case (.secret(let secret), "hmacsha1"), (.secret(let secret), "hmacsha256"):
            return Cryptography.areEqual(Cryptography.hmac(digest, key: Array(secret.utf8), text), signature)
        case (.certificate(let certificate), "rsa-sha256"):
            return Cryptography.isSigned(text, signature, certificatePEM: certificate)
        default: return false
        }
    }
}
