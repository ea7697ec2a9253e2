#if !hasFeature(Embedded)
internal import Kernel
internal import SAL

// Requests and replies.
extension MQTTClient {
    /// Publishes a request, and returns the reply (MQTT 5.0, 4.10), or throws ``MQTTError/noReply`` if none comes in time. Replies come to a topic of this client's own,
    /// which is subscribed to at the first request: what the server says response topics start with, or `apus/CLIENT/replies`.
    public func request(
        _ payload: [UInt8],
        to topic: String,
        qos: QoS = .atLeastOnce,
        properties: MQTTProperties = MQTTProperties(),
        timeout: Duration = Duration(secondsComponent: 10, attosecondsComponent: 0)
    ) async throws(MQTTError) -> MQTTMessage {
        let core = self.core
        let replyTopic = try await subscribeToReplies(core)
        let number = UInt64.random(in: .min ... .max)
        var properties = properties
        properties.set(.responseTopic, to: replyTopic)
        properties.set(.correlationData, to: (0..<8).map { UInt8(truncatingIfNeeded: number >> (56 - 8 * UInt64($0))) })
        let box = coreOnLoop
        let loop = self.loop
        let result = await withTaskCancellationHandler {
            await Resumer.wait(on: self) { resumer in
                let waiter = ReplyWaiter(on: loop, timeout: timeout, resumer)
                core.replies[number] = waiter
                do throws(MQTTError) {
                    let request = try core.connection.publish(
                        topic: topic.utf8.span,
                        payload: payload.span,
                        qos: qos,
                        properties: properties
                    )
                    if let request { core.waiters.add(request, .reply(waiter)) }
                } catch { waiter.finish(.failure(error)) }
            }
        } onCancel: {
            loop.execute { box.value.replies[number]?.finish(.failure(.cancelled)) }
        }
        core.replies[number] = nil
        guard let result else { throw .noReply }
        return try result.get()
    }

    private func subscribeToReplies(_ core: ClientCore) async throws(MQTTError) -> [UInt8] {
        if let topic = core.replyTopic { return topic }
        guard core.connection.configuration.version == .v5_0 else { throw .invalidConnectOptions }
        guard core.connection.isConnected else { throw .notConnected }
        var topic = core.info?.properties.bytes(of: .responseInformation) ?? []
        if topic.isEmpty { topic = Array("apus/".utf8) + core.connection.configuration.clientID }
        topic += Array("/replies".utf8)
        let filter = topic
        let answer = try await ask(core) { () throws(MQTTError) -> MQTTRequestID in
            try core.connection.subscribe(to: filter.span, options: MQTTSubscriptionOptions(.atLeastOnce))
        }
        if let code = answer.codes.first, code >= 0x80 {
            throw .subscriptionRefused(MQTTReason(MQTTReasonCode(rawValue: code)))
        }
        core.replyTopic = topic
        return topic
    }

    /// Answers requests to a topic filter, one after another, with what `body` returns for each, until the task is cancelled or the client disconnects.
    /// What comes without a response topic is given to `body` too, and what it returns is dropped.
    public nonisolated func serve(
        _ filter: String,
        qos: QoS = .atLeastOnce,
        _ body: (MQTTMessage) async throws -> [UInt8]
    ) async throws {
        for await message in try await subscribe(to: filter, qos: qos) {
            let payload = try await body(message)
            guard let topic = message.properties.responseTopic else { continue }
            var properties = MQTTProperties()
            properties.set(.correlationData, to: message.properties.correlationData)
            try await publish(payload, to: topic, qos: qos, properties: properties)
        }
    }
}
#endif
