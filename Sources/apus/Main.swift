internal import CLinux

@main struct Apus {
    static let commands: [Command] = [
        demoCommand, deviceCommand, pubCommand, subCommand, rrCommand, coapCommand, hubCommand, modemSimulatorCommand,
        modemScriptCommand, modemProbeCommand, modemPipeCommand, modemWatchCommand, modemConsoleCommand,
    ]

    static func main() async { exit(await run(Array(CommandLine.arguments.dropFirst()))) }

    private static func run(_ arguments: [String]) async -> Int32 {
        guard let name = arguments.first, !["help", "--help", "-h"].contains(name) else {
            Console.raw(overview)
            return arguments.isEmpty ? 2 : 0
        }
        // A command may have a name of two words: the first alone lists those that begin with it.
        if commands.contains(where: { $0.name.hasPrefix("\(name) ") }) {
            let second = arguments.dropFirst().first
            if second == nil || ["help", "--help", "-h"].contains(second) {
                Console.raw(overview(of: name))
                return second == nil ? 2 : 0
            }
        }
        let longName = arguments.prefix(2).joined(separator: " ")
        guard let command = commands.first(where: { $0.name == longName }) ?? commands.first(where: { $0.name == name })
        else {
            let group = commands.contains { $0.name.hasPrefix("\(name) ") } ? "\(name) " : ""
            Console.error("there is no command '\(group.isEmpty ? name : longName)'; 'apus \(group)--help' lists them")
            return 2
        }
        let rest = Array(arguments.dropFirst(command.name == name ? 1 : 2))
        if let run = command.passesThrough { return run(rest) }
        if rest.contains("--help") {
            Console.raw(command.help)
            return 0
        }
        do {
            return try await command.run(try Arguments(rest, options: command.options))
        } catch let error as UsageError {
            Console.error("\(error.message); see 'apus \(command.name) --help'")
            return 2
        } catch {
            if !rest.contains("--quiet") { Console.error("\(command.name): \(sentence(for: error))") }
            return 1
        }
    }

    private static var overview: String {
        "Apus: devices, hubs and modems of the IoT on the command line.\n\nUsage: apus COMMAND [OPTIONS]\n\n"
            + list(commands) + "\n'apus COMMAND --help' tells more.\n"
    }

    /// What the commands are whose names begin with the word `group`.
    private static func overview(of group: String) -> String {
        "Usage: apus \(group) COMMAND [OPTIONS]\n\n" + list(commands.filter { $0.name.hasPrefix("\(group) ") })
            + "\n'apus \(group) COMMAND --help' tells more.\n"
    }

    private static func list(_ commands: [Command]) -> String {
        let width = commands.map(\.name.count).max() ?? 0
        return commands.map { command in
            "  \(command.name)\(String(repeating: " ", count: width - command.name.count + 2))\(command.summary)\n"
        }.joined()
    }
}
