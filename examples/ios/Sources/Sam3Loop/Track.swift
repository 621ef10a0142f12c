/// One object that is tracked: who it is, what counts for and against it, and what is remembered of it.
public final class Track {
    public let id: Int
    public let concept: String
    public let born: Int
    public let score: Float
    public internal(set) var history: History
    public internal(set) var keepAlive: Int
    /// Times that no detection covered it, since birth.
    public internal(set) var unmatched = 0
    /// Older objects, and how often one detection was of both; in the order in which they first were.
    var overlaps: [(id: Int, times: Int)] = []
    /// The last frame on which it was empty or gave way, -1 for never, nil as long as it was not tracked.
    public internal(set) var lastHidden: Int?

    init(id: Int, concept: String, born: Int, score: Float, history: History, keepAlive: Int) {
        (self.id, self.concept, self.born, self.score) = (id, concept, born, score)
        (self.history, self.keepAlive) = (history, keepAlive)
    }

    /// Whether hot-start may still say that the object was never there.
    func isYoung(_ frame: Int, _ settings: Settings) -> Bool { born > frame - settings.hotStart }

    func overlapped(_ older: Int) {
        if let place = overlaps.firstIndex(where: { $0.id == older }) {
            overlaps[place].times += 1
        } else {
            overlaps.append((older, 1))
        }
    }
}
