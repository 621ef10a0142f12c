private let gone: Float = -10  // the logit of what was taken away

/// What one frame changes: all rules of the loop, in the reference's order. Concepts do not touch each other.
final class Update {
    private let loop: Loop
    private let frame: FrameGraphs
    private let found: [(concept: String, detections: Detections)]
    private let tracks: [Track]  // those that were there before this frame
    private let settings: Settings
    private(set) var draft: Draft

    init(_ loop: Loop, _ frame: FrameGraphs, found: [(concept: String, detections: Detections)]) {
        (self.loop, self.frame, self.found) = (loop, frame, found)
        (tracks, settings, draft) = (loop.tracks, loop.settings, Draft(index: loop.index))
    }

    func run() throws {
        let looks = tracks.map { Look(id: $0.id, choice: $0.history.choose(loop.index)) }
        let seen = tracks.isEmpty ? [] : try frame.follow(looks)
        let tidied = seen.map { tidy($0.logits, most: settings.speck) }
        let pairs = associateAll(tidied.map(\.grid))
        let removed = doubt(pairs)
        for (track, each) in zip(tracks, tidied) where each.changed { tell(.hole, of: track) }
        if !tracks.isEmpty {
            let anew = recondition(seen, pairs, removed)
            let masks = suppress(tidied.map(\.grid), removed)
            try remember(seen, masks, anew, removed)
            show(seen, masks)
        }
        try bear(pairs)
        for id in removed { frame.forget(id) }
        loop.tracks.removeAll { removed.contains($0.id) }
    }

    /// Places of a concept's tracks.
    private func places(_ concept: String) -> [Int] { tracks.indices.filter { tracks[$0].concept == concept } }

    private func tell(_ kind: Event.Kind, _ about: [Int] = [], of track: Track) {
        draft.events.append(Event(kind: kind, id: track.id, about: about, concept: track.concept))
    }

    /// Each concept's detections with its tracks; new ones only as far as there is room for them.
    private func associateAll(_ masks: [Grid]) -> [Association] {
        var free = loop.free
        return found.map { concept, detections in
            if !detections.lost.isEmpty { tell(.nms, detections.lost, concept) }
            var pair = associate(detections, with: places(concept).map { masks[$0] }, settings)
            let taken = room(for: pair.new, detections.scores, free: free)
            let dropped = pair.new.filter { !taken.contains($0) }
            if !dropped.isEmpty { tell(.dropped, dropped, concept) }
            free -= taken.count
            pair.new = taken
            return pair
        }
    }

    private func tell(_ kind: Event.Kind, _ about: [Int], _ concept: String) {
        draft.events.append(Event(kind: kind, id: -1, about: about, concept: concept))
    }

    /// Count what speaks for and against each track; the ids of those that hot-start removes.
    private func doubt(_ pairs: [Association]) -> Set<Int> {
        var removed: Set<Int> = []
        for ((concept, _), pair) in zip(found, pairs) {
            let mine = places(concept).map { tracks[$0] }
            tell(pair, of: mine)
            count(mine, pair, loop.index, settings)
            let doubted = doubtful(mine, loop.index, settings)
            let hidden = tired(mine, settings).filter { doubted[$0] == nil }
            for track in mine {
                if let twins = doubted[track.id] { tell(.retraction, twins, of: track) }
                if hidden.contains(track.id) { tell(.hidden, of: track) }
            }
            removed.formUnion(doubted.keys)
            draft.hidden.formUnion(hidden)
        }
        // Who is hidden stays so while nobody looks.
        let looked = Set(found.map(\.concept))
        draft.hidden.formUnion(tired(tracks.filter { !looked.contains($0.concept) }, settings))
        draft.hidden.formUnion(removed)
        return removed
    }

    private func tell(_ pair: Association, of mine: [Track]) {
        for (place, track) in mine.enumerated() {
            let hits = pair.detections(of: place)
            if !hits.isEmpty { tell(.match, hits, of: track) }
            if pair.unmatched.contains(place) { tell(.unmatched, of: track) }
            if pair.empty.contains(place) { tell(.empty, of: track) }
        }
    }

