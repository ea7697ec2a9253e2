/// Luat Air724UG: the commands of the SIM800 on an LTE modem.
final class Air724: SIM800 {
    override var identity: Identity {
        Identity(maker: "AirM2M", model: "AirM2M_Air724UG", revision: "AirM2M_Air724UG_V1174_LTE_AT")
    }
    override var defaultErrorMode: Int { 1 }
    override var maximumLine: Int { 1_024 }
    override var accessTechnology: Int { 7 }
    override var registrationCommands: [String] { ["+CREG", "+CGREG", "+CEREG"] }
    override var banner: [String] {
        ["RDY", "^MODE: 17,17", "+E_UTRAN Service", "+CGEV: ME PDN ACT 5", "+CPIN: READY", "SMS READY", "CALL READY"]
    }
}
