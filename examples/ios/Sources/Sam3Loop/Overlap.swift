/// A mask with what is asked of it again and again.
struct Region {
    let mask: Mask
    let bounds: Window?
    let area: Int

    init(_ mask: Mask) {
        self.mask = mask
        bounds = mask.bounds
        area = mask.area
    }

    /// IoU with another; 0 for two empty ones.
    func iou(_ other: Region) -> Float {
        guard let mine = bounds, let theirs = other.bounds, let both = mine.meeting(theirs) else { return 0 }
        var shared = 0
        for y in both.top..<both.bottom {
            for x in both.left..<both.right {
                let place = y * mask.width + x
                if mask.pixels[place] && other.mask.pixels[place] { shared += 1 }
            }
        }
        return Float(shared) / Float(max(area + other.area - shared, 1))
    }
}

/// Places of the masks that stay, rising: none overlaps a better one by more than `most`.
func survivors(_ scores: [Float], _ masks: [Region], most: Float) -> [Int] {
    var kept: [Int] = []
    for place in masks.indices.sorted(by: { scores[$0] > scores[$1] })
    where kept.allSatisfy({ masks[$0].iou(masks[place]) <= most }) {
        kept.append(place)
    }
    return kept.sorted()
}
