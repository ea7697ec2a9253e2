import Testing

@testable import ATAdapter

/// How cellular modems are brought up: SIM, registration, data connection.
@Suite struct CellularTests {
    /// A driver that is brought up by a modem of a few answers.
    private final class Bench {
        var lines: [String] = []
        var failure: ATError?
        private let dialect: any ATDialect
        private var configuration = ModemConfiguration()
        /// The lines of an answer, the final result last.
        var answer: (String) -> [String]? = { _ in nil }

        init(_ driver: ModemDriver = .quectel, _ configure: (inout ModemConfiguration) -> Void = { _ in }) {
            dialect = driver.makeDialect()
            configure(&configuration)
        }

        static func usual(_ line: String) -> [String] {
            switch line {
            case "AT+CPIN?": ["+CPIN: READY", "OK"]
            case "AT+CEREG?": ["+CEREG: 0,1", "OK"]
            case "AT+CSQ": ["+CSQ: 23,99", "OK"]
            case "AT+QIACT?": ["+QIACT: 1,1,1,\"10.1.2.3\"", "OK"]
            case "AT+CIFSR": ["10.1.2.3", "OK"]
            case "AT+MIPCALL?": ["+MIPCALL: 1,10.1.2.3", "OK"]
            default: ["OK"]
            }
        }

        /// Takes up to `limit` steps; returns whether the modem is up.
        func run(limit: Int = 60) -> Bool {
            var step = 0
            failure = nil
            for _ in 0..<limit {
                let request = ATRequest(kind: .attach, step: step)
                guard let template = dialect.template(for: request, configuration) else { return true }
                if template.utf8CodeUnitCount == 0 {
                    step += 1
                    continue
                }
                let command = ATCommand(
                    template: template,
                    request: request,
                    host: [],
                    port: 0,
                    escaping: false,
                    configuration: configuration
                )
                let line = String(decoding: command.line, as: UTF8.self)
                lines.append(line)
                var error: ATError?
                for text in answer(line) ?? Self.usual(line) {
                    switch text {
                    case "OK": break
                    case "ERROR": error = .refused
                    default:
                        let bytes = Array(text.utf8)
                        if text.hasPrefix("+CME ERROR: ") {
                            error = .equipment(code: Int32(text.dropFirst(12)) ?? -1)
                        } else if case .failed = dialect.notice(bytes.span, during: request) {
                            error = .refused
                        }
                    }
                }
                switch dialect.attachStepEnded(step, error, isOptional: command.isOptional) {
                case .next: step += 1
                case .jump(let to, _): step = to
                case .failed(let error):
                    failure = error
                    return false
                }
            }
            return false
        }
    }

    static let drivers = ModemDriver.named.filter { !$0.name.hasPrefix("espat") }.map(\.name)

    @Test(arguments: drivers)
    func everyDriverComesUp(name: String) throws {
        let bench = Bench(try #require(ModemDriver(named: name))) { $0.apn = Array("cmnet".utf8) }
        #expect(bench.run(), "\(bench.lines)")
        #expect(
            bench.lines.starts(with: [
                "ATE0", "AT+CMEE=1", "AT+CPIN?", "AT+CGDCONT=1,\"IP\",\"cmnet\"", "AT+CFUN=1", "AT+CEREG?", "AT+CSQ",
            ])
        )
    }

    // MARK: SIM

    @Test func aPINIsGivenWhenTheSIMWantsIt() {
        let bench = Bench { $0.pin = Array("1234".utf8) }
        var isReady = false
        bench.answer = { line in
            if line == "AT+CPIN=\"1234\"" { isReady = true }
            return line == "AT+CPIN?" && !isReady ? ["+CPIN: SIM PIN", "OK"] : nil
        }
        #expect(bench.run())
        #expect(Array(bench.lines[2...4]) == ["AT+CPIN?", "AT+CPIN=\"1234\"", "AT+CPIN?"])
        // After a restart it is wanted again.
        isReady = false
        #expect(bench.run())
    }

    @Test func aWrongPINIsTriedOnce() {
        let bench = Bench { $0.pin = Array("1234".utf8) }
        bench.answer = { line in
            if line == "AT+CPIN=\"1234\"" { return ["+CME ERROR: 16"] }
            return line == "AT+CPIN?" ? ["+CPIN: SIM PIN", "OK"] : nil
        }
        for _ in 0..<5 {
            #expect(!bench.run())
            #expect(bench.failure == .pinRequired)
        }
        #expect(bench.lines.count { $0.hasPrefix("AT+CPIN=") } == 1)
    }

