// swift-tools-version: 6.2
import PackageDescription

let package = Package(
    name: "apus-benchmarks",
    dependencies: [.package(name: "apus", path: "..")],
    targets: [
        // Does each measurement in a process of its own.
        .target(name: "Jobs"),
        // libpaho-mqtt-dev, libmosquitto-dev, libssl-dev
        .target(
            name: "CMQTTPeers",
            cSettings: [.unsafeFlags(["-O2"])],
            linkerSettings: ["paho-mqtt3as", "mosquitto", "ssl", "crypto"].map { .linkedLibrary($0) }
        ),
        .executableTarget(
            name: "bench-mqtt",
            dependencies: [
                "CMQTTPeers", "Jobs", .product(name: "Kernel", package: "apus"), .product(name: "SAL", package: "apus"),
                .product(name: "MQTTClient", package: "apus"), .product(name: "SecureTransport", package: "apus"),
            ]
        ),
        // libcoap3-dev, libssl-dev
        .target(
            name: "CCoAPPeers",
            cSettings: [.unsafeFlags(["-O2"])],
            linkerSettings: ["coap-3-openssl", "ssl", "crypto"].map { .linkedLibrary($0) }
        ),
        .executableTarget(
            name: "bench-coap",
            dependencies: [
                "CCoAPPeers", "Jobs", .product(name: "Kernel", package: "apus"),
                .product(name: "SAL", package: "apus"), .product(name: "CoAPClient", package: "apus"),
                .product(name: "SecureTransport", package: "apus"),
            ]
        ),
        .executableTarget(
            name: "bench-at",
            dependencies: [
                "Jobs", .product(name: "Kernel", package: "apus"), .product(name: "SAL", package: "apus"),
                .product(name: "ATAdapter", package: "apus"),
            ]
        ),
        .target(
            name: "CTLSPeers",
            cSettings: [.unsafeFlags(["-O2"])],
            linkerSettings: [.linkedLibrary("mbedtls"), .linkedLibrary("mbedx509"), .linkedLibrary("mbedcrypto")]
        ),
        .executableTarget(
            name: "bench-tls",
            dependencies: [
                "CTLSPeers", .product(name: "Kernel", package: "apus"), .product(name: "SAL", package: "apus"),
                .product(name: "SecureTransport", package: "apus"),
            ]
        ),
        .target(name: "CSALPeers", cSettings: [.unsafeFlags(["-O2"])]),
        .executableTarget(
            name: "bench-sal",
            dependencies: [
                "CSALPeers", .product(name: "Kernel", package: "apus"), .product(name: "SAL", package: "apus"),
            ]
        ),
        .target(name: "CKernelPeers", cSettings: [.unsafeFlags(["-O2"])]),
        .executableTarget(
            name: "bench-kernel",
            dependencies: ["CKernelPeers", .product(name: "Kernel", package: "apus")]
        ),
    ],
    swiftLanguageModes: [.v6]
)
