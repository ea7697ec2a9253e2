internal import HubSimulator
internal import ModemSimulator

/// The simulators read their own options.
let hubCommand = Command(
    "hub",
    "Run the local hub: Mosquitto with the hub's login, and its CoAP endpoint.",
    usage: "[OPTIONS]",
    passesThrough: { runHubSimulator(as: "apus hub", arguments: $0) }
)

let modemSimulatorCommand = Command(
    "modem-simulator",
    "Simulate a modem, of ten families, on a pseudo terminal.",
    usage: "[OPTIONS]",
    passesThrough: { runModemSimulator(as: "apus modem-simulator", arguments: $0) }
)
