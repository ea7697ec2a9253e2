internal import Kernel
internal import SAL

/// A name whose address is asked for. It takes its turn like a socket, but never gets a link.
final class ModemLookup: ModemSocket {
    private let completion: (Result<IPAddress, SocketError>) -> Void

    init(
        _ modem: Modem,
        host: [UInt8],
        deadline: Duration,
        _ completion: @escaping (Result<IPAddress, SocketError>) -> Void
    ) {
        self.completion = completion
        super.init(modem, host: host, port: 0, isDatagram: false, deadline: deadline)
    }

    override var needsAddress: Bool { address == nil }

    override var wantsLink: Bool { false }

    override func tellClosed() {
        if let address { completion(.success(address)) } else { completion(.failure(error ?? .nameNotFound)) }
    }
}