    /// Every so often, tracks with a sure detection get a conditioning memory of it: the detections, by track. Told
    /// of those who go on this very frame too, as the reference reconditions them before they go.
    private func recondition(_ seen: [Seen], _ pairs: [Association], _ removed: Set<Int>) -> [Int: Grid] {
        let every = settings.reconditionEvery
        guard every > 0, loop.index % every < settings.every else { return [:] }
        var drawn: [Int: Grid] = [:]
        for ((concept, detections), pair) in zip(found, pairs) {
            for (near, detection) in pair.sure {
                let place = places(concept)[near]
                guard seen[place].score > settings.sureObject else { continue }
                tell(.recondition, [detection], of: tracks[place])
                if !removed.contains(tracks[place].id) { drawn[place] = detections.logits[detection] }
            }
        }
        return drawn
    }

    /// The masks without those of objects that give way to others of their concept.
    private func suppress(_ masks: [Grid], _ removed: Set<Int>) -> [Grid] {
        var out = masks
        for concept in Set(tracks.map(\.concept)) {
            let mine = places(concept)
            let yields = giveWay(
                mine.map { tracks[$0] }, mine.map { masks[$0] }, loop.index, gone: removed, settings)
            for (near, others) in yields {
                out[mine[near]].values = out[mine[near]].values.map { _ in gone }
                tell(.suppression, others, of: tracks[mine[near]])
            }
        }
        return out
    }

    /// Write this frame into the memories of all who stay.
    private func remember(
        _ seen: [Seen], _ masks: [Grid], _ anew: [Int: Grid], _ removed: Set<Int>
    ) throws {
        var isFaint = [Bool](repeating: false, count: tracks.count), isPresent = isFaint
        for concept in Set(tracks.map(\.concept)) {
            let mine = places(concept)
            for (place, each) in zip(mine, crowded(mine.map { masks[$0] }, least: settings.shrink)) {
                (isFaint[place], isPresent[place]) = each
                if each.faint && each.present { tell(.shrink, of: tracks[place]) }
            }
        }
        var keeps: [Keep] = []
        for (place, track) in tracks.enumerated() where !removed.contains(track.id) {
            let isSure = seen[place].quality > settings.memoryScore
            let memory =
                anew[place] == nil
                ? track.history.remember(loop.index, valid: isSure) : track.history.condition(loop.index)
            var logits = masks[place]
            if isFaint[place] { logits.values = logits.values.map { min($0, gone) } }
            keeps.append(
                Keep(
                    id: track.id, memory: memory, logits: logits, isPresent: isPresent[place] && !isFaint[place],
                    isHard: false, drawn: anew[place]))
        }
        try frame.remember(keeps)
    }

    private func show(_ seen: [Seen], _ masks: [Grid]) {
        for (place, track) in tracks.enumerated() {
            let presence = sigmoid(min(max(seen[place].score, -80), 80))
            draft.objects[track.id] = Shown(
                concept: track.concept, logits: masks[place], score: track.score, presence: presence)
        }
    }

    /// Begin an object for every new detection, remembered from its mask.
    private func bear(_ pairs: [Association]) throws {
        var keeps: [Keep] = []
        for ((concept, detections), pair) in zip(found, pairs) {
            for detection in pair.new {
                let logits = detections.logits[detection], score = detections.scores[detection]
                let track = loop.begin(concept, score: score)
                tell(.birth, [detection], of: track)
                let isPresent = logits.mask.area > 0
                keeps.append(
                    Keep(
                        id: track.id, memory: track.history.condition(loop.index), logits: logits,
                        isPresent: isPresent, isHard: true, drawn: logits))
                draft.objects[track.id] = Shown(
                    concept: concept, logits: tidy(logits, most: settings.speck).grid, score: score,
                    presence: score)
            }
        }
        if !keeps.isEmpty { try frame.remember(keeps) }
    }
}
