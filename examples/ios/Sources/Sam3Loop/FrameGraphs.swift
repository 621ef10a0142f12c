/// What the loop asks of the graphs on one frame. An implementation runs Core ML, or answers from a recording.
public protocol FrameGraphs {
    /// Graph `detector`: a logit for each query, and the logit that the concept is there at all.
    func detect(_ concept: String) throws -> (logits: [Float], presence: Float)

    /// Graph `masks`: mask logits of some queries, in their order.
    func draw(_ queries: [Int], of concept: String) throws -> [Grid]

    /// Graph `tracker_step`, for every object, in their order.
    func follow(_ looks: [Look]) throws -> [Seen]

    /// Graphs `memorize` and `tracker_init`: put this frame into the slots.
    func remember(_ keeps: [Keep]) throws

    /// An object is gone, and with it what is remembered of it.
    func forget(_ id: Int)
}

/// An object that is looked for, and what of its memories the frame sees.
public struct Look {
    public let id: Int
    public let choice: Choice
}

/// Where an object is: mask logits, the logit that it is there, and the model's guess of the mask's IoU.
public struct Seen {
    public let logits: Grid
    public let score, iou: Float

    public init(logits: Grid, score: Float, iou: Float) {
        (self.logits, self.score, self.iou) = (logits, score, iou)
    }

    /// How much the frame is worth remembering, 0 to 1: presence times IoU.
    var quality: Float { score > 0 ? (sigmoid(score) * 2 - 1) * iou : 0 }
}

/// What is to be remembered of an object: a mask, into `memory`'s slots. The pointer is the one that `follow` gave
/// just now, or made anew from a detection (`drawn`). `isHard`: the mask is a detection's and only its sign counts.
public struct Keep {
    public let id: Int
    public let memory: Memory
    public let logits: Grid
    public let isPresent: Bool
    public let isHard: Bool
    public let drawn: Grid?
}
