import Testing

/// The commands `apus modem …`, and what they have in common.
@Suite(.timeLimit(.minutes(3))) struct ModemCommandTests {
    @Test func aGroupOfCommandsIsListed() async {
        let apus = programBesideTests("apus")
        let list = await run(apus, ["modem"])
        #expect(list.status == 2 && list.output.contains("apus modem COMMAND"), "\(list.output)")
        #expect(list.output.contains("  modem script ") && !list.output.contains("modem-simulator"), "\(list.output)")
        #expect(await run(apus, ["modem", "--help"]).status == 0)
        let unknown = await run(apus, ["modem", "sing"])
        #expect(unknown.status == 2 && unknown.output.contains("'apus modem --help'"), "\(unknown.output)")
        let simulator = await run(apus, ["modem-simulator", "--help"])
        #expect(simulator.status == 0 && simulator.output.contains("apus modem-simulator"), "\(simulator.output)")
    }

    @Test func everyCommandSaysWhatIsWrongWithItsPort() async {
        let apus = programBesideTests("apus")
        for command in [
            ["probe"], ["console"], ["pipe", "--dialect", "espat", "h", "1"], ["watch", "--dialect", "espat"],
        ] {
            let missing = await run(apus, ["modem"] + command + ["--tty", "/dev/no-such-modem"])
            #expect(
                missing.status == 1 && missing.output.contains("plug the modem in"),
                "\(command): \(missing.output)"
            )
            let file = await run(apus, ["modem"] + command + ["--tty", "/dev/null"])
            #expect(file.status == 1 && file.output.contains("is no serial device"), "\(command): \(file.output)")
            let usage = await run(apus, ["modem"] + command)
            #expect(usage.status == 2 && usage.output.contains("--tty"), "\(command): \(usage.output)")
            #expect(await run(apus, ["modem", command[0], "--help"]).output.contains("apus modem \(command[0]) --tty"))
        }
    }
}
