/// Conversations with ESP-AT modules.
enum ESPATTranscripts {
    static let push = Transcript(
        #"""
        > "AT+RST\r\n"
        < "AT+RST\r\n\r\nOK\r\n"
        < "\x1c\xe2\x8frl\x0c\x00\r\n\r\nready\r\n"
        > "ATE0\r\n"
        < "ATE0\r\n\r\nOK\r\n"
        > "AT+CWMODE=1\r\n"
        < "\r\nOK\r\n"
        > "AT+CWJAP=\"OK net\",\"secret\"\r\n"
        < "WIFI CONNECTED\r\n"
        = 900
        < "WIFI GOT IP\r\n\r\nOK\r\n"
        > "AT+CWJAP?\r\n"
        < "+CWJAP:\"OK net\",\"02:00:00:00:00:01\",6,-47\r\n\r\nOK\r\n"
        > "AT+CIPMUX=1\r\n"
        < "\r\nOK\r\n"
        > "AT+CIPSTART=0,\"TCP\",\"peer.example\",7000\r\n"
        < "0,CONNECT\r\n\r\nOK\r\n"
        > "AT+CIPSEND=0,5\r\n"
        < "\r\nOK\r\n\r\n>"
        > "hello"
        < "\r\nRecv 5 bytes\r\n"
        < "\r\n+IPD,0,9:OK\r\n> \x00\x1a!"
        < "\r\nSEND OK\r\n"
        = 300
        < "\r\n+IPD,0,3:bye0,CLOSED\r\n"
        > "AT+CIPSEND=0,1\r\n"
        < "link is not valid\r\n\r\nERROR\r\n"
        """#
    )
    static let pushLog = [
        "finished", "line \u{FFFD}rl\u{0C}\0", "line ready", "finished", "finished", "line WIFI CONNECTED",
        "line WIFI GOT IP", "finished", #"line +CWJAP:"OK net","02:00:00:00:00:01",6,-47"#, "finished", "finished",
        "line 0,CONNECT", "finished", "prompt", "line Recv 5 bytes", "payload 0: " + "4f 4b d a 3e 20 0 1a 21",
        "finished",
        "payload 0: " + hex("bye"), "line 0,CLOSED", "line link is not valid", "failed refused",
    ]

    static let passive = Transcript(
        #"""
        > "AT+CIPRECVMODE=1\r\n"
        < "\r\nOK\r\n"
        > "AT+CIPSTART=1,\"TCP\",\"192.0.2.7\",7000\r\n"
        < "1,CONNECT\r\n\r\nOK\r\n"
        < "\r\n+IPD,1,11\r\n"
        > "AT+CIPRECVDATA=1,8\r\n"
        < "+CIPRECVDATA:8,\r\nERROR\r\r\nOK\r\n"
        > "AT+CIPRECVDATA=1,1460\r\n"
        < "+CIPRECVDATA:3,abc\r\nOK\r\n"
        < "1,CLOSED\r\n"
        > "AT+CIPRECVDATA=1,1460\r\n"
        < "\r\nERROR\r\n"
        """#
    )
    static let passiveLog = [
        "finished", "line 1,CONNECT", "finished", "line +IPD,1,11", "payload -1: " + hex("\r\nERROR\r"), "finished",
        "payload -1: " + hex("abc"), "finished", "line 1,CLOSED", "failed refused",
    ]

    /// NONOS 1.7: other echo, other data heads.
    static let old = Transcript(
        #"""
        > "AT\r\n"
        < "AT\r\r\n\r\nOK\r\n"
        > "ATE0\r\n"
        < "ATE0\r\r\n\r\nOK\r\n"
        > "AT+CWJAP_CUR=\"net\",\"wrong\"\r\n"
        = 3000
        < "+CWJAP:2\r\n\r\nFAIL\r\n"
        > "AT+CIPSTART=2,\"TCP\",\"192.0.2.7\",7000\r\n"
        < "2,CONNECT\r\n\r\nOK\r\n"
        > "AT+CIPSEND=2,4\r\n"
        < "\r\nOK\r\n> "
        > "ping"
        < "\r\nRecv 4 bytes\r\n\r\nSEND OK\r\n"
        < "\r\n+IPD,2,4\r\n"
        > "AT+CIPRECVDATA=2,2048\r\n"
        < "+CIPRECVDATA,4:pong\r\nOK\r\n"
        > "AT+CIPCLOSE=2\r\n"
        < "2,CLOSED\r\n\r\nOK\r\n"
        """#
    )
    static let oldLog = [
        "finished", "finished", "line +CWJAP:2", "failed refused", "line 2,CONNECT", "finished", "prompt",
        "line Recv 4 bytes", "finished", "line +IPD,2,4", "payload -1: " + hex("pong"), "finished", "line 2,CLOSED",
        "finished",
    ]

    /// Two commands at once, then the second one again.
    static let busy = Transcript(
        #"""
        > "AT+CIPMUX?\r\n"
        < "busy p...\r\n"
        = 200
        < "+CWLAP:(3,\"ERROR\",-47,\"02:00:00:00:00:01\",6)\r\n\r\nOK\r\n"
        = 1
        < "+CIPMUX:0\r\n\r\nOK\r\n"
        """#
    )
    static let busyLog = [#"line +CWLAP:(3,"ERROR",-47,"02:00:00:00:00:01",6)"#, "line +CIPMUX:0", "finished"]
}
