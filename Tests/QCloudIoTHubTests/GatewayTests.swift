import QCloudIoTHub
import Testing

private let first = HubSubDevice(productID: Array("A1B2C3D4E5".utf8), deviceName: Array("sub-0001".utf8))
private let second = HubSubDevice(productID: Array("A1B2C3D4E5".utf8), deviceName: Array("sub-0002".utf8))

@Suite struct GatewayTests {
    private let up = "$gateway/operation/Q7K2M9X4ZP/pump-01 "
    private let down = "$gateway/operation/result/Q7K2M9X4ZP/pump-01"

    @Test(arguments: [
        (
            "A1B2C3D4E5", "sub-0001", 121_213, 1_700_000_100, "AAECAwQFBgcICQoLDA0ODw==",
            "jBN2t4w5BsLWlOoOcs18MjK2tqA=", "G9QbVqSDcBKUOy1EFxhrs5uLXz9m9LsvcFLYGVxGgBI="
        ),
        (
            "Z9Y8X7W6V5", "light_02", 7, 1_893_456_000, "MTIzNDU2Nzg5MDEyMzQ1Njc4", "G3wZqKmdzPDvbKlXoti2u4Hinp8=",
            "FyavtMS/naaGmXajwLj9AeRxsNiuCcUF9CMbahcRuO4="
        ),
    ])
    func signsAsTheKnownAnswers(
        product: String,
        name: String,
        random: UInt32,
        seconds: Int64,
        secret: String,
        sha1: String,
        sha256: String
    ) throws {
        let device = HubSubDevice(productID: Array(product.utf8), deviceName: Array(name.utf8))
        let key = Array(secret.utf8)
        for (algorithm, signature) in [(HubLogin.Algorithm.hmacSHA1, sha1), (.hmacSHA256, sha256)] {
            let binding = HubBinding(device, secret: key.span, random: random, seconds: seconds, algorithm: algorithm)
            let gateway = try HubGateway(pump())
            let bench = ServiceBench(gateway)
            _ = try gateway.bind(binding, at: .zero)
            let method = algorithm == .hmacSHA1 ? "hmacsha1" : "hmacsha256"
            #expect(
                bench.sent() == up
                    + #"{"type":"bind","payload":{"devices":[{"product_id":"\#(product)","device_name":"\#(name)","signature":"\#(signature)","random":\#(random),"timestamp":\#(seconds),"signmethod":"\#(method)","authtype":"psk"}]}}"#
            )
        }
    }

    @Test(arguments: [
        (HubBinding.CertificateDigest.md5, "Vgqfnsu/HmH/tADSGFPeG9ukxgc="), (.sha1, "uQex6ddFyLepI42LuKzuegzCa1A="),
    ])
    func signsWithACertificate(digest: HubBinding.CertificateDigest, signature: String) throws {
        let file = Array("-----BEGIN CERTIFICATE-----\nTUFERS1VUC1URVNU\n-----END CERTIFICATE-----\n".utf8)
        let binding = HubBinding(
            first,
            certificate: file.span,
            digest: digest,
            random: 121_213,
            seconds: 1_700_000_100,
            algorithm: .hmacSHA1
        )
        let gateway = try HubGateway(pump())
        let bench = ServiceBench(gateway)
        _ = try gateway.bind(binding, at: .zero)
        let sent = try #require(bench.sent())
        #expect(sent.contains(#""signature":"\#(signature)""#))
        #expect(sent.contains(#""authtype":"certificate""#))
    }

    @Test func bringsSubDevicesOnlineAndOffline() throws {
        let gateway = try HubGateway(pump())
        let bench = ServiceBench(gateway)
        #expect(throws: HubServiceError.unknownSubDevice) { try gateway.setOffline(first, at: .zero) }
        let id = try gateway.setOnline(first, at: .zero)
        #expect(bench.sent() == up + message("online"))
        #expect(throws: HubServiceError.busy) { try gateway.setOnline(first, at: .zero) }
        // Another's answer first, in one message with its own; numbers may be texts.
        let other = try gateway.setOnline(second, at: .zero)
        #expect(
            bench.hub(
                down,
                #"{"type":"online","payload":{"devices":[{"product_id":"A1B2C3D4E5","device_name":"sub-0002","result":-1},{"product_id":"A1B2C3D4E5","device_name":"sub-0001","result":"0"},{"result":0}]}}"#
            )
        )
        #expect(gateway.nextEvent() == .completed(other, [HubSubDeviceResult(second, .notBound)]))
        #expect(gateway.nextEvent() == .completed(id, [HubSubDeviceResult(first, .done)]))
        #expect(gateway.online == [first])
        #expect(throws: HubServiceError.sameState) { try gateway.setOnline(first, at: .zero) }
        // Late, doubled, of a kind that nobody has asked for.
        #expect(!bench.hub(down, message("online", result: 0)))
        #expect(!bench.hub(down, message("offline", result: 0)))
        let last = try gateway.setOffline(first, at: .zero)
        #expect(bench.hub(down, message("offline", result: 0)))
        #expect(gateway.nextEvent() == .completed(last, [HubSubDeviceResult(first, .done)]))
        #expect(gateway.online == [])
    }

    @Test(arguments: ["unbind", "bind"])
    func takesBothAnswersToAnUnbind(type: String) throws {
        let gateway = try HubGateway(pump())
        let bench = ServiceBench(gateway)
        let id = try gateway.unbind(first, at: .zero)
        #expect(bench.sent() == up + message("unbind"))
        #expect(bench.hub(down, message(type, result: 806)))
        #expect(gateway.nextEvent() == .completed(id, [HubSubDeviceResult(first, .boundElsewhere)]))
    }

    @Test func asksAndIsAskedForSubDevices() throws {
        let gateway = try HubGateway(pump())
        let bench = ServiceBench(gateway)
        let id = try gateway.describe(at: .zero)
        #expect(bench.sent() == up + #"{"type":"describe_sub_devices"}"#)
        #expect(throws: HubServiceError.busy) { try gateway.describe(at: .zero) }
        #expect(bench.hub(down, message("describe_sub_devices")))
        #expect(gateway.nextEvent() == .completed(id, [HubSubDeviceResult(first, .done)]))
        // With no question open, the hub asks.
        _ = try gateway.setOnline(first, at: .zero)
        _ = bench.sent()
        #expect(bench.hub(down, message("online", result: 0)))
        #expect(bench.hub(down, #"{"type":"describe_sub_devices"}"#))
        #expect(bench.sent() == up + message("change"))
    }

    @Test func answersWhatTheHubPushes() throws {
        let gateway = try HubGateway(pump())
        let bench = ServiceBench(gateway)
        _ = try gateway.setOnline(first, at: .zero)
        #expect(bench.hub(down, message("online", result: 0)))
        (_, _) = (bench.sent(), gateway.nextEvent())
        let entry = #"{"product_id":"A1B2C3D4E5","device_name":"sub-0001""#
        for status in [1, 0] {
            #expect(bench.hub(down, #"{"type":"change","payload":{"status":\#(status),"devices":[\#(entry)}]}}"#))
            #expect(gateway.nextEvent() == .changed(isBound: status == 1, [first]))
            #expect(
                bench.sent() == up
                    + #"{"type":"change","payload":{"status":\#(status),"devices":[\#(entry),"result":0}]}}"#
            )
            #expect(gateway.online == (status == 1 ? [first] : []))
        }
        #expect(bench.hub(down, #"{"type":"search_devices","payload":{"status":1}}"#))
        #expect(gateway.nextEvent() == .search(isOn: true))
        #expect(bench.sent() == up + #"{"type":"search_devices","payload":{"status":1,"result":0}}"#)
        #expect(bench.hub(down, #"{"type":"unbind_all"}"#))
        #expect(gateway.nextEvent() == .unboundAll)
        #expect(bench.sent() == up + #"{"type":"unbind_all","payload":{"result":0}}"#)
        for bad in ["", #"{"type":"x"}"#, #"{"type":"change"}"#, #"{"type":"search_devices","payload":{"status":2}}"#] {
            #expect(!bench.hub(down, bad))
        }
    }

    @Test func bringsThemBackAfterAReconnect() throws {
        let gateway = try HubGateway(pump())
        let bench = ServiceBench(gateway)
        for device in [first, second] {
            _ = try gateway.setOnline(device, at: .zero)
            #expect(bench.hub(down, message("online", device, result: 0)))
            (_, _) = (bench.sent(), gateway.nextEvent())
        }
        bench.services.disconnected(at: .seconds(1))
        #expect(gateway.online == [])
        bench.services.connected(at: .seconds(2))
        #expect(bench.sent() == up + message("online"))
        #expect(bench.sent() == nil)
        #expect(bench.services.deadline == .milliseconds(2_100))
        bench.services.handleTimeout(at: .milliseconds(2_100))
        #expect(bench.sent() == up + message("online", second))
        #expect(bench.hub(down, message("online", result: 0)))
        #expect(bench.hub(down, message("online", second, result: -1)))
        #expect(gateway.nextEvent() == .restored(first))
        #expect(gateway.nextEvent() == .lost(second, .rejected(.notBound)))
        #expect(gateway.nextEvent() == nil)
        #expect(gateway.online == [first])
        // Also when the connection breaks while it is asked for.
        bench.services.connected(at: .seconds(3))
        bench.services.connected(at: .seconds(4))
        #expect(bench.sent() == up + message("online"))
        bench.services.handleTimeout(at: .seconds(14))
        #expect(gateway.nextEvent() == .lost(first, .timedOut))
    }

    @Test func givesUpInTime() throws {
        let gateway = try HubGateway(pump())
        let bench = ServiceBench(gateway)
        let id = try gateway.setOnline(first, at: .zero)
        #expect(bench.services.deadline == .seconds(10))
        bench.services.handleTimeout(at: .seconds(10))
        #expect(gateway.nextEvent() == .failed(id, .timedOut))
        #expect(!bench.hub(down, message("online", result: 0)))
        let last = try gateway.describe(at: .seconds(10))
        bench.services.disconnected(at: .seconds(11))
        #expect(gateway.nextEvent() == .failed(last, .disconnected))
        #expect(throws: HubServiceError.notConnected) { try gateway.describe(at: .seconds(11)) }
    }

    /// A message for one sub-device.
    private func message(_ type: String, _ device: HubSubDevice = first, result: Int? = nil) -> String {
        let result = result.map { #","result":\#($0)"# } ?? ""
        return
            #"{"type":"\#(type)","payload":{"devices":[{"product_id":"\#(text(device.productID))","device_name":"\#(text(device.deviceName))"\#(result)}]}}"#
    }
}
