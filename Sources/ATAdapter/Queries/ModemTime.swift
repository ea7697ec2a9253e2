internal import Kernel

/// What a modem's clock says: the time of its network, once that has told it.
public struct ModemTime: Equatable, Sendable {
    /// The seconds since 1970-01-01T00:00:00Z.
    public let secondsSince1970: Int64
    /// How far the modem's time zone is ahead of UTC, in minutes.
    public let zoneMinutes: Int

    /// From the answer to `+CCLK?`, `yy/MM/dd,hh:mm:ss±zz` with the zone in quarters of an hour (3GPP 27.007, 8.15); `nil` if that is no time, or one
    /// before 2020, which a modem tells that has no other.
    public init?(answer: [UInt8]) {
        guard var fields = ATFields(answer, of: "+CCLK") else { return nil }
        let text = fields.string()
        var numbers = InlineArray<6, Int>(repeating: 0)
        var position = 0
        for index in numbers.indices {
            guard let number = text.digits(at: &position) else { return nil }
            numbers[index] = number
            if index < 5 { position += 1 }
        }
        var zone = 0
        if position < text.count {
            let isWest = text[position] == UInt8(ascii: "-")
            position += 1
            guard let quarters = text.digits(at: &position) else { return nil }
            zone = (isWest ? -15 : 15) * quarters
        }
        self.init(
            year: numbers[0] < 100 ? 2000 + numbers[0] : numbers[0],
            month: numbers[1],
            day: numbers[2],
            seconds: (numbers[3] * 60 + numbers[4]) * 60 + numbers[5],
            zoneMinutes: zone
        )
    }

    /// From ESP-AT's answer to `+CIPSNTPTIME?`, `Thu Aug 04 14:48:05 2016`, in UTC.
    init?(sntp answer: [UInt8]) {
        let match = ATMatch(answer.span, in: "+CIPSNTPTIME:*")
        guard match.index == 0, answer.count >= match.position + 24 else { return nil }
        let text = Array(answer[match.position..<match.position + 24])
        var month = 0
        let months: StaticString = "JanFebMarAprMayJunJulAugSepOctNovDec"
        for index in 0..<12 where text[4] == months.byte(3 * index) && text[5] == months.byte(3 * index + 1) {
            if text[6] == months.byte(3 * index + 2) { month = index + 1 }
        }
        var position = 8
        var numbers = InlineArray<5, Int>(repeating: 0)
        for index in numbers.indices {
            while position < text.count, text[position] == 0x20 { position += 1 }
            guard let number = text.digits(at: &position) else { return nil }
            numbers[index] = number
            if index < 4 { position += 1 }
        }
        self.init(
            year: numbers[4],
            month: month,
            day: numbers[0],
            seconds: (numbers[1] * 60 + numbers[2]) * 60 + numbers[3],
            zoneMinutes: 0
        )
    }

    private init?(year: Int, month: Int, day: Int, seconds: Int, zoneMinutes: Int) {
        // A clock that nobody has set counts from 1970, 1980 or 2004.
        guard 2020..<2070 ~= year, 1...12 ~= month, 1...31 ~= day, 0...86_400 ~= seconds else { return nil }
        // The year begins in March, so that the leap day is its last.
        let (years, months) = month > 2 ? (year, month - 3) : (year - 1, month + 9)
        let days = 365 * years + years / 4 - years / 100 + years / 400 + (153 * months + 2) / 5 + day - 719_469
        secondsSince1970 = Int64(days) * 86_400 + Int64(seconds - 60 * zoneMinutes)
        self.zoneMinutes = zoneMinutes
    }
}

extension [UInt8] {
    /// The digits at `position`, up to four, which moves behind them; `nil` if there is none.
    fileprivate func digits(at position: inout Int) -> Int? {
        let start = position
        var value = 0
        while position < count, self[position] &- 0x30 < 10, position - start < 4 {
            value = 10 * value + Int(self[position] - 0x30)
            position += 1
        }
        return position > start ? value : nil
    }
}

extension Modem {
    /// Asks what time it is, when the modem has time. The error is `ATError.notKnown` while the network has not told; ESP-AT asks a time server
    /// (`pool.ntp.org`), which takes it some seconds from the first time that it is asked.
    public func queryTime(_ completion: @escaping (Result<ModemTime, ATError>) -> Void) {
        ask("AT+CCLK?") { [self] result in
            switch result {
            case .success(let answer):
                completion(ModemTime(answer: answer).map { .success($0) } ?? .failure(.notKnown))
            case .failure(let error) where error.isRefusal: queryServerTime(isFirst: true, error, completion)
            case .failure(let error): completion(.failure(error))
            }
        }
    }

    private func queryServerTime(
        isFirst: Bool,
        _ error: ATError,
        _ completion: @escaping (Result<ModemTime, ATError>) -> Void
    ) {
        ask("AT+CIPSNTPTIME?") { [self] result in
            if case .success(let answer) = result, let time = ModemTime(sntp: answer) {
                return completion(.success(time))
            }
            guard isFirst else {
                if case .success = result { return completion(.failure(.notKnown)) }
                return completion(.failure(error))
            }
            // It was not told to; another modem does not know this either.
            ask("AT+CIPSNTPCFG=1,0,\"pool.ntp.org\"") { [self] result in
                if case .failure = result { return completion(.failure(error)) }
                queryServerTime(isFirst: false, error, completion)
            }
        }
    }
}
