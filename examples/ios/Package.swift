// swift-tools-version: 5.9
import PackageDescription

// The loop and its check build wherever Swift does; what needs Core ML, on Apple's systems only.
var products: [Product] = [
    .library(name: "Sam3Loop", targets: ["Sam3Loop"]),
    .executable(name: "conformance", targets: ["Conformance"]),
]
var targets: [Target] = [
    .target(name: "Sam3Loop"),
    .systemLibrary(name: "CZlib"),  // to open .npz files; the loop itself does not need it
    .executableTarget(name: "Conformance", dependencies: ["Sam3Loop", "CZlib"]),
]
#if canImport(CoreML)
    products.append(.library(name: "Sam3Edge", targets: ["Sam3Edge"]))
    targets.append(.target(name: "Sam3Edge", dependencies: ["Sam3Loop"]))
#endif

let package = Package(
    name: "Sam3Edge",
    platforms: [.iOS(.v17), .macOS(.v14)],
    products: products,
    targets: targets
)
