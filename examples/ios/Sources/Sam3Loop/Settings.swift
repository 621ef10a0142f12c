/// Every threshold of the loop, by name: `sam3_edge/loop/settings.py` says what each means. Decoded from snake case.
public struct Settings: Decodable {
    public var detectEvery: Int?  // vectors from before it was there do not have it
    public let detection, nms, match, cover, birth: Float
    public let reconditionEvery: Int
    public let sureScore, sureIou, sureObject: Float
    public let hotStart, hotUnmatched, hotDuplicate: Int
    public let keepAlive, mostAlive, leastAlive: Int
    public let hideUnmatched, tireEmpty: Bool
    public let speck: Int
    public let occlusion, shrink: Float
    public let memoryScore, pointerSpan: Float
    public let maxObjects, batch: Int

    /// On every how many frames phrases are looked for.
    public var every: Int { detectEvery ?? 1 }

    /// Of so many frames, on how many a phrase is looked for, rounded up.
    func looks(_ frames: Int) -> Int { (frames + every - 1) / every }
}
