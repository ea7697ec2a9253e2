// swift-tools-version: 6.2
import PackageDescription

/// For modules that also build as Embedded Swift: no Foundation, no async, typed throws only.
let core: [SwiftSetting] = [
    .enableUpcomingFeature("ExistentialAny"), .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"), .strictMemorySafety(),
    .treatAllWarnings(as: .error), .treatWarning("EmbeddedRestrictions", as: .error),
]

/// For what runs on Linux only: simulators, the command line, tests.
let hosted: [SwiftSetting] = [
    .enableUpcomingFeature("ExistentialAny"), .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"), .treatAllWarnings(as: .error),
]

let modules = ["Kernel", "SAL", "ATAdapter", "SecureTransport", "MQTTClient", "CoAPClient", "QCloudIoTHub"]

let package = Package(
    name: "apus",
    products: modules.map { .library(name: $0, targets: [$0]) } + [
        .library(name: "NetworkSimulator", targets: ["NetworkSimulator"]),
        .library(name: "ModemSimulator", targets: ["ModemSimulator"]),
        .library(name: "HubSimulator", targets: ["HubSimulator"]),
        // What the firmware package's own tests need.
        .library(name: "KernelScenarios", targets: ["KernelScenarios"]),
        // What the fuzz package runs for longer than the tests do.
        .library(name: "MQTTScenarios", targets: ["MQTTScenarios"]),
        .library(name: "ModemScenarios", targets: ["ModemScenarios"]),
        .library(name: "HubPlugin", type: .dynamic, targets: ["HubPlugin"]),
        .executable(name: "apus", targets: ["apus"]),
        .executable(name: "hub-simulator", targets: ["hub-simulator"]),
        .executable(name: "modem-simulator", targets: ["modem-simulator"]),
    ],
    targets: [
        // C libraries.
        .systemLibrary(name: "CLinux"),
        .systemLibrary(name: "CMbedTLS", providers: [.apt(["libmbedtls-dev"])]),
        .systemLibrary(name: "CPahoMQTT", providers: [.apt(["libpaho-mqtt-dev"])]),
        .systemLibrary(name: "CCrypto", providers: [.apt(["libssl-dev"])]),
        .systemLibrary(name: "CCoAP", pkgConfig: "libcoap-3-gnutls", providers: [.apt(["libcoap3-dev"])]),
        .systemLibrary(name: "CHTTPParser", providers: [.apt(["libhttp-parser-dev"])]),
        .systemLibrary(name: "CWslay", providers: [.apt(["libwslay-dev"])]),
        .systemLibrary(name: "CSQLite", providers: [.apt(["libsqlite3-dev"])]),
        .systemLibrary(name: "CMicroHTTPD", providers: [.apt(["libmicrohttpd-dev"])]),
        .systemLibrary(name: "CcJSON", providers: [.apt(["libcjson-dev"])]),

        // The stack.
        .target(
            name: "CKernel",
            cSettings: [.enableWarning("all"), .enableWarning("extra")]
        ),
        .target(name: "Kernel", dependencies: ["CKernel", "CLinux"], swiftSettings: core),
        .target(name: "SAL", dependencies: ["Kernel", "CLinux"], swiftSettings: core),
        .target(name: "ATAdapter", dependencies: ["Kernel", "SAL"], swiftSettings: core),
        .target(name: "SecureTransport", dependencies: ["Kernel", "SAL", "CMbedTLS"], swiftSettings: core),
        .target(
            name: "MQTTClient",
            dependencies: ["Kernel", "SAL", "SecureTransport", "CLinux", "CSQLite", "CHTTPParser", "CWslay"],
            swiftSettings: core
        ),
        .target(
            name: "CoAPClient",
            dependencies: ["Kernel", "SAL", "SecureTransport", "CLinux"],
            swiftSettings: core
        ),
        .target(
            name: "QCloudIoTHub",
            dependencies: [
                "Kernel", "SAL", "ATAdapter", "SecureTransport", "MQTTClient", "CoAPClient", "CLinux", "CcJSON",
            ],
            swiftSettings: core
        ),

        // Simulators and the command line.
        .target(name: "NetworkSimulator", dependencies: ["Kernel", "SAL"], swiftSettings: hosted),
        .target(
            name: "ModemSimulator",
            dependencies: ["Kernel", "SAL", "CLinux", "CPahoMQTT", "CCrypto"],
            swiftSettings: hosted
        ),
        .executableTarget(name: "modem-simulator", dependencies: ["ModemSimulator", "CLinux"], swiftSettings: hosted),
        // Mosquitto loads this product; it cannot be linked into a program, since the broker has the functions it calls.
        .target(
            name: "HubPlugin",
            cSettings: [.define("_GNU_SOURCE"), .enableWarning("all"), .enableWarning("extra")],
            linkerSettings: [.linkedLibrary("crypto"), .linkedLibrary("cjson")]
        ),
        .target(
            name: "HubSimulator",
            dependencies: ["Kernel", "CLinux", "CPahoMQTT", "CCoAP", "CcJSON", "CSQLite", "CCrypto", "CMicroHTTPD"],
            resources: [.embedInCode("Identities/make-hub-identities.sh")],
            swiftSettings: hosted
        ),
        .executableTarget(name: "hub-simulator", dependencies: ["HubSimulator", "CLinux"], swiftSettings: hosted),
        .executableTarget(
            name: "apus",
            dependencies: [
                "Kernel", "SAL", "ATAdapter", "SecureTransport", "MQTTClient", "CoAPClient", "QCloudIoTHub",
                "ModemSimulator", "HubSimulator", "CLinux", "CcJSON",
            ],
            swiftSettings: hosted
        ),

        // Tests.
        .target(
            name: "KernelScenarios",
            dependencies: ["Kernel"],
            path: "Tests/KernelScenarios",
            swiftSettings: core
        ),
        .testTarget(
            name: "KernelTests",
            dependencies: ["Kernel", "KernelScenarios", "CLinux"],
            swiftSettings: hosted
        ),
        .target(name: "CNamespaces", path: "Tests/CNamespaces"),
        .target(
            name: "CPahoScript",
            path: "Tests/CPahoScript",
            cSettings: [.enableWarning("all"), .enableWarning("extra")],
            linkerSettings: [.linkedLibrary("paho-mqtt3a")]
        ),
        .executableTarget(
            name: "socket-server",
            dependencies: ["SAL", "Kernel", "CLinux"],
            path: "Tests/SocketServer",
            swiftSettings: hosted
        ),
        .executableTarget(
            name: "mqtt-survivor",
            dependencies: ["MQTTClient", "SAL", "Kernel"],
            path: "Tests/MQTTSurvivor",
            swiftSettings: hosted
        ),
        .target(name: "CAllocations", path: "Tests/CAllocations"),
        .executableTarget(
            name: "mqtt-allocations",
            dependencies: ["MQTTClient", "SAL", "Kernel", "CAllocations"],
            path: "Tests/MQTTAllocations",
            swiftSettings: hosted
        ),
        .testTarget(
            name: "SALTests",
            dependencies: ["SAL", "NetworkSimulator", "Kernel", "CLinux", "CNamespaces"],
            swiftSettings: hosted
        ),
        .target(
            name: "ModemScenarios",
            dependencies: ["ATAdapter", "SAL", "NetworkSimulator", "Kernel", "ModemSimulator"],
            path: "Tests/ModemScenarios",
            swiftSettings: hosted
        ),
        .testTarget(
            name: "ATAdapterTests",
            dependencies: [
                "ATAdapter", "SAL", "NetworkSimulator", "Kernel", "ModemSimulator", "ModemScenarios", "CLinux",
            ],
            swiftSettings: hosted
        ),
        .testTarget(
            name: "SecureTransportTests",
            dependencies: ["SecureTransport", "SAL", "NetworkSimulator", "Kernel", "CLinux"],
            swiftSettings: hosted
        ),
        .target(
            name: "MQTTScenarios",
            dependencies: ["MQTTClient", "Kernel"],
            path: "Tests/MQTTScenarios",
            swiftSettings: hosted
        ),
        .testTarget(
            name: "MQTTClientTests",
            dependencies: ["MQTTClient", "MQTTScenarios", "NetworkSimulator", "SecureTransport", "SAL", "Kernel"],
            swiftSettings: hosted
        ),
        .testTarget(
            name: "CoAPClientTests",
            dependencies: ["CoAPClient", "SecureTransport", "SAL", "Kernel"],
            swiftSettings: hosted
        ),
        .testTarget(
            name: "QCloudIoTHubTests",
            dependencies: ["QCloudIoTHub", "MQTTClient", "SecureTransport", "NetworkSimulator", "Kernel", "CcJSON"],
            swiftSettings: hosted
        ),
        .testTarget(
            name: "IntegrationTests",
            dependencies: [
                "Kernel", "SAL", "ATAdapter", "SecureTransport", "MQTTClient", "CoAPClient", "QCloudIoTHub",
                "NetworkSimulator", "ModemSimulator", "HubSimulator", "CLinux", "CCoAP", "CcJSON", "CPahoMQTT",
                "CPahoScript",
                "MQTTScenarios",
                "socket-server", "mqtt-survivor",
            ],
            swiftSettings: hosted
        ),
        .testTarget(name: "ModemSimulatorTests", dependencies: ["ModemSimulator", "CLinux"], swiftSettings: hosted),
        .testTarget(
            name: "FirmwareTests",
            dependencies: ["Kernel", "KernelScenarios", "ModemSimulator", "HubSimulator", "CLinux"],
            swiftSettings: hosted
        ),
    ],
    swiftLanguageModes: [.v6]
)
