import Testing

/// The device shadow, and cJSON, on an emulated Cortex-M4.
@Suite(.timeLimit(.minutes(1))) struct ServicesTests {
    @Test func reportsAndHearsWhatIsWanted() async throws {
        try await offPool {
            let machine = try Machine("services")
            try machine.wait(for: "ready\n")
            machine.type(#"report {"temp":21.5,"mode":"cool","old":null,"tiny":1.25e-7,"at":1700000100456}"#)
            let heap = try Self.heap(machine)
            machine.type("connect")
            try machine.wait(for: #"send {"type":"get","clientToken":"Q7K2M9X4ZP-0"}"#)
            machine.type(
                #"hub {"type":"get","result":0,"clientToken":"Q7K2M9X4ZP-0","payload":{"state":{"reported":{"mode":"cool"},"desired":{"temp":-0.1},"delta":{"temp":-0.1,"no":null}},"version":7}}"#
            )
            try machine.wait(
                for:
                    #"send {"type":"update","state":{"reported":{"temp":21.5,"tiny":1.25e-07,"at":1700000100456}},"clientToken":"Q7K2M9X4ZP-1"}"#
            )
            try machine.wait(for: #"delta {"temp":-0.1}"#)
            machine.type("pass 3999")
            machine.type(
                #"hub {"type":"update","result":"0","clientToken":"Q7K2M9X4ZP-1","payload":{"state":{},"version":"8"}}"#
            )
            try machine.wait(for: "reported\n")
            machine.type(#"hub {"type":"update","result":0,"clientToken":"Q7K2M9X4ZP-1","payload":{"version":8}}"#)
            try machine.wait(for: "unused\n")
            machine.type(#"report {"a":"#)
            try machine.wait(for: "error=json\n")
            machine.type("lost")
            _ = try Self.heap(machine)
            // Nothing is lost of the heap, however much is said.
            var used: Set<Int> = []
            for _ in 0..<20 {
                machine.type(#"hub {"type":"delta","payload":{"state":{"a":[1,2.5,{"b":"c"}]},"version":9}}"#)
                used.insert(try Self.heap(machine))
            }
            #expect(used.count <= 2, "\(used)")
            #expect(try #require(used.min()) > heap - 2_048)
            machine.type("end")
            #expect(machine.wait() == 0)
        }
    }

    private static func heap(_ machine: Machine) throws -> Int {
        try machine.wait(for: "heap=")
        return try #require(Int(try machine.wait(for: "\n")))
    }
}