    @Test(arguments: [
        (["+CPIN: SIM PIN", "OK"], ATError.pinRequired), (["+CME ERROR: 11"], .pinRequired),
        (["+CPIN: SIM PUK", "OK"], .simLocked),
        (["+CPIN: PH-SIM PIN", "OK"], .simLocked), (["+CME ERROR: 12"], .simLocked),
        (["+CME ERROR: 10"], .equipment(code: 10)),
        (["+CME ERROR: 13"], .equipment(code: 13)), (["+CME ERROR: 14"], .equipment(code: 14)),
    ])
    func aSIMThatIsNotReadyIsTold(answer: [String], error: ATError) {
        let bench = Bench()
        bench.answer = { $0 == "AT+CPIN?" ? answer : nil }
        #expect(!bench.run())
        #expect(bench.failure == error)
    }

    @Test func aModemWithoutTheQuestionForThePINComesUp() {
        let bench = Bench(.bc28)
        bench.answer = { $0 == "AT+CPIN?" || $0 == "ATE0" ? ["ERROR"] : nil }
        #expect(bench.run(), "\(bench.lines)")
    }

    // MARK: Registration (3GPP 27.007, 7.2 and 10.1.20)

    @Test(arguments: [
        // At home and roaming, with and without a cell, and with a notice before the answer.
        (["+CEREG: 0,1", "OK"], true), (["+CEREG: 0,5", "OK"], true),
        (["+CEREG:2,5,\"9D6F\",\"01B8DCC8\",7", "OK"], true),
        (["+CEREG: 0,2", "OK"], false), (["+CEREG: 0,4", "OK"], false), (["+CEREG: 5", "+CEREG: 0,2", "OK"], false),
        (["+CEREG: 1,\"9D6F\",\"01B8DCC8\",7", "+CEREG: 2,2", "OK"], false),
        (["+CEREG: 1,4567,123456,7", "+CEREG: 2,0", "OK"], false),
        (["+CEREG: 2,\"9D6F\",\"01B8DCC8\",7", "+CEREG: 2,1,\"9D6F\",\"01B8DCC8\",7", "OK"], true),
    ])
    func answersAboutRegistrationAreToldFromNotices(answer: [String], isRegistered: Bool) {
        let bench = Bench()
        bench.answer = { $0 == "AT+CEREG?" ? answer : $0.hasSuffix("REG?") ? ["+CREG: 0,0", "OK"] : nil }
        #expect(bench.run() == isRegistered)
    }

    @Test func dataServicesCountAndCallsOnlyWithoutThem() {
        let gprs = Bench(.sim800)
        gprs.answer = { $0 == "AT+CEREG?" ? ["ERROR"] : $0 == "AT+CGREG?" ? ["+CGREG: 0,5", "OK"] : nil }
        #expect(gprs.run())
        let calls = Bench()
        calls.answer = {
            $0 == "AT+CREG?" ? ["+CREG: 0,1", "OK"] : $0.hasSuffix("REG?") ? ["+CEREG: 0,2", "OK"] : nil
        }
        #expect(!calls.run(), "registered for calls alone")
        let old = Bench(.sim800)
        old.answer = { $0 == "AT+CREG?" ? ["+CREG: 0,1", "OK"] : $0.hasSuffix("REG?") ? ["ERROR"] : nil }
        #expect(old.run())
    }

    @Test func aDeniedRegistrationIsTold() {
        let bench = Bench()
        bench.answer = { $0.hasSuffix("REG?") ? ["+\($0.dropFirst(3).dropLast()): 0,3", "OK"] : nil }
        #expect(!bench.run())
        #expect(bench.failure == .registrationDenied)
    }

    // MARK: The data connection

    @Test func userAndPasswordAreGiven() {
        let bench = Bench {
            $0.apn = Array("net".utf8)
            $0.user = Array("me".utf8)
            $0.password = Array("secret".utf8)
            $0.authentication = .chap
        }
        #expect(bench.run())
        #expect(bench.lines.contains("AT+QICSGP=1,1,\"net\",\"me\",\"secret\",2"))
        #expect(bench.lines.contains("AT+CGAUTH=1,2,\"me\",\"secret\""))
    }

    @Test func aConnectionThatIsUpAlreadyIsTaken() {
        let quectel = Bench()
        quectel.answer = { $0 == "AT+QIACT=1" ? ["ERROR"] : nil }
        #expect(quectel.run())
        let sim7600 = Bench(.sim7600)
        sim7600.answer = { $0 == "AT+NETOPEN" ? ["+IP ERROR: Network is already opened", "ERROR"] : nil }
        #expect(sim7600.run())
    }

    @Test(arguments: [
        ("quectel", "AT+QIACT?", ["OK"]), ("sim7600", "AT+IPADDR", ["+IP ERROR: Network not opened", "ERROR"]),
        ("sim800", "AT+CIICR", ["ERROR"]),
        ("sim800", "AT+CIFSR", ["ERROR"]), ("l610", "AT+MIPCALL?", ["+MIPCALL: 0", "OK"]),
    ])
    func aConnectionThatDoesNotComeUpIsTold(driver: String, line: String, answer: [String]) throws {
        let bench = Bench(try #require(ModemDriver(named: driver)))
        bench.answer = { $0 == line ? answer : nil }
        #expect(!bench.run())
        #expect(bench.failure == .noDataConnection)
    }
}
