// swift-tools-version: 6.2
import PackageDescription

// Fuzz targets, for libFuzzer: `make fuzz`.
let package = Package(
    name: "apus-fuzz",
    dependencies: [.package(name: "apus", path: "..")],
    targets: [
        .target(name: "FuzzDriver"),
        .executableTarget(
            name: "fuzz-tls",
            dependencies: ["FuzzDriver", .product(name: "SecureTransport", package: "apus")]
        ),
        .executableTarget(
            name: "fuzz-mqtt",
            dependencies: ["FuzzDriver", .product(name: "MQTTClient", package: "apus")]
        ),
        .executableTarget(
            name: "fuzz-at",
            dependencies: [
                "FuzzDriver", .product(name: "ATAdapter", package: "apus"), .product(name: "SAL", package: "apus"),
                .product(name: "Kernel", package: "apus"),
            ]
        ),
        .executableTarget(
            name: "fuzz-coap",
            dependencies: [
                "FuzzDriver", .product(name: "CoAPClient", package: "apus"), .product(name: "SAL", package: "apus"),
            ]
        ),
        .executableTarget(
            name: "model-mqtt",
            dependencies: [.product(name: "MQTTScenarios", package: "apus")]
        ),
        .executableTarget(
            name: "model-modem",
            dependencies: [
                .product(name: "ModemScenarios", package: "apus"), .product(name: "ModemSimulator", package: "apus"),
            ]
        ),
    ],
    swiftLanguageModes: [.v6]
)
