internal import CLinux
internal import ModemSimulator

@main enum Main {
    static func main() { exit(runModemSimulator(arguments: Array(CommandLine.arguments.dropFirst()))) }
}
