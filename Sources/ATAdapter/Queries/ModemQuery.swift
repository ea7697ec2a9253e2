internal import Kernel

extension Modem {
    /// Asks by the first of `commands`, one a line, that the modem does not refuse: families name the same thing differently.
    ///
    /// The error is that of the last command, but for one that the modem knew and could not do, such as for want of a SIM.
    func ask(
        _ commands: StaticString,
        timeoutMilliseconds: Int = 5_000,
        completion: @escaping (Result<[UInt8], ATError>) -> Void
    ) {
        ask(commands, from: 0, timeoutMilliseconds, earlier: nil, completion)
    }

    private func ask(
        _ commands: StaticString,
        from start: Int,
        _ timeoutMilliseconds: Int,
        earlier: ATError?,
        _ completion: @escaping (Result<[UInt8], ATError>) -> Void
    ) {
        let end = commands.end(ofLineAt: start)
        var line: [UInt8] = []
        for index in start..<end { line.append(commands.byte(index)) }
        do throws(ATError) {
            try execute(line, timeoutMilliseconds: timeoutMilliseconds) { [self] result in
                guard case .failure(let error) = result, error.isRefusal else { return completion(result) }
                let told = earlier ?? (error.isOfTheEquipment ? error : nil)
                guard end < commands.utf8CodeUnitCount else { return completion(.failure(told ?? error)) }
                ask(commands, from: end + 1, timeoutMilliseconds, earlier: told, completion)
            }
        } catch { completion(.failure(error)) }
    }
}

extension ATError {
    /// Whether the modem has answered that it will not.
    var isRefusal: Bool {
        switch self {
        case .refused, .equipment, .messaging: true
        default: false
        }
    }

    /// Whether the modem knows the command, and says why it cannot (3GPP 27.007, 9.2.1: 10 to 49, the SIM, its memory and the network).
    fileprivate var isOfTheEquipment: Bool {
        if case .equipment(let code) = self { 10..<50 ~= code } else { false }
    }
}
