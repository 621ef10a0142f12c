/// The 8-connected components of the pixels that are `value`, each as its places.
func components(_ mask: Mask, of value: Bool) -> [[Int]] {
    var seen = mask.pixels.map { $0 != value }
    var found: [[Int]] = []
    for start in seen.indices where !seen[start] {
        var places = [start]
        seen[start] = true
        var next = 0
        while next < places.count {
            let (y, x) = places[next].quotientAndRemainder(dividingBy: mask.width)
            next += 1
            for row in max(y - 1, 0)...min(y + 1, mask.height - 1) {
                for column in max(x - 1, 0)...min(x + 1, mask.width - 1) {
                    let place = row * mask.width + column
                    if !seen[place] {
                        seen[place] = true
                        places.append(place)
                    }
                }
            }
        }
        found.append(places)
    }
    return found
}

/// Fill holes of at most `most` pixels and take out sprinkles of at most `most`, and at most half of the mask.
/// Filled pixels become 0.1, taken ones -0.1; a mask without a pixel has neither. Also: whether any changed.
func tidy(_ logits: Grid, most: Int) -> (grid: Grid, changed: Bool) {
    var out = logits, changed = false
    guard most > 0, logits.mask.area > 0 else { return (out, changed) }
    for (value, level) in [(false, Float(0.1)), (true, Float(-0.1))] {
        let mask = out.mask
        let limit = value ? min(mask.area / 2, most) : most
        for places in components(mask, of: value) where places.count <= limit {
            places.forEach { out.values[$0] = level }
            changed = true
        }
    }
    return (out, changed)
}
