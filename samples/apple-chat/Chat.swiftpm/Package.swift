// swift-tools-version: 5.9
import AppleProductTypes
import PackageDescription

let package = Package(
    name: "Chat",
    platforms: [.iOS("16.0")],
    products: [
        .iOSApplication(
            name: "Chat",
            targets: ["Chat"],
            bundleIdentifier: "ai.bitexport.sample.chat",
            teamIdentifier: "",
            displayVersion: "1.0",
            bundleVersion: "1",
            supportedDeviceFamilies: [.pad, .phone],
            supportedInterfaceOrientations: [.portrait, .landscapeLeft, .landscapeRight]
        )
    ],
    dependencies: [
        // What `bitexport package out --apple -o package` wrote.
        .package(path: "../package")
    ],
    targets: [
        .executableTarget(
            name: "Chat",
            dependencies: [
                .product(name: "Bitexport", package: "package"),
                .product(name: "BitexportModels", package: "package"),
            ],
            path: "Sources"
        )
    ]
)
