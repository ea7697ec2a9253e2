// swift-tools-version: 6.2
import PackageDescription

let package = Package(
    name: "apus-examples",
    dependencies: [.package(name: "apus", path: "..")],
    targets: [
        .executableTarget(
            name: "gateway",
            dependencies: [
                .product(name: "Kernel", package: "apus"), .product(name: "SAL", package: "apus"),
                .product(name: "MQTTClient", package: "apus"), .product(name: "QCloudIoTHub", package: "apus"),
                .product(name: "SecureTransport", package: "apus"),
            ]
        ),
        .executableTarget(
            name: "thermostat",
            dependencies: [
                .product(name: "Kernel", package: "apus"), .product(name: "SAL", package: "apus"),
                .product(name: "QCloudIoTHub", package: "apus"), .product(name: "SecureTransport", package: "apus"),
            ]
        ),
        .executableTarget(
            name: "readings",
            dependencies: [.product(name: "Kernel", package: "apus"), .product(name: "MQTTClient", package: "apus")]
        ),
        .executableTarget(
            name: "echo-server",
            dependencies: [.product(name: "Kernel", package: "apus"), .product(name: "SAL", package: "apus")]
        ),
        .executableTarget(name: "tasks", dependencies: [.product(name: "Kernel", package: "apus")]),
    ],
    swiftLanguageModes: [.v6]
)
