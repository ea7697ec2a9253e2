import CoAPClient
import HubSimulator
import Kernel
import SAL
import Synchronization
import Testing

/// Our client against the hub's CoAP endpoint, which is libcoap.
@Suite(.timeLimit(.minutes(1))) struct CoAPHubTests {
    struct Posted: Equatable {
        let topic: String
        let payload: [UInt8]
    }

    /// What the endpoint handed on, and whether the device is enabled.
    final class Cloud: Sendable {
        let posted = Mutex<[Posted]>([])
        let isEnabled = Mutex(true)
        let control = Mutex<[UInt8]?>(Array("{\"interval\":5}".utf8))

        func endpoint() throws -> CoAPEndpoint {
            try CoAPEndpoint(
                isKnown: { productID, deviceName in
                    productID == "A1B2C3D4E5" && deviceName == "dev_0001" && self.isEnabled.withLock { $0 }
                },
                onMessage: { _, _, topic, payload, _ in
                    self.posted.withLock { $0.append(Posted(topic: topic, payload: payload)) }
                    return self.control.withLock { $0 }
                }
            )
        }
    }

    /// A device as the hub specification, section 8, has it.
    struct Device {
        let client: CoAPClient
        let loop = EventLoop.start()
        static let prefix = "A1B2C3D4E5/dev_0001/"

        init(port: UInt16, change: (inout CoAPConfiguration) -> Void = { _ in }) {
            var configuration = CoAPConfiguration()
            configuration.treatsEmptyValidAsAcknowledgement = true
            change(&configuration)
            client = CoAPClient(
                to: Endpoint(host: "127.0.0.1", port: port),
                over: LinuxNetwork(loop: loop),
                configuration: configuration
            )
        }

        func post(
            _ topic: String,
            _ payload: [UInt8],
            token: [UInt8]? = nil,
            wantsAnswer: Bool = false,
            isConfirmable: Bool = true
        ) async throws(CoAPError) -> CoAPResponse {
            var request = CoAPRequest(.post, payload: payload, isConfirmable: isConfirmable)
            request.options.add(.uriPath, topic.utf8.span)
            if let token { request.options.add(CoAPOptionNumber(rawValue: 61), token.span) }
            request.options.add(CoAPOptionNumber(rawValue: 62), (wantsAnswer ? "1" : "0").utf8.span)
            return try await client.send(request, timeout: .seconds(20))
        }

        func authenticate() async throws(CoAPError) -> [UInt8] {
            try await post(Self.prefix + "txauth9w0BAQsFA", Array("21010406;aB3dE".utf8) + [0, 0]).payload
        }

        func close() async {
            await client.close()
            loop.stop()
        }
    }

    @Test func aDeviceAuthenticatesPostsAndIsAnswered() async throws {
        let cloud = Cloud()
        let endpoint = try cloud.endpoint()
        let device = Device(port: endpoint.port)
        let token = try await device.authenticate()
        #expect(token.count == 10)
        let received = try await device.post(Device.prefix + "data", Array("{}".utf8), token: token)
        #expect(received == CoAPResponse(.content))
        let answer = try await device.post(Device.prefix + "event", [1, 2], token: token, wantsAnswer: true)
        #expect(answer.code == .content && answer.payload == Array("{\"interval\":5}".utf8))
        #expect(
            cloud.posted.withLock { $0 } == [
                Posted(topic: Device.prefix + "data", payload: Array("{}".utf8)),
                Posted(topic: Device.prefix + "event", payload: [1, 2]),
            ]
        )
        #expect(await device.client.counters == CoAPCounters())
        await device.close()
        endpoint.stop()
    }

    /// Runs `body` with an authenticated device, and closes what is open.
    private func withDevice(
        _ cloud: Cloud = Cloud(),
        behavior: CoAPBehavior = CoAPBehavior(),
        change: (inout CoAPConfiguration) -> Void = { _ in },
        _ body: (Device, CoAPEndpoint, [UInt8]) async throws -> Void
    ) async throws {
        let endpoint = try cloud.endpoint()
        let device = Device(port: endpoint.port, change: change)
        let token = try await device.authenticate()
        endpoint.behavior = behavior
        try await body(device, endpoint, token)
        await device.close()
        endpoint.stop()
    }

    @Test(arguments: [CoAPBehavior.AnswerStyle.separateAfterEmpty, .separateAfterValid], [true, false])
    func anAnswerMayComeSeparately(style: CoAPBehavior.AnswerStyle, isConfirmable: Bool) async throws {
        var behavior = CoAPBehavior()
        behavior.answerStyle = style
        behavior.responseDelay = .milliseconds(50)
        let cloud = Cloud()
        try await withDevice(cloud, behavior: behavior) { device, _, token in
            let answer = try await device.post(
                Device.prefix + "data",
                [7],
                token: token,
                wantsAnswer: true,
                isConfirmable: isConfirmable
            )
            #expect(answer.code == .content && answer.payload == Array("{\"interval\":5}".utf8))
            // The next one is not kept waiting by what the first has left.
            _ = try await device.post(Device.prefix + "data", [8], token: token, isConfirmable: isConfirmable)
            #expect(cloud.posted.withLock { $0.map(\.payload) } == [[7], [8]])
            #expect(await device.client.counters == CoAPCounters())
        }
    }

    /// By the standard, 2.03 without a token's worth of content is the response.
    @Test func withoutTheSwitchTheHubsAcknowledgementIsTheResponse() async throws {
        var behavior = CoAPBehavior()
        behavior.answerStyle = .separateAfterValid
        try await withDevice(behavior: behavior, change: { $0.treatsEmptyValidAsAcknowledgement = false }) {
            device,
            _,
            token in
            let answer = try await device.post(Device.prefix + "data", [7], token: token, wantsAnswer: true)
            #expect(answer == CoAPResponse(.valid))
        }
    }

    @Test func theHubTellsWhoMayPostWhere() async throws {
        let cloud = Cloud()
        try await withDevice(cloud) { device, endpoint, token in
            let payload: [UInt8] = [1]
            func code(_ topic: String, token: [UInt8]?, _ payload: [UInt8] = [1]) async throws -> CoAPCode {
                try await device.post(topic, payload, token: token).code
            }
            #expect(try await code(Device.prefix + "data", token: nil) == .unauthorized)
            #expect(try await code(Device.prefix + "data", token: Array("WRONG".utf8)) == .unauthorized)
            #expect(try await code("A1B2C3D4E5/dev_0002/data", token: token) == .forbidden)
            #expect(try await code(Device.prefix + "control", token: token) == .forbidden)
            #expect(try await code(Device.prefix + "data/more", token: token) == .forbidden)
            #expect(try await code("A1B2C3D4E5/nobody/txauth9w0BAQsFA", token: nil, Array("1;2".utf8)) == .forbidden)
            #expect(try await code(Device.prefix + "txauth9w0BAQsFA", token: nil, []) == .badRequest)
            let large = [UInt8](repeating: 1, count: 1025)
            #expect(try await code(Device.prefix + "data", token: token, large) == .requestEntityTooLarge)
            #expect(try await code(Device.prefix + "data", token: token, Array(large.dropLast())) == .content)
            #expect(try await code("$ota/report/A1B2C3D4E5/dev_0001", token: token) == .content)
            cloud.isEnabled.withLock { $0 = false }
            #expect(try await code(Device.prefix + "data", token: token) == .forbidden)
            cloud.isEnabled.withLock { $0 = true }
            endpoint.expireTokens()
            #expect(try await code(Device.prefix + "data", token: token) == .unauthorized)
            let next = try await device.authenticate()
            #expect(try await code(Device.prefix + "data", token: next, payload) == .content)
            #expect(next != token)
            #expect(try await device.client.get("A1B2C3D4E5/dev_0001/data").code == .methodNotAllowed)
            #expect(cloud.posted.withLock { $0.count } == 3)
        }
    }

    @Test func thePathMayComeInSeveralOptions() async throws {
        try await withDevice { device, _, token in
            var request = CoAPRequest(.post, path: Device.prefix + "event", payload: [1])
            request.options.add(CoAPOptionNumber(rawValue: 61), token.span)
            #expect(request.options.pathSegments.count == 3)
            let response = try await device.client.send(request)
            #expect(response == CoAPResponse(.content))
        }
    }

    @Test(arguments: [CoAPBehavior.AnswerStyle.piggybacked, .separateAfterEmpty])
    func aLostRequestIsSentAgain(style: CoAPBehavior.AnswerStyle) async throws {
        var behavior = CoAPBehavior()
        behavior.answerStyle = style
        behavior.requestsToDrop = 2
        let cloud = Cloud()
        try await withDevice(cloud, behavior: behavior, change: { $0.acknowledgementTimeout = .milliseconds(50) }) {
            device,
            endpoint,
            token in
            let answer = try await device.post(Device.prefix + "data", [7], token: token, wantsAnswer: true)
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
        let cloud = Cloud()
        try await withDevice(cloud, behavior: behavior, change: { $0.acknowledgementTimeout = .milliseconds(50) }) {
            device,
            endpoint,
            token in
            let answer = try await device.post(Device.prefix + "data", [7], token: token, wantsAnswer: true)
            #expect(answer.payload == Array("{\"interval\":5}".utf8))
            #expect(await device.client.counters.retransmissions >= 1)
            #expect(endpoint.statistics.duplicates >= 1)
            #expect(cloud.posted.withLock { $0.count } == 1)
        }
    }

    @Test func aHubThatIsGoneIsAnErrorAfterTheLastTry() async throws {
        let cloud = Cloud()
        let change: (inout CoAPConfiguration) -> Void = {
            $0.acknowledgementTimeout = .milliseconds(20)
            $0.maximumRetransmissions = 2
        }
        try await withDevice(cloud, change: change) { device, endpoint, token in
            endpoint.stop()
            await #expect(throws: CoAPError.transport(.refused(code: 111))) {
                try await device.post(Device.prefix + "data", [7], token: token)
            }
        }
    }

    @Test func aHubThatIsSilentIsAnErrorToo() async throws {
        var behavior = CoAPBehavior()
        behavior.requestsToDrop = .max
        try await withDevice(
            behavior: behavior,
            change: {
                $0.acknowledgementTimeout = .milliseconds(20)
                $0.maximumRetransmissions = 2
            }
        ) { device, endpoint, token in
            await #expect(throws: CoAPError.notAcknowledged(transmissions: 3)) {
                try await device.post(Device.prefix + "data", [7], token: token)
            }
            #expect(endpoint.statistics.dropped == 3)
        }
    }

    @Test func aHubThatComesBackGetsWhatWasUnderWay() async throws {
        let cloud = Cloud()
        let change: (inout CoAPConfiguration) -> Void = { $0.acknowledgementTimeout = .milliseconds(100) }
        try await withDevice(cloud, change: change) { device, endpoint, token in
            endpoint.stop()
            async let answer = device.post(Device.prefix + "data", [7], token: token)
            var counters = CoAPCounters()
            while counters.retransmissions == 0 {
                counters = await device.client.counters
                await Task.yield()
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
                    let device = Device(port: endpoint.port)
                    let token = try await device.authenticate()
                    for _ in 0..<50 {
                        let answer = try await device.post(
                            Device.prefix + "data",
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
        let cloud = Cloud()
        try await withDevice(
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
                        let answer = try await device.post(Device.prefix + "data", payload, token: token)
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
        try await withDevice(behavior: behavior) { device, endpoint, token in
            let task = Task { try await device.post(Device.prefix + "data", [7], token: token) }
            while endpoint.statistics.dropped == 0 { await Task.yield() }
            task.cancel()
            await #expect(throws: CoAPError.cancelled) { try await task.value }
            endpoint.behavior = CoAPBehavior()
            let next = try await device.post(Device.prefix + "data", [7], token: token)
            #expect(next.code == .content)
        }
    }

    @Test func closingEndsWhatIsUnderWay() async throws {
        var behavior = CoAPBehavior()
        behavior.requestsToDrop = .max
        try await withDevice(behavior: behavior) { device, endpoint, token in
            let task = Task { try await device.post(Device.prefix + "data", [7], token: token) }
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
