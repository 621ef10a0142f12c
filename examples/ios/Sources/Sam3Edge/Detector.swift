// Not compiled here.
import CoreML
import CoreVideo
import Vision

/// What the detector says of one phrase in one picture, every query of it.
public struct Detections {
    public let scores: [Float]  // sigmoid(logit) x sigmoid(presence)
    public let boxes: [SIMD4<Float>]  // xyxy, fractions of the picture
}

/// Phrases in pictures, without example boxes: one backbone run for a picture, then as many phrases as wanted.
public struct Detector {
    let graphs: Graphs
    let config: EdgeBundle.Config

    public init(graphs: Graphs) {
        self.graphs = graphs
        config = graphs.bundle.config
    }

    /// A picture of any size and format, in a bundle that was exported with `--image-input`. Core ML scales it, with
    /// another filter than `sam3_edge/picture.py`: for equal answers, scale it that way before.
    public func embed(_ picture: CGImage) async throws -> [String: MLFeatureValue] {
        let constraint = try await graphs.model("backbone").modelDescription.inputDescriptionsByName["image"]
        guard let constraint = constraint?.imageConstraint else {
            throw BundleError(description: "the backbone takes no picture: export with --image-input")
        }
        let options: [MLFeatureValue.ImageOption: Any] = [.cropAndScale: VNImageCropAndScaleOption.scaleFill.rawValue]
        return try await embed(MLFeatureValue(cgImage: picture, constraint: constraint, options: options))
    }

    /// A camera's frame of the model's size, in such a bundle; the normalisation is in the graph.
    public func embed(_ frame: CVPixelBuffer) async throws -> [String: MLFeatureValue] {
        try await embed(MLFeatureValue(pixelBuffer: frame))
    }

    /// In other bundles: RGB planes [1, 3, H, H] in [-1, 1], half precision.
    public func embed(_ image: MLMultiArray) async throws -> [String: MLFeatureValue] {
        try await embed(MLFeatureValue(multiArray: image))
    }

    private func embed(_ image: MLFeatureValue) async throws -> [String: MLFeatureValue] {
        let trunk = try await graphs.run("backbone", ["image": image])
        return try await graphs.run("detector_features", trunk)
    }

    /// `tokens`: the phrase's token ids, padded with zeros; `count`: how many of them count.
    public func detect(_ tokens: [Int32], count: Int, in features: [String: MLFeatureValue]) async throws -> Detections {
        let ids = try MLMultiArray(shape: [1, NSNumber(value: config.text_length)], dataType: .int32)
        for (place, token) in tokens.enumerated() { ids[place] = NSNumber(value: token) }
        let text = try await graphs.run("text", ["token_ids": MLFeatureValue(multiArray: ids)])
        let image = try await exemplar(features)
        let prompt = try joined(text["text_tokens"]!.multiArrayValue!, image)
        let bias = try array([1, 1, 1, config.promptLength]) { place in
            let isWord = place < count
            let isImage = place == config.promptLength - 1
            return isWord || isImage ? 0 : masked
        }
        let found = try await graphs.run("detector", [
            "features_1x": features["features_1x"]!,
            "prompt": MLFeatureValue(multiArray: prompt),
            "prompt_bias": MLFeatureValue(multiArray: bias),
        ])
        return read(found)
    }

    /// The tokens that stand for no box, and the one that the picture gives.
    private func exemplar(_ features: [String: MLFeatureValue]) async throws -> MLMultiArray {
        let k = config.max_boxes
        let pool = [1, k, config.roi_size, config.grid]
        let feeds = [
            "features_1x": features["features_1x"]!,
            "boxes": MLFeatureValue(multiArray: try array([1, k, 4], dataType: .float32) { _ in 0 }),
            "labels": MLFeatureValue(multiArray: try array([1, k]) { _ in 0 }),
            "exemplar_bias": MLFeatureValue(multiArray: try array([1, 1, 1, k + 1]) { $0 == k ? 0 : masked }),
            "pool_y": MLFeatureValue(multiArray: try array(pool) { _ in 0 }),
            "pool_x": MLFeatureValue(multiArray: try array(pool) { _ in 0 }),
        ]
        return try await graphs.run("exemplar", feeds)["exemplar_tokens"]!.multiArrayValue!
    }

    private func joined(_ text: MLMultiArray, _ image: MLMultiArray) throws -> MLMultiArray {
        let words = config.text_length * config.dim
        return try array([1, config.promptLength, config.dim]) { place in
            place < words ? text[place].floatValue : image[place - words].floatValue
        }
    }

    private func read(_ found: [String: MLFeatureValue]) -> Detections {
        let logits = found["logits"]!.multiArrayValue!, boxes = found["boxes"]!.multiArrayValue!
        let presence = sigmoid(found["presence"]!.multiArrayValue![0].floatValue)
        return Detections(
            scores: (0..<config.queries).map { sigmoid(logits[$0].floatValue) * presence },
            boxes: (0..<config.queries).map { query in
                SIMD4((0..<4).map { boxes[4 * query + $0].floatValue })
            }
        )
    }
}

let masked: Float = -1e4  // `sam3_edge.spec.MASKED`

func sigmoid(_ x: Float) -> Float { 1 / (1 + exp(-x)) }

/// An array made number by number, in half precision unless asked otherwise.
func array(
    _ shape: [Int], dataType: MLMultiArrayDataType = .float16, _ value: (Int) -> Float
) throws -> MLMultiArray {
    let made = try MLMultiArray(shape: shape.map { NSNumber(value: $0) }, dataType: dataType)
    for place in 0..<made.count { made[place] = NSNumber(value: value(place)) }
    return made
}
