import Sam3Loop

/// What a vector says that a loop must have come to on a frame.
struct Expected: Decodable {
    let attended: [String: Attended]
    let events: [Happened]
    let tracks: [[Int?]]  // id, keep-alive, last hidden, unmatched
    let live: [Live]
    let delayed: [Int]

    struct Attended: Decodable, Equatable {
        let memories, pointers: [[Int]]  // frame, time
    }

    /// [kind, id, about]
    struct Happened: Decodable, Hashable {
        let kind: String
        let id: Int
        let about: [Int]

        init(_ event: Event) { (kind, id, about) = (event.kind.rawValue, event.id, event.about) }

        init(from decoder: Decoder) throws {
            var list = try decoder.unkeyedContainer()
            kind = try list.decode(String.self)
            (id, about) = (try list.decode(Int.self), try list.decode([Int].self))
        }
    }

    /// [id, score, [x0, y0, x1, y1], pixels]
    struct Live: Decodable {
        let id: Int
        let score: Float
        let box: [Int]
        let area: Int

        init(from decoder: Decoder) throws {
            var list = try decoder.unkeyedContainer()
            (id, score) = (try list.decode(Int.self), try list.decode(Float.self))
            (box, area) = (try list.decode([Int].self), try list.decode(Int.self))
        }

        /// To the page's tolerances: enlarging a mask rounds differently from machine to machine.
        func agrees(with seeing: Seeing) -> Bool {
            let edges = [seeing.box.left, seeing.box.top, seeing.box.right, seeing.box.bottom]
            return id == seeing.id && abs(score - seeing.score) <= 1e-4
                && zip(box, edges).allSatisfy { abs($0 - $1) <= 1 }
                && abs(area - seeing.mask.area) <= max(4, area / 100)
        }
    }
}

/// Drive a loop through a vector: where it differs, in words.
func differences(_ vector: Vector) throws -> [String] {
    let config = vector.info.config, settings = vector.info.settings
    let sizes = MemorySizes(slots: config.memorySlots, pointers: config.pointerSlots, times: config.memoryTimes)
    let loop = Loop(settings: settings, sizes: sizes)
    loop.add(vector.info.phrase)
    var delayed = Delayed(frames: settings.hotStart), told: [[Int]] = [], found: [String] = []
    func tell(_ ripe: (draft: Draft, never: Set<Int>)) { told.append(ids(ripe.draft, vector, never: ripe.never)) }
    for frame in vector.info.frames {
        let want = frame.expected, before = attended(loop.tracks, frame.frame)
        let draft = try loop.step(Replayed(vector, frame))
        let seeings = render(draft, height: vector.info.size[0], width: vector.info.size[1])
        let tracks: [[Int?]] = loop.tracks.map { [$0.id, $0.keepAlive, $0.lastHidden, $0.unmatched] }
        let isLive = seeings.count == want.live.count && zip(want.live, seeings).allSatisfy { $0.agrees(with: $1) }
        let agree = [
            "attended": before == want.attended,
            "events": counted(draft.events.map(Expected.Happened.init)) == counted(want.events),
            "tracks": tracks == want.tracks,
            "live": isLive,
        ]
        found += agree.filter { !$0.value }.keys.sorted().map { "frame \(frame.frame): \($0)" }
        if let ripe = delayed.hold(draft) { tell(ripe) }
    }
    delayed.finish().forEach(tell)
    for (frame, ids) in zip(vector.info.frames, told) where ids != frame.expected.delayed {
        found.append("frame \(frame.frame): delayed")
    }
    return found
}

private func ids(_ draft: Draft, _ vector: Vector, never: Set<Int>) -> [Int] {
    render(draft, height: vector.info.size[0], width: vector.info.size[1], never: never).map(\.id)
}

private func counted(_ events: [Expected.Happened]) -> [Expected.Happened: Int] {
    events.reduce(into: [:]) { $0[$1, default: 0] += 1 }
}

private func attended(_ tracks: [Track], _ frame: Int) -> [String: Expected.Attended] {
    Dictionary(
        uniqueKeysWithValues: tracks.map { track in
            let choice = track.history.choose(frame)
            return (
                String(track.id),
                Expected.Attended(
                    memories: choice.memories.map { [$0.frame, $0.time] },
                    pointers: choice.pointers.map { [$0.frame, $0.time] })
            )
        })
}
