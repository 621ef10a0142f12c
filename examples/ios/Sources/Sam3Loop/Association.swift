/// Which detections are of which tracks, both by their places, for one concept on one frame.
struct Association {
    var new: [Int] = []  // detections that are objects of their own
    var matched: [(detection: Int, tracks: [Int])] = []  // rising, both
    var unmatched: [Int] = []  // tracks that are seen and not covered
    var empty: [Int] = []  // tracks that are not seen
    var sure: [Int: Int] = [:]  // by track: the last of the detections that are good enough to recondition it

    func detections(of track: Int) -> [Int] {
        matched.filter { $0.tracks.contains(track) }.map(\.detection)
    }
}

/// Without any track every detection is new, whatever it scores.
func associate(_ found: Detections, with tracks: [Grid], _ settings: Settings) -> Association {
    var pair = Association()
    guard !tracks.isEmpty else {
        pair.new = Array(found.scores.indices)
        return pair
    }
    let regions = tracks.map { Region($0.mask) }
    let iou = found.logits.map { logits in
        let region = Region(logits.mask)
        return regions.map { region.iou($0) }
    }
    for (place, region) in regions.enumerated() {
        if region.area == 0 {
            pair.empty.append(place)
        } else if !iou.contains(where: { $0[place] >= settings.cover }) {
            pair.unmatched.append(place)
        }
    }
    for (detection, row) in iou.enumerated() {
        let hits = row.indices.filter { row[$0] >= settings.match }
        let best = row.indices.reduce(0) { row[$1] > row[$0] ? $1 : $0 }
        let new = hits.isEmpty && found.scores[detection] >= settings.birth
        if new { pair.new.append(detection) }
        if !hits.isEmpty { pair.matched.append((detection, hits)) }
        if !new, found.scores[detection] >= settings.sureScore, row[best] >= settings.sureIou {
            pair.sure[best] = detection
        }
    }
    return pair
}

/// The new detections that there is room for: all in their order, or the best, best first.
func room(for new: [Int], _ scores: [Float], free: Int) -> [Int] {
    new.count <= free ? new : Array(new.sorted { scores[$0] > scores[$1] }.prefix(max(free, 0)))
}
