/// A remembered frame. `valid`: the tracker was sure of it. The slots are nil once they were passed on.
public struct Memory {
    public let frame: Int
    public var valid = true
    public var slot: Int?
    public var pointer: Int?
}

/// One memory or pointer that a frame sees: which frame, in which slot, and its `memory_time`, or its distance in
/// frames (`pointer_time` times `pointer_span`). All other slots are masked.
public struct Sighting: Equatable {
    public let frame, slot, time: Int
}

/// What one object's next frame sees of its slots, rising by frame.
public struct Choice {
    public var memories: [Sighting] = []
    public var pointers: [Sighting] = []
}

/// The bounded past of one object: conditioning frames, and recent ones that the tracker was sure of.
public struct History {
    private let sizes: MemorySizes
    private(set) var conditioning: [Memory] = []  // rising by frame
    private(set) var recent: [Memory] = []  // rising; valid ones, and the last frame whatever it was

    init(_ sizes: MemorySizes) { self.sizes = sizes }

    private var recents: Int { sizes.times - 1 }
    private var conditions: Int { sizes.slots - recents }
    private var spans: Int { sizes.pointers - conditions }

    /// The frames that may be seen from `frame`, the latest first: the last valid ones and `frame` - 1, which takes
    /// its place even if nothing of it is remembered here, as when it is conditioning.
    private func ranked(_ frame: Int) -> [Int] {
        let frames = recent.filter(\.valid).suffix(spans).map(\.frame)
        return (frames.contains(frame - 1) ? frames : frames + [frame - 1]).reversed()
    }

    /// Ranks are the times of recent frames, true distances those of conditioning ones. The oldest of the ranked
    /// frames gives no pointer: the reference stops one short of them.
    public func choose(_ frame: Int) -> Choice {
        var choice = Choice()
        func show(_ memory: Memory, time: Int?, distance: Int?) {
            if let slot = memory.slot, let time {
                choice.memories.append(Sighting(frame: memory.frame, slot: slot, time: time))
            }
            if let slot = memory.pointer, let distance {
                choice.pointers.append(Sighting(frame: memory.frame, slot: slot, time: distance))
            }
        }
        for memory in conditioning { show(memory, time: sizes.times - 1, distance: frame - memory.frame) }
        let frames = ranked(frame)
        for (place, past) in frames.enumerated() {
            guard let memory = recent.first(where: { $0.frame == past }) else { continue }
            let rank = place + 1
            show(memory, time: rank <= recents ? rank - 1 : nil, distance: rank < frames.count ? rank : nil)
        }
        choice.memories.sort { $0.frame < $1.frame }
        choice.pointers.sort { $0.frame < $1.frame }
        return choice
    }

    /// Make room for a tracked frame, and say where it goes.
    mutating func remember(_ frame: Int, valid: Bool) -> Memory {
        // One more valid frame than `spans`: the newest may yet become conditioning, and is not ranked then.
        recent = recent.filter(\.valid).suffix(spans) + [Memory(frame: frame, valid: valid)]
        for place in recent.indices.dropLast(recents) { recent[place].slot = nil }
        for place in recent.indices.dropLast(spans) { recent[place].pointer = nil }
        place(&recent[recent.count - 1], among: conditioning + recent.dropLast())
        return recent[recent.count - 1]
    }

    /// Make room for a conditioning frame. It takes the place of whatever was remembered of this frame.
    mutating func condition(_ frame: Int) -> Memory {
        recent = recent.filter { $0.valid && $0.frame != frame }
        conditioning = conditioning.filter { $0.frame != frame }.suffix(conditions - 1) + [Memory(frame: frame)]
        place(&conditioning[conditioning.count - 1], among: conditioning.dropLast() + recent)
        return conditioning[conditioning.count - 1]
    }

    /// Give a memory the lowest slots that are free.
    private func place(_ memory: inout Memory, among others: [Memory]) {
        memory.slot = (0..<sizes.slots).first { slot in !others.contains { $0.slot == slot } }
        memory.pointer = (0..<sizes.pointers).first { slot in !others.contains { $0.pointer == slot } }
    }
}

/// How much is remembered of an object: `memory_slots`, `pointer_slots` and `memory_times` of the model.
public struct MemorySizes {
    let slots, pointers, times: Int

    public init(slots: Int, pointers: Int, times: Int) {
        (self.slots, self.pointers, self.times) = (slots, pointers, times)
    }
}
