internal import CLinux
internal import CoAPClient
internal import Kernel
internal import SAL
internal import SecureTransport

private let methods: [String: CoAPCode] = [
    "get": .get, "post": .post, "put": .put, "delete": .delete, "fetch": .fetch, "patch": .patch, "ipatch": .iPatch,
    "observe": .get, "discover": .get, "ping": .empty,
]

private let formats: [String: CoAPContentFormat] = [
    "text": .textPlain, "link": .linkFormat, "xml": .xml, "binary": .octetStream, "exi": .exi, "json": .json,
    "cbor": .cbor,
]

let coapCommand = Command(
    "coap",
    "Ask a CoAP server: get, put, post, delete, fetch, patch, ipatch, observe, discover, ping; or be one: serve.",
    usage: "METHOD URL [FILTER ...] [OPTIONS], or serve FOLDER [OPTIONS]",
    notes: """
        URL is coap://HOST[:PORT]/PATH[?QUERY], or coaps:// with --psk or --cafile; over TCP they are coap+tcp:// and coaps+tcp://. 'observe' prints how the resource is each time that it has
        changed, until -C, -B or Ctrl-C. 'discover' prints a line for each link at /.well-known/core that all filters choose, such as rt=temp*.
        'ping' asks whether the server is there.
        A FORMAT is a number, or one of text, link, xml, binary, exi, json, cbor. The status is 0 after a response of success, 4 or 5 after one
        of these classes, 27 when the time of -B is over, and 1 after any other error.

        'serve' serves the files of a folder until Ctrl-C: whole, in blocks, and observed; folders as lists of links. Links of the file system are not
        followed, and names that begin with a dot are left out.
        """,
    options: payloadOptions + [
        Option("t", "content-format", value: "FORMAT", "What the payload is."),
        Option("A", "accept", value: "FORMAT", "What the response's payload shall be."),
        Option("O", "option", value: "NUMBER,VALUE", "Another option; a value that begins with 0x is hexadecimal."),
        Option("N", "non-confirmable", "Send the request once, without acknowledgement."),
        Option("b", "block-size", value: "BYTES", "Send and ask for blocks of so many bytes: 16, 32, up to 1024."),
        Option("B", "timeout", value: "SECONDS", "End after so many seconds."),
        Option("C", "count", value: "N", "End an observation after so many notifications."),
        Option("o", "output", value: "FILE", "Write the payload into a file."),
        Option("v", "verbose", "Tell codes and options on the standard error."),
        Option(nil, "cafile", value: "FILE", "DTLS and TLS: the certificates that are trusted, PEM."),
        Option(nil, "cert", value: "FILE", "DTLS and TLS: the client's certificate, PEM."),
        Option(nil, "key", value: "FILE", "DTLS and TLS: the client's private key, PEM."),
        Option(nil, "psk", value: "HEX", "DTLS and TLS: the pre-shared key in hexadecimal."),
        Option(nil, "psk-identity", value: "NAME", "DTLS and TLS: the identity for the pre-shared key."),
        Option(nil, "quiet", "Print no errors."),
    ] + wayOptions + coapServeOptions
) { arguments in
    if arguments.operands.first == "serve" { return try await serveFolder(arguments) }
    let (verb, operands) = (arguments.operands.first ?? "", arguments.operands.dropFirst())
    guard let method = methods[verb] else {
        throw UsageError(verb.isEmpty ? "a method and a URL are missing" : "there is no method '\(verb)'")
    }
    guard let text = operands.first else { throw UsageError("the URL is missing") }
    guard operands.count == 1 || verb == "discover" else { throw UsageError("there is one URL at a time") }
    let url: CoAPURL
    do throws(CoAPError) { url = try CoAPURL(parsing: text.utf8.span) } catch {
        throw UsageError("'\(text)' is no URL of CoAP: \(sentence(for: error))")
    }
    var request = CoAPRequest(method, options: url.options, isConfirmable: !arguments.has("non-confirmable"))
    if ["message", "file", "stdin-file", "null-message"].contains(where: arguments.has) {
        request.payload = try payload(arguments)
    } else if ["put", "post", "patch", "ipatch", "fetch"].contains(verb), !arguments.has("null-message") {
        throw UsageError("one of -m, -f, -s and -n says what to send")
    }
    request.options.contentFormat = try format(arguments, "content-format")
    request.options.accept = try format(arguments, "accept")
    for text in arguments.all("option") { try add(text, to: &request.options) }
    if verb == "discover" {
        if url.options.pathSegments.isEmpty { request.options.addPath(".well-known/core".utf8.span) }
        for filter in operands.dropFirst() {
            guard CoAPLinkFilter(filter.utf8.span) != nil else {
                throw UsageError("'\(filter)' is no filter; one is rt=temp*")
            }
            request.options.addQuery(filter.utf8.span)
        }
    }
    var configuration = CoAPConfiguration()
    configuration.maximumBodyBytes = 268_435_456
    if let bytes = try arguments.number("block-size", in: 16...1_024) { configuration.blockBytes = bytes }
    let client = try await connect(to: url, arguments, configuration)
    let isVerbose = arguments.has("verbose")
    let output = arguments["output"]
    let limit = try arguments.number("count", in: 1...Int.max) ?? Int.max
    let filters = operands.dropFirst().compactMap { CoAPLinkFilter($0.utf8.span) }
    let ready = request
    let status = try await withTimeout(arguments) {
        if verb == "ping" {
            let start = ContinuousClock.now
            try await client.ping()
            Console.print("\(url.endpoint) answers after \(milliseconds(since: start)) ms")
            return 0
        }
        if verb == "observe" {
            var left = limit
            var status: Int32 = 0
            for try await notification in client.observe(ready) {
                switch notification {
                case .stale: if isVerbose { Console.error("the resource is silent; it is asked again") }
                case .response(let response):
                    status = try show(response, isVerbose, output, isLine: true)
                    left -= 1
                }
                if left == 0 { break }
            }
            return status
        }
        let response = try await client.send(ready)
        guard verb == "discover", response.code.isSuccess else { return try show(response, isVerbose, output) }
        if isVerbose { tell(response) }
        for link in try CoAPLinkFormat.parse(response.payload.span, matching: filters, limit: 100_000) {
            Console.print(String(decoding: CoAPLinkFormat.compose([link]), as: UTF8.self))
        }
        return 0
    }
    await client.close()
    return status
}

