/// One object as a user sees it, in pixels of the frame. `box` holds all of it, also what another object hides.
public struct Seeing {
    public let id: Int
    public let concept: String
    public let score, presence: Float
    public let box: Window
    public internal(set) var mask: Mask
}

/// The objects of a frame, by rising id. Those without a pixel are left out, and those that `never` were. Where
/// objects of one concept overlap, the one that is more surely present has the pixel, the first of equals.
public func render(_ draft: Draft, height: Int, width: Int, never: Set<Int> = []) -> [Seeing] {
    var seeings: [Seeing] = []
    for (id, shown) in draft.objects.sorted(by: { $0.key < $1.key })
    where !draft.hidden.contains(id) && !never.contains(id) {
        let mask = shown.logits.enlarged(height: height, width: width)
        guard let box = mask.bounds else { continue }
        seeings.append(
            Seeing(
                id: id, concept: shown.concept, score: shown.score, presence: shown.presence, box: box, mask: mask))
    }
    let order = seeings.indices.sorted {
        (-seeings[$0].presence, $0) < (-seeings[$1].presence, $1)
    }
    for (rank, low) in order.enumerated() {
        for high in order[..<rank] where seeings[high].concept == seeings[low].concept {
            guard let both = seeings[high].box.meeting(seeings[low].box) else { continue }
            for y in both.top..<both.bottom {
                for x in both.left..<both.right where seeings[high].mask.pixels[y * width + x] {
                    seeings[low].mask.pixels[y * width + x] = false
                }
            }
        }
    }
    return seeings
}

/// The offline policy: frames wait for the hot-start window, and then nothing is ever taken back.
public struct Delayed {
    private let frames: Int
    private var waiting: [Draft] = []
    private var never: [Int: Int] = [:]  // retracted ids, and the frame on which they were

    public init(frames: Int) { self.frames = frames }

    /// The next frame goes in; the oldest that is ripe comes out, with the ids that never were.
    public mutating func hold(_ draft: Draft) -> (draft: Draft, never: Set<Int>)? {
        waiting.append(draft)
        for event in draft.events where event.kind == .retraction { never[event.id] = draft.index }
        return waiting.count >= frames ? tell() : nil
    }

    /// All frames that still wait: the video is over.
    public mutating func finish() -> [(draft: Draft, never: Set<Int>)] {
        waiting.indices.map { _ in tell() }
    }

    private mutating func tell() -> (draft: Draft, never: Set<Int>) {
        let draft = waiting.removeFirst(), unseen = Set(never.keys)
        never = never.filter { $0.value > draft.index }
        return (draft, unseen)
    }
}
