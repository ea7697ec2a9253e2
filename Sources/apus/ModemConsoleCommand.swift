internal import CLinux
internal import Kernel
internal import SAL

let modemConsoleCommand = Command(
    "modem console",
    "Type AT commands to a modem, and see what it says and when.",
    usage: "--tty PATH [OPTIONS]",
    notes: """
        Each line of the standard input is sent with a carriage return. Each line of the modem is shown with the milliseconds since the last
        command was sent; a '*' marks what comes behind the end of an answer, or without a command. Bytes that are no text are shown as \\x1A.

        On a terminal, lines are sent as they are typed, and Ctrl-D ends. From a pipe or a file, each line waits for the end of the answer before
        it: OK, an error, or the prompt '>'. An empty line sends the end of line alone; the line ^Z sends Ctrl-Z, which ends the text of an SMS.

        The status is 0, or 1 if the line failed or an answer did not come in time, or 3 if an answer from a script was an error.
        """,
    options: [
        ttyOption,
        Option(nil, "baud", value: "N", "The bits per second of the line; left as they are unless given."),
        Option(nil, "end", value: "WAY", "What ends a line: cr, lf or crlf; cr unless given. ESP-AT wants crlf."),
        Option(nil, "timeout", value: "SECONDS", "How long an answer may take in a script; 10 unless given."),
        Option(
            nil,
            "wait",
            value: "SECONDS",
            "Stay so long behind the last answer of a script, for what comes unasked."
        ),
    ]
) { arguments in
    guard let path = arguments["tty"] else { throw UsageError("--tty says where the modem is") }
    let end: [UInt8] =
        switch arguments["end"] {
        case nil, "cr": [0x0D]
        case "lf": [0x0A]
        case "crlf": [0x0D, 0x0A]
        case let way?: throw UsageError("--end is cr, lf or crlf, not '\(way)'")
        }
    let baudRate = try arguments.number("baud", in: 1...10_000_000)
    let timeout = try arguments.number("timeout", in: 1...100_000) ?? 10
    let linger = try arguments.number("wait", in: 0...100_000) ?? 0
    let connection = try await openSerialLine(path, SerialSettings(baudRate: baudRate), on: .start())
    let console = ModemConsole(connection, path: path, end: end)
    let isScript = isatty(STDIN_FILENO) == 0
    if !isScript { Console.raw("Connected to \(path); Ctrl-D ends.\n") }
    return try await withThrowingTaskGroup(of: Int32.self) { group in
        group.addTask { try await console.show() }
        group.addTask { try await console.feed(timeout: isScript ? timeout : nil, linger: linger) }
        defer { group.cancelAll() }
        return try await group.next() ?? 0
    }
}

/// A console's two directions.
private actor ModemConsole {
    private enum Outcome { case isWell, isError }

    private let connection: Connection
    private let path: String
    private let end: [UInt8]
    private let start = ContinuousClock.now
    private var sentAt: ContinuousClock.Instant?
    private var isAnswering = false
    /// How answers have ended.
    private let outcomes = MessageQueue<Outcome>(capacity: 1)

    init(_ connection: Connection, path: String, end: [UInt8]) {
        self.connection = connection
        self.path = path
        self.end = end
    }

    /// Shows what the modem says until the line ends, which is an error.
    func show() async throws -> Int32 {
        var splitter = LineSplitter()
        while true {
            do throws(SocketError) {
                // What does not end soon is shown as it is.
                let wait = splitter.hasPart ? Wait.milliseconds(200) : .forever
                guard let bytes = try await connection.read(upTo: .max, wait) else { throw .deviceRestarted }
                for line in splitter.lines(in: bytes) { show(line) }
                if splitter.isPrompt, let prompt = splitter.part() { show(prompt) }
            } catch .timedOut {
                if let part = splitter.part() { show(part) }
            } catch .cancelled {
                return 0
            } catch { throw serialFailure(error, path: path, SerialSettings()) }
        }
    }

    private func show(_ line: String) {
        let milliseconds = (ContinuousClock.now - (sentAt ?? start)) / .milliseconds(1)
        let digits = "\(Int(milliseconds))"
        let gap = String(repeating: " ", count: max(0, 7 - digits.count))
        Console.print("\(gap)\(digits) ms \(isAnswering ? " " : "*") \(line)")
        let isError = isFailure(line)
        guard isAnswering, isError || line == "OK" || line == "SEND OK" || line.first == ">" else { return }
        isAnswering = false
        do throws(KernelError) { try outcomes.send(isError ? .isError : .isWell, .noWait) } catch {}
    }

    /// Sends the lines of the standard input; with a timeout each waits for its answer.
    func feed(timeout: Int?, linger: Int) async throws -> Int32 {
        let input = try StandardInput.lines()
        var status: Int32 = 0
        while var line = await input.next() {
            if line.last == 0x0D { line.removeLast() }
            outcomes.flush()
            sentAt = .now
            isAnswering = true
            let bytes = line == Array("^Z".utf8) ? [0x1A] : line + end
            do throws(SocketError) { try await connection.write(bytes, .seconds(10)) } catch {
                throw serialFailure(error, path: path, SerialSettings())
            }
            // An empty line has no answer.
            guard let timeout, !line.isEmpty else { continue }
            do throws(KernelError) {
                if case .isError = try await outcomes.receive(.seconds(timeout)) { status = 3 }
            } catch {
                throw Failure(
                    "no answer to '\(String(decoding: line, as: UTF8.self))' in \(timeout) s; 'apus modem probe --tty \(path)' finds the rate, "
                        + "--end crlf is for ESP-AT, --timeout waits for longer"
                )
            }
        }
        if linger > 0 { try await Task.sleep(for: .seconds(linger)) }
        return status
    }
}