private func connect(
    to url: CoAPURL,
    _ arguments: Arguments,
    _ configuration: CoAPConfiguration
) async throws -> CoAPClient {
    let loop = EventLoop.start()
    var network: any Network & DatagramNetwork = LinuxNetwork(loop: loop)
    if let modem = try ModemLine(way: arguments) { network = try await modem.openModem(on: loop) }
    guard url.isSecure else {
        return url.scheme.isStream
            ? CoAPClient(to: url.endpoint, overStreams: network, configuration: configuration)
            : CoAPClient(to: url.endpoint, over: network, configuration: configuration)
    }
    guard var tls = try tlsConfiguration(arguments) else {
        throw UsageError("coaps:// and coaps+tcp:// need --psk and --psk-identity, or --cafile")
    }
    if url.scheme.isStream {
        // RFC 8323, 8.2.
        tls.applicationProtocols = ["coap"]
        let secure = try SecureNetwork(over: network, tls)
        return CoAPClient(to: url.endpoint, overStreams: secure, configuration: configuration)
    }
    let secure = try SecureDatagramNetwork(over: network, tls)
    return CoAPClient(to: url.endpoint, over: secure, configuration: configuration)
}

private func format(_ arguments: Arguments, _ name: String) throws(UsageError) -> CoAPContentFormat? {
    guard let text = arguments[name] else { return nil }
    if let format = formats[text] { return format }
    guard let number = UInt16(text) else {
        throw UsageError(
            "--\(name) is a number up to 65535, or one of \(formats.keys.sorted().joined(separator: ", "))"
        )
    }
    return CoAPContentFormat(rawValue: number)
}

private func add(_ text: String, to options: inout CoAPOptions) throws(UsageError) {
    let parts = text.split(separator: ",", maxSplits: 1, omittingEmptySubsequences: false)
    guard let number = UInt16(parts[0]) else { throw UsageError("-O is NUMBER,VALUE, such as 2049,0x2a") }
    let value = parts.count > 1 ? String(parts[1]) : ""
    guard value.hasPrefix("0x") else { return options.add(CoAPOptionNumber(rawValue: number), Array(value.utf8)) }
    guard let bytes = hexadecimal(String(value.dropFirst(2))) else { throw UsageError("'\(value)' is not hexadecimal") }
    options.add(CoAPOptionNumber(rawValue: number), bytes)
}

/// Prints a response's payload; returns the status that its code stands for.
private func show(
    _ response: CoAPResponse,
    _ isVerbose: Bool,
    _ output: String?,
    isLine: Bool = false
) throws -> Int32 {
    if isVerbose { tell(response) }
    guard response.code.isSuccess else {
        let text = String(decoding: response.payload, as: UTF8.self)
        Console.error("coap: the server answers \(response.code)\(text.isEmpty ? "" : ": \(text)")")
        return Int32(response.code.codeClass)
    }
    if let output {
        let descriptor = clinux_open(output, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else {
            throw Failure("cannot write \(output): \(String(cString: strerror(clinux_errno())))")
        }
        defer { close(descriptor) }
        var rest = response.payload[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
            guard count > 0 else {
                throw Failure("cannot write \(output): \(String(cString: strerror(clinux_errno())))")
            }
            rest = rest.dropFirst(count)
        }
    } else if isLine || Console.isTerminal {
        Console.print(response.payload)
    } else {
        Console.raw(response.payload)
    }
    return 0
}

private func tell(_ response: CoAPResponse) {
    Console.error("\(response.code), \(response.payload.count) bytes")
    for option in response.options.list {
        let digits = option.value.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
        Console.error("option \(option.number): 0x\(digits)")
    }
}

/// With two digits behind the point.
private func milliseconds(since start: ContinuousClock.Instant) -> String {
    let hundredths = (ContinuousClock.now - start) / .microseconds(10)
    let whole = Int(hundredths.rounded())
    return "\(whole / 100).\(whole % 100 < 10 ? "0" : "")\(whole % 100)"
}
