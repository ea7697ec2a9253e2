import CLinux
import Glibc
import Testing

@testable import HubSimulator

/// `apus demo`, as `make demo` runs it.
@Suite(.timeLimit(.minutes(1))) struct DemoTests {
    @Test func sevenDevicesOutliveTheirBroker() async throws {
        let root = #filePath.split(separator: "/").dropLast(3).reduce("") { $0 + "/" + $1 }
        let image = "\(root)/Firmware/.build/images/main-job-tls.elf"
        try #require(access(image, R_OK) == 0, "\(image) is not built; build it with 'make firmware'")
        let directory = try temporaryDirectory()
        defer { removeDirectory(directory) }
        let demo = try TestProgram(
            programBesideTests("apus"),
            ["demo", "--seconds", "20", "--directory", directory, "--firmware", image]
        )
        let number = demo.processID
        #expect(await eventually { child(of: number, named: "mosquitto") != nil })
        // All have logged in and reported by then.
        await offPool { _ = sleep(7) }
        let broker = try #require(child(of: number, named: "mosquitto"))
        kill(broker, SIGKILL)
        #expect(await eventually { child(of: number, named: "mosquitto").map { $0 != broker } ?? false })
        #expect(await demo.wait() == 0, "\(demo.output)")
        let last = demo.output.split(separator: "\n").filter { $0.hasPrefix("device=") }
        #expect(last.count == 7)
        for line in last { #expect(line.hasSuffix(" lost=0"), "\(demo.output)") }
    }

    @Test func saysWhichDeviceHasFailed() async throws {
        let directory = try temporaryDirectory()
        defer { removeDirectory(directory) }
        let (status, output) = await run(
            programBesideTests("apus"),
            ["demo", "--seconds", "3", "--directory", directory, "--only", "firmware-01", "--firmware", "/nowhere.elf"]
        )
        #expect(status == 1)
        #expect(output.contains("device=firmware-01") && output.contains("/nowhere.elf"), "\(output)")
    }
}

/// The number of a child of the process `parent`, by its program's name.
private func child(of parent: Int32, named name: String) -> Int32? {
    guard let directory = opendir("/proc") else { return nil }
    defer { closedir(directory) }
    while let entry = readdir(directory) {
        let entryName = withUnsafePointer(to: &entry.pointee.d_name) {
            $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
        }
        guard let number = Int32(entryName), let bytes = try? readFile("/proc/\(number)/stat") else { continue }
        let fields = String(decoding: bytes, as: UTF8.self).split(separator: " ")
        if fields.count > 3, fields[1] == "(\(name))", fields[3] == "\(parent)" { return number }
    }
    return nil
}
