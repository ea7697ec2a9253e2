// What a server may send, and what it may not, to the parsers of CoAP: messages, link documents, and URLs with references against them. What is read is composed and read
// again.
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
    switch data[0] % 3 {
    case 0: fuzzMessage(input)
    case 1: fuzzLinks(input)
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
