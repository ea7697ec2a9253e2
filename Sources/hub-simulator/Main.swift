internal import CLinux
internal import HubSimulator

@main enum Main {
    static func main() { exit(runHubSimulator(arguments: Array(CommandLine.arguments.dropFirst()))) }
}
