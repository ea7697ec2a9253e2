public import ATAdapter
public import Kernel
public import MQTTClient

/// The MQTT that ``HubServiceLink`` needs, with callbacks: a connection of this project, or that of a modem's firmware.
public protocol HubPublishing: AnyObject {
    /// Publishes; returns whether there was room for it.
    func publish(_ publish: HubPublish) -> Bool
    /// Subscribes, also after each reconnect; returns the number of the answer, or `nil` if there was no room for the question.
    func subscribe(_ subscription: HubSubscription) -> UInt32?
}

extension MQTTConnection: HubPublishing {
    /// Publishes; returns whether there was room for it.
    public func publish(_ publish: HubPublish) -> Bool {
        let (topic, payload) = (publish.topic, publish.payload)
        do throws(MQTTError) {
            _ = try self.publish(topic: topic.span, payload: payload.span, qos: publish.qos)
            return true
        } catch { return false }
    }

    /// Subscribes, also after each reconnect; returns the number of the answer, or `nil` if there was no room for the question.
    public func subscribe(_ subscription: HubSubscription) -> UInt32? {
        let filter = subscription.filter
        do throws(MQTTError) {
            return try subscribe(to: filter.span, options: MQTTSubscriptionOptions(subscription.qos))
        } catch { return nil }
    }
}

extension ModemMQTT: HubPublishing {
    /// Publishes; returns whether there was room for it.
    public func publish(_ publish: HubPublish) -> Bool {
        let (topic, payload) = (publish.topic, publish.payload)
        do throws(ModemMQTTError) {
            _ = try self.publish(
                topic: topic.span,
                payload: payload.span,
                qos: publish.qos == .atMostOnce ? .atMostOnce : .atLeastOnce
            )
            return true
        } catch { return false }
    }

    /// Subscribes, also after each reconnect; returns the number of the answer, or `nil` if there was no room for the question.
    public func subscribe(_ subscription: HubSubscription) -> UInt32? {
        let filter = subscription.filter
        do throws(ModemMQTTError) {
            return try subscribe(to: filter.span, qos: subscription.qos == .atMostOnce ? .atMostOnce : .atLeastOnce)
        } catch { return nil }
    }
}

/// Runs services over an MQTT with callbacks, for a run loop. Whoever has the MQTT's handler tells it what that is told, and asks the services
/// what they have for it after each call; ``flush(_:)`` goes with requests to services.
public final class HubServiceLink {
    /// The services.
    public let services: HubServices
    /// Runs while a service waits for something.
    public let timer: Timer
    private let mqtt: any HubPublishing
    private let loop: EventLoop
    /// The questions for subscriptions that are not answered yet.
    private var asked: [(request: UInt32, filter: [UInt8])] = []

    /// The way of `services` over `mqtt`, which lives on `loop`.
    public init(_ services: HubServices, over mqtt: any HubPublishing, on loop: EventLoop) {
        self.services = services
        self.mqtt = mqtt
        self.loop = loop
        timer = Timer(on: loop)
    }

    /// Asks for what the services need to hear, once; returns whether there was room for all of it. Calls with `true` need not be repeated, since the
    /// MQTT does that.
    public func subscribe() -> Bool {
        asked = []
        for subscription in services.subscriptions {
            guard let request = mqtt.subscribe(subscription) else { return false }
            asked.append((request, subscription.filter))
        }
        return true
    }

    /// A subscription was answered; returns whether it is one of the services'.
    public func subscribed(_ request: UInt32, isGranted: Bool, _ handler: any TimerHandler) -> Bool {
        for index in asked.indices where asked[index].request == request {
            let filter = asked.remove(at: index).filter
            if isGranted { services.granted(filter, at: loop.now) }
            flush(handler)
            return true
        }
        return false
    }

    /// A subscription that was granted is refused after a reconnect.
    public func subscriptionLost(_ filter: [UInt8], _ handler: any TimerHandler) {
        services.refused(filter, at: loop.now)
        flush(handler)
    }

    /// The hub has accepted the connection.
    public func connected(_ handler: any TimerHandler) {
        services.connected(at: loop.now)
        flush(handler)
    }

    /// The connection is lost.
    public func disconnected(_ handler: any TimerHandler) {
        services.disconnected(at: loop.now)
        flush(handler)
    }

    /// A message has arrived; returns whether it is for one of the services.
    public func received(topic: Span<UInt8>, payload: Span<UInt8>, _ handler: any TimerHandler) -> Bool {
        guard services.receive(topic: topic, payload: payload, at: loop.now) else { return false }
        flush(handler)
        return true
    }

    /// The ``timer`` has fired.
    public func timerFired(_ handler: any TimerHandler) {
        services.handleTimeout(at: loop.now)
        flush(handler)
    }

    /// Publishes what there is, and has `handler` called when something is due. To be called after requests to services.
    public func flush(_ handler: any TimerHandler) {
        while let publish = services.nextPublish() {
            if !mqtt.publish(publish) { services.notSent(publish, at: loop.now) }
        }
        if let deadline = services.deadline {
            if timer.deadline != deadline { timer.start(at: deadline, handler: handler) }
        } else {
            timer.stop()
        }
    }
}
