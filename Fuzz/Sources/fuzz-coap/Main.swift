// What a peer may send, and what it may not, to the parsers of CoAP: messages, link documents, and URLs with references against them. What is read is composed and read
// again. And to a client's session with requests of all kinds under way, over datagrams and over a stream, and to a server.
//
// The input's first byte chooses.
import CoAPClient
import FuzzDriver
import SAL

@main enum Main { static func main() { runFuzzer { fuzz($0, $1) } } }

private let base = CoAPURL("coaps+tcp://[2001:db8::1]:7/a/b?c")

private func fuzz(_ data: UnsafePointer<UInt8>?, _ size: Int) -> CInt {
    guard let data, size > 1 else { return 0 }
    let input = Array(UnsafeBufferPointer(start: data + 1, count: size - 1))
    switch data[0] % 6 {
    case 0: fuzzMessage(input)
    case 1: fuzzLinks(input)
    case 2: fuzzURL(input)
    case 3: fuzzSession(CoAPSession(sessionConfiguration, seed: CoAPSeed(1, 2)), input, isStream: false)
    case 4: fuzzSession(CoAPSession(overStreams: sessionConfiguration, seed: CoAPSeed(1, 2)), input, isStream: true)
    default: fuzzServer(input)
    }
    return 0
}

private let sessionConfiguration: CoAPConfiguration = {
    var configuration = CoAPConfiguration()
    configuration.requestLimit = 8
    configuration.outstandingLimit = 4
    configuration.blockBytes = 16
    configuration.maximumBodyBytes = 256
    configuration.maximumStreamMessageBytes = 1_200
    configuration.tokenBytes = 2
    return configuration
}()

/// Each piece of the input starts with a byte: below 224 how long it is, which is what arrives, with the token and message ID of the last request in it if its second byte is
/// odd; above that it is what the client does. However it goes, each request ends once.
private func fuzzSession(_ session: consuming CoAPSession, _ input: [UInt8], isStream: Bool) {
    var now = Duration.seconds(1)
    var last: [UInt8] = []
    var open: Set<CoAPExchangeID> = []
    var left = input[...]
    var isOver = false
    func drain(_ session: inout CoAPSession) {
        while let output = session.nextOutput() {
            switch output {
            case .transmit(let bytes): last = bytes
            case .finished(let id, _): guard open.remove(id) != nil else { fatalError("ended twice") }
            case .notification(let id, _), .stale(let id): guard open.contains(id) else { fatalError("notified after its end") }
            case .disconnect: isOver = true
            }
        }
        if isOver {
            isOver = false
            session.transportClosed()
            session.transportOpened(at: now)
            drain(&session)
        }
    }
    session.transportOpened(at: now)
    drain(&session)
    while let first = left.popFirst() {
        var options = CoAPOptions()
        switch first {
        case 224..<240:
            if first & 1 != 0 { options.observe = 0 }
            options.add(.uriPath, [first])
            let payload = [UInt8](repeating: first, count: first & 2 == 0 ? 0 : 50)
            let method = first & 4 == 0 ? CoAPCode.get : .post
            let request = CoAPRequest(method, options: options, payload: payload, isConfirmable: first & 8 == 0)
            if let id = try? session.send(request, at: now) { open.insert(id) }
        case 240: if let id = try? session.ping(at: now) { open.insert(id) }
        case 241: if let id = open.first { session.cancel(id, at: now) }
        case 242...250:
            now += .seconds(Int64(first - 241) * 20)
            session.handleTimeout(at: now)
        case 251...:
            session.transportClosed()
            session.transportOpened(at: now)
        default:
            var piece = Array(left.prefix(Int(first)))
            left = left.dropFirst(piece.count)
            if piece.count > 8, piece[1] & 1 != 0, last.count >= 6, !isStream {
                // An answer to the last request.
                piece[0] = 0x42 | piece[0] & 0x30
                for index in 2..<6 { piece[index] = last[index] }
            }
            if isStream { session.receive(stream: piece.span, at: now) } else { session.receive(piece.span, at: now) }
        }
        drain(&session)
        guard open.count == session.requestCount else { fatalError("a request is lost") }
    }
    session.failAll(.closed)
    drain(&session)
    guard open.isEmpty, session.requestCount == 0 else { fatalError("a request has no end") }
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
