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
        // What the processor begins with: an image has one of these.
        .target(name: "LoopVectors", dependencies: ["Startup"]),
        .target(name: "TaskVectors", dependencies: ["Startup"]),
        .target(name: "Markers"),
        .target(
            name: "Board",
            dependencies: [
                "Startup", .product(name: "Kernel", package: "apus"), .product(name: "SAL", package: "apus"),
                .product(name: "SecureTransport", package: "apus"),
            ],
            swiftSettings: firmware
        ),
        .executableTarget(
            name: "hello",
            dependencies: [
                "Startup", "LoopVectors", "Board", .product(name: "Kernel", package: "apus"),
                .product(name: "SAL", package: "apus"),
                .product(name: "SecureTransport", package: "apus"),
            ],
            swiftSettings: firmware
        ),
        .executableTarget(name: "faults", dependencies: ["Startup", "LoopVectors", "Board"], swiftSettings: firmware),
        .executableTarget(
            name: "publish",
            dependencies: [
                "Startup", "LoopVectors", "Board", .product(name: "Kernel", package: "apus"),
                .product(name: "SAL", package: "apus"),
                .product(name: "ATAdapter", package: "apus"), .product(name: "MQTTClient", package: "apus"),
            ],
            swiftSettings: firmware
        ),
        .executableTarget(
            name: "straight",
            dependencies: [
                "Startup", "LoopVectors", "Board", .product(name: "Kernel", package: "apus"),
                .product(name: "SAL", package: "apus"),
                .product(name: "ATAdapter", package: "apus"), .product(name: "MQTTClient", package: "apus"),
            ],
            swiftSettings: firmware
        ),
        .executableTarget(
            name: "services",
            dependencies: [
                "Startup", "LoopVectors", "Board", .product(name: "QCloudIoTHub", package: "apus"),
                .product(name: "Kernel", package: "apus"),
            ],
            swiftSettings: firmware
        ),
        .executableTarget(
            name: "coap",
            dependencies: [
                "Startup", "LoopVectors", "Board", .product(name: "Kernel", package: "apus"),
                .product(name: "SAL", package: "apus"),
                .product(name: "ATAdapter", package: "apus"), .product(name: "CoAPClient", package: "apus"),
            ],
            swiftSettings: firmware
        ),
        .target(
            name: "MainJob",
            dependencies: [
                "Board", .product(name: "Kernel", package: "apus"), .product(name: "SAL", package: "apus"),
                .product(name: "ATAdapter", package: "apus"), .product(name: "MQTTClient", package: "apus"),
                .product(name: "SecureTransport", package: "apus"), .product(name: "QCloudIoTHub", package: "apus"),
            ],
            swiftSettings: firmware
        ),
        .executableTarget(
            name: "main-job",
            dependencies: ["Startup", "LoopVectors", "MainJob", .product(name: "ATAdapter", package: "apus")],
            swiftSettings: firmware
        ),
        .executableTarget(
            name: "main-job-quectel",
            dependencies: ["Startup", "LoopVectors", "MainJob", .product(name: "ATAdapter", package: "apus")],
            swiftSettings: firmware
        ),
        .executableTarget(
            name: "tls-client",
            dependencies: [
                "Startup", "LoopVectors", "Board", .product(name: "Kernel", package: "apus"),
                .product(name: "SAL", package: "apus"), .product(name: "SecureTransport", package: "apus"),
            ],
            swiftSettings: firmware
        ),
        .executableTarget(
            name: "kernel-bench",
            dependencies: ["Startup", "TaskVectors", "Markers", .product(name: "Kernel", package: "apus")],
            swiftSettings: firmware
        ),
        .executableTarget(
            name: "kernel-ipc",
            dependencies: ["Startup", "TaskVectors", .product(name: "Kernel", package: "apus")],
            swiftSettings: firmware
        ),
        .executableTarget(
            name: "kernel-minimum",
            dependencies: ["Startup", "TaskVectors", .product(name: "Kernel", package: "apus")],
            swiftSettings: firmware
        ),
        .executableTarget(
            name: "kernel-tests",
            dependencies: [
                "Startup", "TaskVectors", "Board", .product(name: "Kernel", package: "apus"),
                .product(name: "KernelScenarios", package: "apus"),
            ],
            swiftSettings: firmware
        ),
    ],
    swiftLanguageModes: [.v6]
)
