// What a peer may send, and what it may not, to the parsers of CoAP: messages, link documents, and URLs with references against them. What is read is composed and read
// again. And to a server, datagram by datagram.
//
// The input's first byte chooses the parser.
import CoAPClient
import Glibc
import SAL

@_silgen_name("LLVMFuzzerRunDriver")
private func runFuzzer(
    _ argumentCount: UnsafeMutablePointer<CInt>,
    _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>>,
    _ body: @convention(c) (UnsafePointer<UInt8>?, Int) -> CInt
) -> CInt

@main enum Main {
    static func main() {
        var (count, arguments) = (CommandLine.argc, CommandLine.unsafeArgv)
        exit(runFuzzer(&count, &arguments) { fuzz($0, $1) })
    }
}

private let base = CoAPURL("coaps+tcp://[2001:db8::1]:7/a/b?c")

private func fuzz(_ data: UnsafePointer<UInt8>?, _ size: Int) -> CInt {
    guard let data, size > 1 else { return 0 }
    let input = Array(UnsafeBufferPointer(start: data + 1, count: size - 1))
    switch data[0] % 4 {
    case 0: fuzzMessage(input)
    case 1: fuzzLinks(input)
    case 2: fuzzServer(input)
    default: fuzzURL(input)
    }
    return 0
}

private func fuzzMessage(_ input: [UInt8]) {
    guard let message = try? CoAPMessage(decoding: input.span) else { return }
    guard (try? CoAPMessage(decoding: message.encoded.span)) == message else { fatalError("another message") }
    // A URL that is composed is one.
    for host in ["h", "::1"] {
        guard let url = try? CoAPURL(.coap, to: Endpoint(host: host, port: 1), options: message.options) else {
            continue
        }
        guard (try? CoAPURL(parsing: url.text.span)) == url else { fatalError("another URL") }
    }
}

private func fuzzLinks(_ input: [UInt8]) {
    guard let links = try? CoAPLinkFormat.parse(input.span) else { return }
    guard (try? CoAPLinkFormat.parse(CoAPLinkFormat.compose(links).span)) == links else { fatalError("other links") }
    for link in links {
        _ = (link.contentFormats, link.maximumSize, link.resourceTypes)
        guard var copy = try? CoAPLink(link.target) else { continue }
        for attribute in link.attributes {
            let (name, value) = (attribute.name, attribute.value)
            // A value that has a name's form without quotes only can be read with them, but is not composed.
            guard
                (try? copy.add(String(decoding: name, as: UTF8.self), value.map { String(decoding: $0, as: UTF8.self) }))
                    != nil
            else { continue }
            if let value, let filter = CoAPLinkFilter((name + [UInt8(ascii: "=")] + value).span) {
                // All but the first of some names do not match.
                if link.attributes.filter({ $0 == attribute }).count == link.attributes.count, !filter.matches(link) {
                    fatalError("no match")
                }
            }
        }
        guard let again = try? CoAPLinkFormat.parse(copy.text.span), again == [copy] else { fatalError("another link") }
    }
}

private func fuzzURL(_ input: [UInt8]) {
    if let url = try? CoAPURL(parsing: input.span) {
        guard (try? CoAPURL(parsing: url.text.span)) == url,
            (try? CoAPURL(url.scheme, to: url.endpoint, options: url.options)) == url
        else { fatalError("another URL") }
    }
    if let base, let url = try? CoAPURL(input.span, relativeTo: base) {
        guard (try? CoAPURL(url.text.span, relativeTo: base)) == url else { fatalError("another URL") }
    }
}

/// Each datagram has two bytes before it: its length, and its peer, what time passes before it, and whether it was sent to a group.
private func fuzzServer(_ input: [UInt8]) {
    var configuration = CoAPServerConfiguration()
    configuration.exchangeLimit = 4
    configuration.observerLimit = 2
    configuration.bodyLimit = 2
    configuration.messages.maximumBodyBytes = 4_096
    var server = CoAPServerSession(configuration, seed: CoAPSeed(1, 2))
    var resource = CoAPResource("a".utf8.span, [.get, .put, .post, .fetch])
    resource.isObservable = true
    resource.includesSubpaths = true
    server.add(resource, at: .zero)
    var now = Duration.zero
    var offset = 0
    while offset + 2 <= input.count {
        let (length, flags) = (Int(input[offset]), input[offset + 1])
        let end = min(offset + 2 + length, input.count)
        let peer = SocketAddress(address: .v4(UInt32(flags & 3)), port: 1)
        now += .milliseconds(Int(flags >> 3) * 100)
        server.handleTimeout(at: now)
        drain(&server, at: now)
        server.receive(input.span.extracting(offset + 2..<end), from: peer, isMulticast: flags & 4 != 0, at: now)
        drain(&server, at: now)
        if flags == 255 { server.changed([[UInt8(ascii: "a")]], at: now) }
        offset = end
    }
    // Whatever came, it ends.
    for _ in 0..<1_000 {
        guard let deadline = server.deadline else { break }
        now = max(now, deadline)
        server.handleTimeout(at: now)
        drain(&server, at: now)
    }
    guard server.deadline == nil else { fatalError("the server has no rest") }
}

private func drain(_ server: inout CoAPServerSession, at now: Duration) {
    while let output = server.nextOutput() {
        switch output {
        case .transmit(let datagram, _):
            if (try? CoAPMessage(decoding: datagram.span)) == nil { fatalError("what is sent is no message") }
        // Some are never answered.
        case .request(let request) where request.payload.first != 0:
            let payload = [UInt8](repeating: 1, count: request.payload.count * 100)
            server.respond(to: request.id, with: .content(payload), at: now)
        case .request, .abandoned: break
        }
    }
}
