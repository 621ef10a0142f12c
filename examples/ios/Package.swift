// swift-tools-version: 5.9
// Not compiled here: no Mac was at hand. What it says of bundles and graphs is what the tests check in Python.
import PackageDescription

let package = Package(
    name: "Sam3Edge",
    platforms: [.iOS(.v18), .macOS(.v15)],
    products: [.library(name: "Sam3Edge", targets: ["Sam3Edge"])],
    targets: [.target(name: "Sam3Edge")]
)
