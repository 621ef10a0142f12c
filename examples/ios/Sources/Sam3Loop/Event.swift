/// Something that happened on a frame; `sam3_edge/loop/events.py` says what each kind means. `id` is an object's, -1
/// where none is meant; `about` are other objects' ids, or places among the frame's detections.
public struct Event {
    public enum Kind: String {
        case birth, match, unmatched, empty, hole, nms, recondition, suppression, shrink, hidden, retraction, dropped
    }

    public let kind: Kind
    public let id: Int
    public let about: [Int]
    public let concept: String
}

/// One object on one frame, before it is drawn.
public struct Shown {
    public let concept: String
    public let logits: Grid
    public let score: Float  // of the detection that it was born from
    public let presence: Float  // how sure the tracker is to see it, 0 to 1
}

/// A frame before it is shown: all objects, also those that may turn out never to have been.
public struct Draft {
    public let index: Int
    public internal(set) var objects: [Int: Shown] = [:]
    public internal(set) var hidden: Set<Int> = []
    public internal(set) var events: [Event] = []
}
