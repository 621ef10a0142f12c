/// The video loop: detect, track, associate, remember, frame by frame, with one identity for each object.
///
/// A port of `sam3_edge/loop/`; what is drawn by hand (points, boxes, masks, corrections) is not in it.
public final class Loop {
    let settings: Settings
    let sizes: MemorySizes
    private(set) var concepts: [String] = []
    /// The objects, by rising id: what the next frame knows of them.
    public internal(set) var tracks: [Track] = []
    public private(set) var index = 0
    private var nextId = 0
    private var fresh: Set<String> = []  // asked since the last frame

    public init(settings: Settings, sizes: MemorySizes) {
        self.settings = settings
        self.sizes = sizes
    }

    /// Look for one more phrase from the next frame on.
    public func add(_ concept: String) {
        guard !concepts.contains(concept) else { return }
        concepts.append(concept)
        fresh.insert(concept)
    }

    /// The next frame. Objects that hot-start takes back later are in it: `Delayed` waits for that.
    public func step(_ frame: FrameGraphs) throws -> Draft {
        let isDue = index % settings.every == 0
        var found: [(concept: String, detections: Detections)] = []
        for concept in concepts where isDue || fresh.contains(concept) {
            found.append((concept, try find(concept, in: frame, settings)))
        }
        fresh.removeAll()
        let update = Update(self, frame, found: found)
        try update.run()
        index += 1
        return update.draft
    }

    var free: Int { settings.maxObjects - tracks.count }

    func begin(_ concept: String, score: Float) -> Track {
        let track = Track(
            id: nextId, concept: concept, born: index, score: score, history: History(sizes),
            keepAlive: settings.keepAlive)
        nextId += 1
        tracks.append(track)
        return track
    }
}
