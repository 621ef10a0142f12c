private let fine = 4  // the memory encoder sees masks at four times their size

/// Of masks of one concept: which keep less than `least` of their area among the others, and which have any.
///
/// Counted at four times the size, where each pixel belongs to the highest logit, the first of equals.
func crowded(_ grids: [Grid], least: Float) -> [(faint: Bool, present: Bool)] {
    let reaches = grids.map { grid in
        grid.mask.bounds?.grown(by: 1, height: grid.height, width: grid.width)
    }
    return grids.indices.map { mine in
        let (area, kept) = share(of: mine, among: grids, reaches)
        return (Float(kept) / Float(max(area, 1)) < least, area > 0)
    }
}

/// The area of one mask at four times the size, and how much of it is its own.
private func share(of mine: Int, among grids: [Grid], _ reaches: [Window?]) -> (area: Int, kept: Int) {
    guard let reach = reaches[mine] else { return (0, 0) }
    let grid = grids[mine]
    let y = Axis(from: grid.height, to: fine * grid.height), x = Axis(from: grid.width, to: fine * grid.width)
    let others = grids.indices.filter { $0 != mine && reaches[$0]?.meeting(reach) != nil }
    var area = 0, kept = 0
    for row in fine * reach.top..<fine * reach.bottom {
        for column in fine * reach.left..<fine * reach.right {
            let logit = grid.value(row, column, y, x)
            guard logit > 0 else { continue }
            area += 1
            let own = others.allSatisfy { other in
                let theirs = grids[other].value(row, column, y, x)
                return other < mine ? logit > theirs : logit >= theirs
            }
            if own { kept += 1 }
        }
    }
    return (area, kept)
}
