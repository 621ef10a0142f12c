import Foundation

/// What the detector found of a concept on a frame, in the order of the model's queries.
/// `lost` gave way to better ones: places among all above the threshold, before that.
struct Detections {
    var scores: [Float] = []
    var logits: [Grid] = []
    var lost: [Int] = []
}

func sigmoid(_ x: Float) -> Float { 1 / (1 + exp(-x)) }

/// A query's score as the video model has it: through a logit with probabilities cut at 0.001 from both ends.
func score(logit: Float, presence: Float) -> Float {
    let p = sigmoid(logit) * sigmoid(presence)
    let odds = log(max(p, 0.001) / max(1 - p, 0.001))
    return sigmoid(min(max(odds, -10), 10))
}

/// Detect, keep what scores above the threshold, and of masks that overlap the best.
func find(_ concept: String, in frame: FrameGraphs, _ settings: Settings) throws -> Detections {
    let (logits, presence) = try frame.detect(concept)
    let scores = logits.map { score(logit: $0, presence: presence) }
    let kept = scores.indices.filter { scores[$0] > settings.detection }
    let grids = try frame.draw(kept, of: concept)
    let all = Detections(scores: kept.map { scores[$0] }, logits: grids)
    guard settings.nms > 0 else { return all }
    let stay = survivors(all.scores, grids.map { Region($0.mask) }, most: settings.nms)
    return Detections(
        scores: stay.map { all.scores[$0] }, logits: stay.map { grids[$0] },
        lost: grids.indices.filter { !stay.contains($0) })
}
