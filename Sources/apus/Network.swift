internal import CLinux
internal import Kernel
internal import SAL
internal import SecureTransport

/// A mistake that is the user's to mend, as a sentence.
struct Failure: Error {
    let message: String
    init(_ message: String) { self.message = message }
}

/// The bytes of a file.
func readFile(_ path: String) throws(Failure) -> [UInt8] {
    let descriptor = clinux_open(path, O_RDONLY | O_CLOEXEC, 0)
    guard descriptor >= 0 else { throw Failure("cannot read \(path): \(String(cString: strerror(clinux_errno())))") }
    defer { close(descriptor) }
    var bytes: [UInt8] = []
    while true {
        let chunk = readChunk(descriptor)
        if chunk.isEmpty { return bytes }
        bytes += chunk
    }
}

/// The lines of a file that may go on for ever, as bytes, without their ends.
struct FileLines: Sequence, IteratorProtocol {
    let descriptor: Int32
    private var chunk: ArraySlice<UInt8> = []

    init(_ descriptor: Int32) { self.descriptor = descriptor }

    mutating func next() -> [UInt8]? {
        var line: [UInt8] = []
        while true {
            if let end = chunk.firstIndex(of: 10) {
                line += chunk[..<end]
                chunk = chunk[(end + 1)...]
                return line
            }
            line += chunk
            chunk = readChunk(descriptor)[...]
            if chunk.isEmpty { return line.isEmpty ? nil : line }
        }
    }
}

/// What a file has next, up to `limit` bytes; empty at its end.
func readChunk(_ descriptor: Int32, _ limit: Int = 65_536) -> [UInt8] {
    [UInt8](unsafeUninitializedCapacity: limit) { buffer, count in
        count = max(0, read(descriptor, buffer.baseAddress, buffer.count))
    }
}

/// The bytes that a hexadecimal text stands for.
func hexadecimal(_ text: String) -> [UInt8]? {
    let digits = text.compactMap(\.hexDigitValue)
    guard digits.count == text.count, digits.count % 2 == 0 else { return nil }
    return stride(from: 0, to: digits.count, by: 2).map { UInt8(digits[$0] << 4 | digits[$0 + 1]) }
}

/// What the options say about TLS; `nil` without any.
func tlsConfiguration(_ arguments: Arguments) throws -> TLSConfiguration? {
    var configuration = TLSConfiguration()
    if let text = arguments["psk"] {
        guard let identity = arguments["psk-identity"] else { throw UsageError("--psk needs --psk-identity") }
        guard let key = hexadecimal(text), !key.isEmpty else { throw UsageError("--psk is a hexadecimal number") }
        configuration.identity = .preSharedKey(identity: Array(identity.utf8), key: SecretBytes(key))
        configuration.suites = .legacyPreSharedKey
        return configuration
    }
    guard let anchors = arguments["cafile"] else {
        guard !arguments.has("cert"), !arguments.has("key") else { throw UsageError("--cert and --key need --cafile") }
        return nil
    }
    configuration.trust = .anchors(try readFile(anchors))
    if let certificate = arguments["cert"] {
        guard let key = arguments["key"] else { throw UsageError("--cert needs --key") }
        configuration.identity = .certificate(
            TLSCertificate(
                chain: try readFile(certificate),
                privateKey: SecretBytes(try readFile(key))
            )
        )
    }
    return configuration
}

/// The way to the server: Linux sockets or a modem, with TLS on top if there is a configuration for it.
func openNetwork(modem: ModemLine?, tls: TLSConfiguration?) async throws -> any Network {
    let loop = EventLoop.start()
    var network: any Network = LinuxNetwork(loop: loop)
    if let modem { network = try await modem.openModem(on: loop) }
    guard let tls else { return network }
    return try SecureNetwork(over: network, tls)
}

/// The way for datagrams to the server, with DTLS on top if there is a configuration for it.
func openDatagramNetwork(modem: ModemLine?, dtls: TLSConfiguration?) async throws -> any DatagramNetwork {
    let loop = EventLoop.start()
    var network: any DatagramNetwork = LinuxNetwork(loop: loop)
    if let modem { network = try await modem.openModem(on: loop) }
    guard let dtls else { return network }
    return try SecureDatagramNetwork(over: network, dtls)
}
