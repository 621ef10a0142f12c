private let never = -1
private let removed = 1_000_000_000  // later than any frame: who goes on its first frame gives way to all others

/// Bring the counters of a concept's tracks up to `frame`.
func count(_ tracks: [Track], _ found: Association, _ frame: Int, _ settings: Settings) {
    for place in Set(found.matched.flatMap(\.tracks)) {
        tracks[place].keepAlive = min(settings.mostAlive, tracks[place].keepAlive + 1)
    }
    found.unmatched.forEach { tracks[$0].unmatched += 1 }
    for place in found.unmatched + (settings.tireEmpty ? found.empty : []) {
        tracks[place].keepAlive = max(settings.leastAlive, tracks[place].keepAlive - 1)
    }
    for (_, places) in found.matched {
        let oldest = places.map { tracks[$0] }.min { $0.born < $1.born }!
        for track in places.map({ tracks[$0] }) where track !== oldest && track.isYoung(frame, settings) {
            track.overlapped(oldest.id)
        }
    }
    for track in tracks where !track.isYoung(frame, settings) { track.overlaps.removeAll() }
}

/// The tracks that hot-start removes, by id: nothing for unmatched ones, the older id for duplicates.
func doubtful(_ tracks: [Track], _ frame: Int, _ settings: Settings) -> [Int: [Int]] {
    var gone: [Int: [Int]] = [:]
    for track in tracks where track.isYoung(frame, settings) {
        if track.unmatched >= settings.looks(settings.hotUnmatched) {
            gone[track.id] = []
        } else if let twin = track.overlaps.first(where: { $0.times >= settings.looks(settings.hotDuplicate) }) {
            gone[track.id] = [twin.id]
        }
    }
    return gone
}

/// The tracks that are kept and not shown: unmatched for too long, where the settings say so.
func tired(_ tracks: [Track], _ settings: Settings) -> [Int] {
    settings.hideUnmatched ? tracks.filter { $0.unmatched > 0 && $0.keepAlive <= 0 }.map(\.id) : []
}

/// Places of the tracks whose masks are taken for another's, with the ids of those others. Of two that overlap, the
/// one that was hidden later gives way, if the other was ever hidden at all. Also notes who is hidden now.
func giveWay(
    _ tracks: [Track], _ shown: [Grid], _ frame: Int, gone: Set<Int>, _ settings: Settings
) -> [Int: [Int]] {
    guard settings.occlusion > 0 else { return [:] }
    let last = tracks.map { $0.lastHidden ?? (gone.contains($0.id) ? removed : never) }
    let regions = shown.map { Region($0.mask) }
    var yields: [Int: [Int]] = [:]
    for (place, track) in tracks.enumerated() {
        let others = tracks.indices.filter { other in
            other != place && last[place] > last[other] && last[other] > never
                && regions[place].iou(regions[other]) >= settings.occlusion
        }
        if !others.isEmpty { yields[place] = others.map { tracks[$0].id } }
        track.lastHidden = regions[place].area == 0 || !others.isEmpty ? frame : last[place]
    }
    return yields
}
