import CoAPClient
import HubSimulator
import Kernel
import SAL
import Testing

/// What goes wrong between our client and the hub's CoAP endpoint.
@Suite(.timeLimit(.minutes(1))) struct CoAPHubFaultTests {
    @Test(arguments: [CoAPBehavior.AnswerStyle.piggybacked, .separateAfterEmpty])
    func aLostRequestIsSentAgain(style: CoAPBehavior.AnswerStyle) async throws {
        var behavior = CoAPBehavior()
        behavior.answerStyle = style
        behavior.requestsToDrop = 2
        let cloud = CoAPCloud()
        try await withCoAPDevice(cloud, behavior: behavior, change: { $0.acknowledgementTimeout = .milliseconds(50) }) {
            device,
            endpoint,
            token in
            let answer = try await device.post(CoAPDevice.prefix + "data", [7], token: token, wantsAnswer: true)
            #expect(answer.payload == Array("{\"interval\":5}".utf8))
            #expect(await device.client.counters.retransmissions == 2)
            #expect(endpoint.statistics.dropped == 2 && endpoint.statistics.requests == 2)
            #expect(endpoint.behavior.requestsToDrop == 0)
            #expect(cloud.posted.withLock { $0.count } == 1)
        }
    }

    @Test func aRequestThatIsAnsweredLateIsHandedOnOnce() async throws {
        var behavior = CoAPBehavior()
        behavior.responseDelay = .milliseconds(300)
        let cloud = CoAPCloud()
        try await withCoAPDevice(cloud, behavior: behavior, change: { $0.acknowledgementTimeout = .milliseconds(50) }) {
            device,
            endpoint,
            token in
            let answer = try await device.post(CoAPDevice.prefix + "data", [7], token: token, wantsAnswer: true)
            #expect(answer.payload == Array("{\"interval\":5}".utf8))
            #expect(await device.client.counters.retransmissions >= 1)
            #expect(endpoint.statistics.duplicates >= 1)
            #expect(cloud.posted.withLock { $0.count } == 1)
        }
    }

    @Test func aHubThatIsGoneIsAnErrorAfterTheLastTry() async throws {
        let cloud = CoAPCloud()
        let change: (inout CoAPConfiguration) -> Void = {
            $0.acknowledgementTimeout = .milliseconds(20)
            $0.maximumRetransmissions = 2
        }
        try await withCoAPDevice(cloud, change: change) { device, endpoint, token in
            endpoint.stop()
            await #expect(throws: CoAPError.transport(.refused(code: 111))) {
                try await device.post(CoAPDevice.prefix + "data", [7], token: token)
            }
        }
    }

    @Test func aHubThatIsSilentIsAnErrorToo() async throws {
        var behavior = CoAPBehavior()
        behavior.requestsToDrop = .max
        try await withCoAPDevice(
            behavior: behavior,
            change: {
                $0.acknowledgementTimeout = .milliseconds(20)
                $0.maximumRetransmissions = 2
            }
        ) { device, endpoint, token in
            await #expect(throws: CoAPError.notAcknowledged(transmissions: 3)) {
                try await device.post(CoAPDevice.prefix + "data", [7], token: token)
            }
            #expect(endpoint.statistics.dropped == 3)
        }
    }

    @Test func aHubThatComesBackGetsWhatWasUnderWay() async throws {
        let cloud = CoAPCloud()
        let change: (inout CoAPConfiguration) -> Void = { $0.acknowledgementTimeout = .milliseconds(600) }
        try await withCoAPDevice(cloud, change: change) { device, endpoint, token in
            endpoint.stop()
            async let answer = device.post(CoAPDevice.prefix + "data", [7], token: token)
            var counters = CoAPCounters()
            while counters.retransmissions == 0 {
                counters = await device.client.counters
                try await Task.sleep(for: .milliseconds(5))
            }
            let next = try CoAPEndpoint(
                port: endpoint.port,
                isKnown: { _, _ in true },
                onMessage: { _, _, _, _, _ in nil }
            )
            // Its tokens are new.
            #expect(try await answer.code == .unauthorized)
            next.stop()
        }
    }

    @Test func endpointsDoNotDisturbEachOther() async throws {
        let endpoints = try (0..<3).map { index in
            try CoAPEndpoint(isKnown: { _, _ in true }, onMessage: { _, _, _, _, _ in [UInt8(index)] })
        }
        #expect(Set(endpoints.map(\.port)).count == 3)
        #expect(throws: CoAPEndpointError.cannotBind(port: endpoints[0].port, code: 98)) {
            try CoAPEndpoint(port: endpoints[0].port, isKnown: { _, _ in true }, onMessage: { _, _, _, _, _ in nil })
        }
        try await withThrowingTaskGroup(of: Void.self) { group in
            for (index, endpoint) in endpoints.enumerated() {
                group.addTask {
                    let device = CoAPDevice(port: endpoint.port)
                    let token = try await device.authenticate()
                    for _ in 0..<50 {
                        let answer = try await device.post(
                            CoAPDevice.prefix + "data",
                            [],
                            token: token,
                            wantsAnswer: true
                        )
                        #expect(answer.payload == [UInt8(index)])
                    }
                    await device.close()
                }
            }
            try await group.waitForAll()
        }
        for endpoint in endpoints {
            #expect(endpoint.statistics.messages == 50)
            endpoint.stop()
            endpoint.stop()
        }
    }

    @Test func manyRequestsAtOnceAllGetTheirAnswers() async throws {
        let cloud = CoAPCloud()
        try await withCoAPDevice(
            cloud,
            change: {
                $0.outstandingLimit = 16
                $0.requestLimit = 500
            }
        ) { device, _, token in
            try await withThrowingTaskGroup(of: Void.self) { group in
                for index in 0..<400 {
                    group.addTask {
                        let payload = Array("\(index)".utf8)
                        let answer = try await device.post(CoAPDevice.prefix + "data", payload, token: token)
                        #expect(answer.code == .content)
                    }
                }
                try await group.waitForAll()
            }
            #expect(Set(cloud.posted.withLock { $0.map(\.payload) }).count == 400)
        }
    }

    @Test func aCancelledTaskCancelsItsRequest() async throws {
        var behavior = CoAPBehavior()
        behavior.requestsToDrop = .max
        try await withCoAPDevice(behavior: behavior) { device, endpoint, token in
            let task = Task { try await device.post(CoAPDevice.prefix + "data", [7], token: token) }
            while endpoint.statistics.dropped == 0 { await Task.yield() }
            task.cancel()
            await #expect(throws: CoAPError.cancelled) { try await task.value }
            endpoint.behavior = CoAPBehavior()
            let next = try await device.post(CoAPDevice.prefix + "data", [7], token: token)
            #expect(next.code == .content)
        }
    }

    @Test func closingEndsWhatIsUnderWay() async throws {
        var behavior = CoAPBehavior()
        behavior.requestsToDrop = .max
        try await withCoAPDevice(behavior: behavior) { device, endpoint, token in
            let task = Task { try await device.post(CoAPDevice.prefix + "data", [7], token: token) }
            while endpoint.statistics.dropped == 0 { await Task.yield() }
            await device.client.close()
            await #expect(throws: CoAPError.closed) { try await task.value }
            await #expect(throws: CoAPError.closed) { try await device.post("x", []) }
        }
    }

    @Test func aNameWithoutAnAddressIsAnError() async throws {
        let loop = EventLoop.start()
        let client = CoAPClient(to: Endpoint(host: "no-such-host.invalid", port: 5683), over: LinuxNetwork(loop: loop))
        await #expect(throws: CoAPError.transport(.nameNotFound)) { try await client.get("x") }
        await client.close()
        loop.stop()
    }
}
