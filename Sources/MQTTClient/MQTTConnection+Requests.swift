internal import Kernel

// Requests.
extension MQTTConnection {
    #if os(Linux) || MQTT5
    /// Publishes a message. With QoS 1 and 2 it returns the number that ``MQTTConnectionHandler/published(_:code:)`` will name; it waits for a connection
    /// if there is none, and is sent again until the server has acknowledged it.
    public func publish(
        topic: Span<UInt8>,
        payload: Span<UInt8>,
        qos: QoS = .atLeastOnce,
        isRetained: Bool = false,
        properties: MQTTProperties = MQTTProperties()
    ) throws(MQTTError) -> MQTTRequestID? {
        let now = properties.isEmpty ? .zero : loop.now
        do throws(MQTTError) {
            let request = try session.publish(
                topic: topic,
                payload: payload,
                qos: qos,
                isRetained: isRetained,
                properties: properties,
                at: now
            )
            afterRequest()
            return request
        } catch { throw refused(error) }
    }
    #else
    /// Publishes a message. With QoS 1 and 2 it returns the number that ``MQTTConnectionHandler/published(_:code:)`` will name; it waits for a connection
    /// if there is none, and is sent again until the server has acknowledged it.
    public func publish(
        topic: Span<UInt8>,
        payload: Span<UInt8>,
        qos: QoS = .atLeastOnce,
        isRetained: Bool = false
    ) throws(MQTTError) -> MQTTRequestID? {
        do throws(MQTTError) {
            let request = try session.publish(topic: topic, payload: payload, qos: qos, isRetained: isRetained)
            afterRequest()
            return request
        } catch { throw refused(error) }
    }
    #endif

    /// Subscribes to a topic filter and returns the number of the answer.
    public func subscribe(
        to filter: Span<UInt8>,
        options: MQTTSubscriptionOptions = MQTTSubscriptionOptions()
    ) throws(MQTTError) -> MQTTRequestID {
        do throws(MQTTError) {
            let request = try session.subscribe(to: filter, options: options)
            askForEndOfTurn()
            return request
        } catch { throw refused(error) }
    }

    #if !hasFeature(Embedded)
    /// Subscribes to several topic filters with one packet and returns the number of the answer.
    public func subscribe(
        to subscriptions: [(filter: [UInt8], options: MQTTSubscriptionOptions)]
    ) throws(MQTTError) -> MQTTRequestID {
        do throws(MQTTError) {
            let request = try session.subscribe(to: subscriptions)
            askForEndOfTurn()
            return request
        } catch { throw refused(error) }
    }
    #endif

    #if os(Linux) || MQTT5
    /// Ends a subscription and returns the number of the answer. `properties` are user properties of the request (5.0).
    public func unsubscribe(
        from filter: Span<UInt8>,
        properties: MQTTProperties = MQTTProperties()
    ) throws(MQTTError) -> MQTTRequestID {
        do throws(MQTTError) {
            let request = try session.unsubscribe(from: filter, properties: properties)
            askForEndOfTurn()
            return request
        } catch { throw refused(error) }
    }
    #else
    /// Ends a subscription and returns the number of the answer.
    public func unsubscribe(from filter: Span<UInt8>) throws(MQTTError) -> MQTTRequestID {
        do throws(MQTTError) {
            let request = try session.unsubscribe(from: filter)
            askForEndOfTurn()
            return request
        } catch { throw refused(error) }
    }
    #endif

    #if os(Linux) || MQTT5
    /// Authenticates again; ``MQTTConnectionHandler/reauthenticated()`` tells when the server is content.
    public func reauthenticate() throws(MQTTError) {
        try session.reauthenticate()
        askForEndOfTurn()
    }
    #endif
}
