// Drives the loop through the vectors of docs/conformance: conformance FOLDER. Exits 1 where it differs.
import Foundation

let folder = URL(fileURLWithPath: CommandLine.arguments.dropFirst().first ?? "../../docs/conformance")
do {
    let names = try FileManager.default.contentsOfDirectory(atPath: folder.path)
        .filter { $0.hasSuffix(".json") }.map { String($0.dropLast(5)) }.sorted()
    guard !names.isEmpty else { throw FileError(description: "\(folder.path): there is no vector") }
    var isRight = true
    for name in names {
        let vector = try Vector(folder, name)
        let found = try differences(vector)
        print("\(name): \(vector.info.frames.count) frames, \(found.isEmpty ? "equal" : "\(found.count) differ")")
        found.prefix(10).forEach { print("  \($0)") }
        isRight = isRight && found.isEmpty
    }
    exit(isRight ? 0 : 1)
} catch {
    FileHandle.standardError.write(Data("\(error)\n".utf8))
    exit(1)
}
