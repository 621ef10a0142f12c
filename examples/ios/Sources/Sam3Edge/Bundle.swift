// Not compiled here.
import CryptoKit
import Foundation

/// What is wrong with a bundle, in words for its user.
public struct BundleError: Error, CustomStringConvertible {
    public let description: String
}

/// A folder that `sam3-edge export --target coreml` wrote. Opening it checks `bundle.json` against
/// `bundle.sha256`, and every file of a graph against `bundle.json` before Core ML sees it.
public struct EdgeBundle {
    public struct Graph: Decodable {
        public let path: String
        public let function: String?
    }

    struct Record: Decodable {
        let path: String
        let bytes: Int
        let sha256: String
    }

    struct Manifest: Decodable {
        let target: String
        let graphs: [String: Graph]
        let files: [Record]
        let config: Config
    }

    /// The numbers of `config` that running the graphs needs (`sam3_edge/spec.py` has all).
    public struct Config: Decodable {
        public let image_size: Int
        public let patch_size: Int
        public let text_length: Int
        public let max_boxes: Int
        public let roi_size: Int
        public let dim: Int
        public let queries: Int
        public let mask_queries: Int
        public var grid: Int { image_size / patch_size }
        public var promptLength: Int { text_length + max_boxes + 1 }
    }

    public let folder: URL
    public let config: Config
    let manifest: Manifest

    public init(at folder: URL) throws {
        let data = try Data(contentsOf: folder.appendingPathComponent("bundle.json"))
        let seal = try String(contentsOf: folder.appendingPathComponent("bundle.sha256"), encoding: .utf8)
        guard seal == "\(hex(SHA256.hash(data: data)))  bundle.json\n" else {
            throw BundleError(description: "\(folder.path): bundle.json and bundle.sha256 do not match: copy it again")
        }
        manifest = try JSONDecoder().decode(Manifest.self, from: data)
        guard manifest.target == "coreml" else {
            throw BundleError(description: "\(folder.path) is for \(manifest.target): export it with --target coreml")
        }
        self.folder = folder
        config = manifest.config
    }

    /// The package of a graph and its function for so many objects, 1 or 4 (`sam3_edge/buckets.py`), after hashing
    /// every file in it. For iOS 18 that is a function of one package, for iOS 17 a package of its own.
    public func package(_ graph: String, objects: Int = 1) throws -> (url: URL, function: String?) {
        guard let found = manifest.graphs[graph] else {
            throw BundleError(description: "the bundle has no graph \(graph)")
        }
        let path = found.path.replacingOccurrences(of: "/objects_1.", with: "/objects_\(objects).")
        for record in manifest.files where record.path.hasPrefix(path + "/") {
            let data = try Data(contentsOf: folder.appendingPathComponent(record.path), options: .mappedIfSafe)
            guard data.count == record.bytes, hex(SHA256.hash(data: data)) == record.sha256 else {
                throw BundleError(description: "\(record.path) is damaged: copy the bundle again")
            }
        }
        return (folder.appendingPathComponent(path), found.function.map { _ in "objects_\(objects)" })
    }
}

func hex(_ digest: SHA256.Digest) -> String {
    digest.map { String(format: "%02x", $0) }.joined()
}
