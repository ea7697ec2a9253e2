internal import ATAdapter
internal import Kernel
internal import SAL

/// A socket of a ``ModemSession``, with what has arrived and was not asked for yet.
final class ModemSessionSocket: ByteStreamHandler, DatagramHandler {
    /// What is kept for a later request.
    private static let maximumBytes = 65_536
    private static let maximumDatagrams = 256

    private unowned let session: ModemSession
    var stream: (any ByteStream)?
    var datagramSocket: (any DatagramSocket)?
    private(set) var isOpen = false
    /// Why it ended: with an error, or without one at the end of the stream; `nil` while it has not ended.
    private(set) var ending: SocketError??
    private(set) var isSent = true
    private var unsent: [UInt8] = []
    private var received: [UInt8] = []
    private var datagrams: [(bytes: [UInt8], isTruncated: Bool)] = []
    private var isFull = false
    private var modem: Modem?

    init(_ session: ModemSession) { self.session = session }

    func send(_ bytes: [UInt8], over modem: Modem) throws(SocketError) {
        self.modem = modem
        isSent = false
        if let datagramSocket {
            try datagramSocket.send(bytes.span, to: nil)
            modem.whenSent(datagramSocket) { self.allSent() }
        } else {
            unsent = bytes
            pump()
        }
    }

    private func pump() {
        guard let stream, let modem, !isSent else { return }
        let count = unsent.isEmpty ? 0 : stream.send(unsent.span)
        unsent.removeFirst(count)
        if unsent.isEmpty { modem.whenSent(stream) { self.allSent() } }
    }

    private func allSent() {
        // Of a socket that has ended nothing is known.
        isSent = ending == nil
        session.changed()
    }

    /// What a receive gets now: bytes or a datagram, the end of the stream, or nothing yet.
    func next(_ maximum: Int) -> Result<JSONObject, ModemSession.Problem>? {
        let reply = JSONObject()
        if datagramSocket != nil, !datagrams.isEmpty {
            let (bytes, isTruncated) = datagrams.removeFirst()
            reply.set("hex", hexadecimal(bytes.prefix(maximum)))
            if isTruncated || bytes.count > maximum { reply.set("truncated", isTrue: true) }
            return .success(reply)
        }
        if !received.isEmpty {
            reply.set("hex", hexadecimal(received.prefix(maximum)))
            received.removeFirst(min(maximum, received.count))
            if isFull {
                isFull = false
                stream?.resumeReceiving()
            }
            return .success(reply)
        }
        guard let ending else { return nil }
        if let error = ending { return .failure(ModemSession.Problem(error)) }
        reply.set("hex", "")
        reply.set("eof", isTrue: true)
        return .success(reply)
    }

    func close() {
        stream?.close()
        datagramSocket?.close()
    }

    // MARK: What the network tells

    func opened() {
        isOpen = true
        session.changed()
    }

    func received(_ bytes: Span<UInt8>) -> Int {
        let count = min(bytes.count, Self.maximumBytes - received.count)
        for index in 0..<count { received.append(bytes[index]) }
        isFull = count < bytes.count
        session.changed()
        return count
    }

    func received(_ datagram: Span<UInt8>, from peer: SocketAddress, truncated: Bool) {
        // Datagrams may be lost: here the newest are.
        guard datagrams.count < Self.maximumDatagrams else { return }
        datagrams.append((datagram.indices.map { datagram[$0] }, truncated))
        session.changed()
    }

    func writable() { pump() }

    func closed(_ error: SocketError?) {
        ending = .some(error)
        session.changed()
    }
}

/// The bytes as hexadecimal digits.
private func hexadecimal(_ bytes: ArraySlice<UInt8>) -> String {
    let digits = Array("0123456789abcdef".utf8)
    return String(decoding: bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }, as: UTF8.self)
}
