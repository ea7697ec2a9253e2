// swift-tools-version: 6.2
import PackageDescription

let firmware: [SwiftSetting] = [
    .enableUpcomingFeature("ExistentialAny"), .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
]

let package = Package(
    name: "apus-firmware",
    dependencies: [.package(name: "apus", path: "..")],
    targets: [
        .target(name: "Startup"),
        .target(
            name: "Board",
            dependencies: [
                "Startup", .product(name: "Kernel", package: "apus"), .product(name: "SAL", package: "apus"),
            ],
            swiftSettings: firmware
        ),
        .executableTarget(
            name: "hello",
            dependencies: [
                "Startup", "Board", .product(name: "Kernel", package: "apus"), .product(name: "SAL", package: "apus"),
                .product(name: "SecureTransport", package: "apus"),
            ],
            swiftSettings: firmware
        ),
        .executableTarget(name: "faults", dependencies: ["Startup", "Board"], swiftSettings: firmware),
        .executableTarget(
            name: "publish",
            dependencies: [
                "Startup", "Board", .product(name: "Kernel", package: "apus"), .product(name: "SAL", package: "apus"),
                .product(name: "ATAdapter", package: "apus"), .product(name: "MQTTClient", package: "apus"),
            ],
            swiftSettings: firmware
        ),
        .executableTarget(
            name: "main-job",
            dependencies: [
                "Startup", "Board", .product(name: "Kernel", package: "apus"), .product(name: "SAL", package: "apus"),
                .product(name: "ATAdapter", package: "apus"), .product(name: "MQTTClient", package: "apus"),
                .product(name: "QCloudIoTHub", package: "apus"),
            ],
            swiftSettings: firmware
        ),
    ],
    swiftLanguageModes: [.v6]
)
