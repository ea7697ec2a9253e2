internal import ATAdapter
internal import CLinux
internal import Kernel

let modemScriptCommand = Command(
    "modem script",
    "Drive a modem by requests in JSON from the standard input.",
    usage: "--tty PATH --dialect NAME [OPTIONS]",
    notes: """
        Each line of the standard input is a request, a JSON object that names its operation in "op" (or "cmd"); each gets one line of
        JSON as its reply, at once: {"ok":true,…}, or {"ok":false,"error":"…"}. Times are in seconds and may have fractions.

          {"op":"start"}                                                        sets the modem up and waits for its network
          {"op":"open","proto":"tcp","host":"192.0.2.7","port":7000}  "sock"  opens a connection, or with "udp" a socket for one peer
          {"op":"send","sock":1,"hex":"68656C6C6F"}                   "sent"  sends bytes, or a datagram; waits until the modem has them
          {"op":"recv","sock":1,"max":4096,"timeout":10}               "hex"  waits for bytes, or for one datagram
          {"op":"close","sock":1}
          {"op":"resolve","host":"peer.example"}                      "addr"
          {"op":"quit"}                                                         closes all sockets and ends, as the end of the input does

        All of them but close and quit take a "timeout"; it is 10 for recv, 180 for start, 150 for open, 60 for send and resolve. "proto" is
        tcp and "max" is 4096 unless given. What arrives before a recv is kept, and the peer is held back where the modem can do so. A recv
        that gets nothing in its time fails with the error "timeout". Behind the last bytes of a connection it is {"ok":true,"hex":"","eof":true}.
        An open or a resolve before a start starts the modem too. What cannot be understood fails, and the next line is read.
        """,
    options: modemOptions
) { arguments in
    let session = ModemSession(try ModemLine(arguments))
    for line in FileLines(STDIN_FILENO) {
        let text = line.drop { $0 == 0x20 || $0 == 0x09 || $0 == 0x0D }
        if text.isEmpty { continue }
        let (reply, isLast) = await session.reply(to: Array(text))
        Console.print(reply)
        if isLast {
            await session.end()
            return 0
        }
    }
    await session.quit()
    await session.end()
    return 0
}
