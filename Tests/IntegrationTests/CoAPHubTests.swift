import CoAPClient
import HubSimulator
import Kernel
import SAL
import Testing

/// Our client against the hub's CoAP endpoint, which is libcoap.
@Suite(.timeLimit(.minutes(1))) struct CoAPHubTests {
    @Test func aDeviceAuthenticatesPostsAndIsAnswered() async throws {
        let cloud = CoAPCloud()
        let endpoint = try cloud.endpoint()
        let device = CoAPDevice(port: endpoint.port)
        let token = try await device.authenticate()
        #expect(token.count == 10)
        let received = try await device.post(CoAPDevice.prefix + "data", Array("{}".utf8), token: token)
        #expect(received == CoAPResponse(.content))
        let answer = try await device.post(CoAPDevice.prefix + "event", [1, 2], token: token, wantsAnswer: true)
        #expect(answer.code == .content && answer.payload == Array("{\"interval\":5}".utf8))
        #expect(
            cloud.posted.withLock { $0 } == [
                PostedMessage(topic: CoAPDevice.prefix + "data", payload: Array("{}".utf8)),
                PostedMessage(topic: CoAPDevice.prefix + "event", payload: [1, 2]),
            ]
        )
        #expect(await device.client.counters == CoAPCounters())
        await device.close()
        endpoint.stop()
    }

    @Test(arguments: [CoAPBehavior.AnswerStyle.separateAfterEmpty, .separateAfterValid], [true, false])
    func anAnswerMayComeSeparately(style: CoAPBehavior.AnswerStyle, isConfirmable: Bool) async throws {
        var behavior = CoAPBehavior()
        behavior.answerStyle = style
        behavior.responseDelay = .milliseconds(50)
        let cloud = CoAPCloud()
        try await withCoAPDevice(cloud, behavior: behavior) { device, _, token in
            let answer = try await device.post(
                CoAPDevice.prefix + "data",
                [7],
                token: token,
                wantsAnswer: true,
                isConfirmable: isConfirmable
            )
            #expect(answer.code == .content && answer.payload == Array("{\"interval\":5}".utf8))
            // The next one is not kept waiting by what the first has left.
            _ = try await device.post(CoAPDevice.prefix + "data", [8], token: token, isConfirmable: isConfirmable)
            #expect(cloud.posted.withLock { $0.map(\.payload) } == [[7], [8]])
            #expect(await device.client.counters == CoAPCounters())
        }
    }

    /// By the standard, 2.03 without a token's worth of content is the response.
    @Test func withoutTheSwitchTheHubsAcknowledgementIsTheResponse() async throws {
        var behavior = CoAPBehavior()
        behavior.answerStyle = .separateAfterValid
        try await withCoAPDevice(behavior: behavior, change: { $0.treatsEmptyValidAsAcknowledgement = false }) {
            device,
            _,
            token in
            let answer = try await device.post(CoAPDevice.prefix + "data", [7], token: token, wantsAnswer: true)
            #expect(answer == CoAPResponse(.valid))
        }
    }

    @Test func theHubTellsWhoMayPostWhere() async throws {
        let cloud = CoAPCloud()
        try await withCoAPDevice(cloud) { device, endpoint, token in
            let payload: [UInt8] = [1]
            func code(_ topic: String, token: [UInt8]?, _ payload: [UInt8] = [1]) async throws -> CoAPCode {
                try await device.post(topic, payload, token: token).code
            }
            #expect(try await code(CoAPDevice.prefix + "data", token: nil) == .unauthorized)
            #expect(try await code(CoAPDevice.prefix + "data", token: Array("WRONG".utf8)) == .unauthorized)
            #expect(try await code("A1B2C3D4E5/dev_0002/data", token: token) == .forbidden)
            #expect(try await code(CoAPDevice.prefix + "control", token: token) == .forbidden)
            #expect(try await code(CoAPDevice.prefix + "data/more", token: token) == .forbidden)
            #expect(try await code("A1B2C3D4E5/nobody/txauth9w0BAQsFA", token: nil, Array("1;2".utf8)) == .forbidden)
            #expect(try await code(CoAPDevice.prefix + "txauth9w0BAQsFA", token: nil, []) == .badRequest)
            let large = [UInt8](repeating: 1, count: 1025)
            #expect(try await code(CoAPDevice.prefix + "data", token: token, large) == .requestEntityTooLarge)
            #expect(try await code(CoAPDevice.prefix + "data", token: token, Array(large.dropLast())) == .content)
            #expect(try await code("$ota/report/A1B2C3D4E5/dev_0001", token: token) == .content)
            cloud.isEnabled.withLock { $0 = false }
            #expect(try await code(CoAPDevice.prefix + "data", token: token) == .forbidden)
            cloud.isEnabled.withLock { $0 = true }
            endpoint.expireTokens()
            #expect(try await code(CoAPDevice.prefix + "data", token: token) == .unauthorized)
            let next = try await device.authenticate()
            #expect(try await code(CoAPDevice.prefix + "data", token: next, payload) == .content)
            #expect(next != token)
            #expect(try await device.client.get("A1B2C3D4E5/dev_0001/data").code == .methodNotAllowed)
            #expect(cloud.posted.withLock { $0.count } == 3)
        }
    }

    @Test func thePathMayComeInSeveralOptions() async throws {
        try await withCoAPDevice { device, _, token in
            var request = CoAPRequest(.post, path: CoAPDevice.prefix + "event", payload: [1])
            request.options.add(CoAPOptionNumber(rawValue: 61), token.span)
            #expect(request.options.pathSegments.count == 3)
            let response = try await device.client.send(request)
            #expect(response == CoAPResponse(.content))
        }
    }
}
