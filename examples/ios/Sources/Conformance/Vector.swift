import Foundation
import Sam3Loop

/// One clip of `docs/conformance.md`: what the graphs answer, and what a loop must come to.
struct Vector {
    let info: Info
    private let arrays: [String: (shape: [Int], values: [Float])]

    struct Info: Decodable {
        let format: Int
        let phrase: String
        let size: [Int]
        let steps: [String: Float]
        let config: Config
        let settings: Settings
        let frames: [Frame]
    }

    struct Config: Decodable {
        let queries, memorySlots, pointerSlots, memoryTimes: Int
    }

    struct Frame: Decodable {
        let frame: Int
        let detections: [Int]
        let tracked: Tracked
        let expected: Expected
    }

    /// [first row, ids]
    struct Tracked: Decodable {
        let first: Int
        let ids: [Int]

        init(from decoder: Decoder) throws {
            var list = try decoder.unkeyedContainer()
            (first, ids) = (try list.decode(Int.self), try list.decode([Int].self))
        }
    }

    init(_ folder: URL, _ name: String) throws {
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        let data = try Data(contentsOf: folder.appendingPathComponent("\(name).json"))
        info = try decoder.decode(Info.self, from: data)
        guard info.format == 1 else { throw FileError(description: "\(name): format \(info.format), want 1") }
        let archive = try Archive(folder.appendingPathComponent("\(name).npz"))
        let names = ["detector_logits", "detector_presence", "detected_masks", "tracked_masks", "object_score", "iou"]
        arrays = Dictionary(uniqueKeysWithValues: try names.map { ($0, try archive.array($0)) })
    }

    /// Some rows of an array, one after the other.
    func rows(_ name: String, _ first: Int, _ count: Int = 1) -> ArraySlice<Float> {
        let (shape, values) = arrays[name]!
        let length = shape.dropFirst().reduce(1, *)
        return values[first * length..<(first + count) * length]
    }

    /// One row of an array of masks.
    func grid(_ name: String, _ row: Int) -> Grid {
        // A dictionary's keys are converted as well.
        let shape = arrays[name]!.shape, step = info.steps[name] ?? info.steps[camel(name)]!
        return Grid(height: shape[1], width: shape[2], values: rows(name, row).map { $0 * step })
    }

    private func camel(_ name: String) -> String {
        let words = name.split(separator: "_")
        return words[0] + words.dropFirst().map(\.capitalized).joined()
    }
}

/// The graphs of one frame, answered from a vector.
final class Replayed: FrameGraphs {
    private let vector: Vector
    private let frame: Vector.Frame

    init(_ vector: Vector, _ frame: Vector.Frame) { (self.vector, self.frame) = (vector, frame) }

    func detect(_ concept: String) -> (logits: [Float], presence: Float) {
        let presence = vector.rows("detector_presence", frame.frame).first!
        return (Array(vector.rows("detector_logits", frame.frame)), presence)
    }

    func draw(_ queries: [Int], of concept: String) throws -> [Grid] {
        guard queries.count == frame.detections[1] else {
            throw FileError(description: "\(queries.count) detections, want \(frame.detections[1])")
        }
        return queries.indices.map { vector.grid("detected_masks", frame.detections[0] + $0) }
    }

    func follow(_ looks: [Look]) throws -> [Seen] {
        guard looks.map(\.id) == frame.tracked.ids else {
            throw FileError(description: "follows \(looks.map(\.id)), want \(frame.tracked.ids)")
        }
        return looks.indices.map { place in
            let row = frame.tracked.first + place
            return Seen(
                logits: vector.grid("tracked_masks", row), score: vector.rows("object_score", row).first!,
                iou: vector.rows("iou", row).first!)
        }
    }

    func remember(_ keeps: [Keep]) {}

    func forget(_ id: Int) {}
}
