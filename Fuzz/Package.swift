// swift-tools-version: 6.2
import PackageDescription

// Fuzz targets, for libFuzzer: `make fuzz`.
let package = Package(
    name: "apus-fuzz",
    dependencies: [.package(name: "apus", path: "..")],
    targets: [
        .executableTarget(
            name: "fuzz-tls",
            dependencies: [.product(name: "SecureTransport", package: "apus")]
        ),
        .executableTarget(
            name: "fuzz-mqtt",
            dependencies: [.product(name: "MQTTClient", package: "apus")]
        ),
        .executableTarget(
            name: "fuzz-coap",
            dependencies: [
                .product(name: "CoAPClient", package: "apus"), .product(name: "SAL", package: "apus"),
            ]
        ),
        .executableTarget(
            name: "model-mqtt",
            dependencies: [.product(name: "MQTTScenarios", package: "apus")]
        ),
    ],
    swiftLanguageModes: [.v6]
)
