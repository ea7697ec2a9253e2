import SAL
import Testing

@testable import MQTTClient

/// URLs of servers.
@Suite struct URLTests {
    @Test(
        arguments: [
            ("mqtt://host", "mqtt", "host", 1_883, ""), ("mqtts://Host.example", "mqtts", "Host.example", 8_883, ""),
            ("MQTT://host:99/", "mqtt", "host", 99, ""), ("ws://host", "ws", "host", 80, "/mqtt"),
            ("wss://host:444/a/b?c=d", "wss", "host", 444, "/a/b?c=d"), ("ws://host?x", "ws", "host", 80, "/?x"),
            ("mqtt://[2001:db8::1]:1884", "mqtt", "2001:db8::1", 1_884, ""), ("mqtt://[::1]", "mqtt", "::1", 1_883, ""),
            ("mqtt://h%6Fst:", "mqtt", "host", 1_883, ""), ("mqtt+unix:///run/a%20b", "mqtt+unix", "/run/a b", 0, ""),
        ] as [(String, String, String, UInt16, String)]
    )
    func reads(text: String, scheme: String, host: String, port: UInt16, path: String) throws {
        let url = try #require(MQTTURL(text))
        #expect(url.scheme.rawValue == scheme && url.path == path)
        #expect(String(decoding: url.endpoint.host, as: UTF8.self) == host && url.endpoint.port == port)
        #expect(url.userName == nil && url.password == nil)
    }

    @Test func readsALogin() throws {
        let url = try #require(MQTTURL("mqtts://us%40er:p%3Aa:ss@host:1"))
        #expect(url.userName == Array("us@er".utf8) && url.password == Array("p:a:ss".utf8))
        #expect(try #require(MQTTURL("mqtt://user@host")).password == nil)
    }

    @Test(arguments: [
        "", "host", "http://host", "mqtt:host", "mqtt://", "mqtt://:1", "mqtt://host:0", "mqtt://host:65536",
        "mqtt://host:1x", "mqtt://host/path", "mqtt://host?query", "mqtt://[::1", "mqtt://[nonsense]", "mqtt://[::1]1",
        "mqtt://h%zz", "mqtt://h%2", "mqtt://a b", "ws://host/#fragment", "mqtt+unix://relative",
    ])
    func refuses(text: String) { #expect(MQTTURL(text) == nil) }
}
