import Kernel
import NetworkSimulator
import QCloudIoTHub
import Testing

@Suite(.timeLimit(.minutes(1))) struct ServiceLinkTests {
    /// An MQTT with callbacks that keeps what it is given.
    final class Publisher: HubPublishing {
        var published: [String] = []
        var filters: [String] = []
        var hasRoom = true

        func publish(_ publish: HubPublish) -> Bool {
            if hasRoom { published.append(text(publish.payload)) }
            return hasRoom
        }

        func subscribe(_ subscription: HubSubscription) -> UInt32? {
            guard hasRoom else { return nil }
            filters.append(text(subscription.filter))
            return UInt32(filters.count)
        }
    }

    /// A device as firmware has it: its own handler for everything.
    final class Device: TimerHandler {
        let shadow: HubShadow
        let clock: HubClock
        let mqtt = Publisher()
        let link: HubServiceLink
        var told: [HubShadow.Event] = []

        init(_ loop: EventLoop) throws {
            let services = HubServices()
            shadow = try HubShadow(pump())
            clock = try HubClock(pump())
            services.add(shadow)
            services.add(clock)
            link = HubServiceLink(services, over: mqtt, on: loop)
        }

        func timerFired(_ timer: Timer) {
            link.timerFired(self)
            look()
        }

        func look() { while let event = shadow.nextEvent() { told.append(event) } }

        func hub(_ topic: String, _ payload: String) -> Bool {
            let (topic, payload) = (Array(topic.utf8), Array(payload.utf8))
            defer { look() }
            return link.received(topic: topic.span, payload: payload.span, self)
        }
    }

    @Test func subscribesPublishesAndKeepsTheTime() async throws {
        try await EventLoop.inVirtualTime { loop in
            let device = try Device(loop)
            #expect(device.link.subscribe())
            #expect(device.mqtt.filters == [ShadowBench.down, "$sys/operation/result/Q7K2M9X4ZP/pump-01"])
            device.link.connected(device)
            // Nothing is said before what comes back is heard.
            #expect(device.mqtt.published == [])
            #expect(device.link.subscribed(1, isGranted: true, device))
            #expect(device.link.subscribed(2, isGranted: false, device))
            #expect(!device.link.subscribed(1, isGranted: true, device))
            #expect(device.mqtt.published == [#"{"type":"get","clientToken":"Q7K2M9X4ZP-0"}"#])
            #expect(throws: HubServiceError.notConnected) { try device.clock.ask(at: loop.now) }
            #expect(!device.hub("Q7K2M9X4ZP/pump-01/control", "{}"))
            // No answer in 4 s: again after 5 s more.
            try await loop.sleep(for: .milliseconds(8_900))
            #expect(device.mqtt.published.count == 1)
            try await loop.sleep(for: .milliseconds(200))
            #expect(device.mqtt.published.count == 2)
            let answer =
                #"{"type":"get","result":0,"clientToken":"Q7K2M9X4ZP-1","payload":{"state":{"delta":{"a":1}},"version":3}}"#
            #expect(device.hub(ShadowBench.down, answer))
            #expect(device.told == [.delta(HubShadowDelta(state: ["a": 1], version: 3))])
            #expect(!device.link.timer.isRunning)
            // No room: told at once.
            device.mqtt.hasRoom = false
            let id = try device.shadow.get(at: loop.now)
            device.link.flush(device)
            device.look()
            #expect(device.told.last == .failed(id, .notSent))
            device.mqtt.hasRoom = true
            let last = try device.shadow.get(at: loop.now)
            device.link.flush(device)
            #expect(device.link.timer.isRunning)
            device.link.disconnected(device)
            device.look()
            #expect(device.told.last == .failed(last, .disconnected))
            #expect(!device.link.timer.isRunning)
            device.link.connected(device)
            #expect(device.mqtt.published.last == #"{"type":"get","clientToken":"Q7K2M9X4ZP-4"}"#)
            device.link.subscriptionLost(device.shadow.subscription.filter, device)
            #expect(throws: HubServiceError.notConnected) { try device.shadow.get(at: loop.now) }
        }
    }

    @Test func saysWhenNotAllCouldBeAskedFor() async throws {
        try await EventLoop.inVirtualTime { loop in
            let device = try Device(loop)
            device.mqtt.hasRoom = false
            #expect(!device.link.subscribe())
        }
    }
}
