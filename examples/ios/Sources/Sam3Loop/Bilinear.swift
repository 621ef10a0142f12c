/// One axis of a bilinear resize: output i is `(1 - part[i]) * x[low[i]] + part[i] * x[high[i]]`.
/// Pixel centres lie on pixel centres, edges are repeated; single precision throughout, as in the reference.
struct Axis {
    let low, high: [Int]
    let part: [Float]

    init(from source: Int, to target: Int) {
        let scale = Float(source) / Float(target)
        let places = (0..<target).map { max((Float($0) + 0.5) * scale - 0.5, 0) }
        low = places.map { min(Int($0), source - 1) }
        high = low.map { min($0 + 1, source - 1) }
        part = zip(places, low).map { $0 - Float($1) }
    }
}

extension Grid {
    /// One value of the enlarged grid.
    func value(_ row: Int, _ column: Int, _ y: Axis, _ x: Axis) -> Float {
        let right = x.part[column], down = y.part[row]
        let upper = y.low[row] * width, lower = y.high[row] * width
        let above = values[upper + x.low[column]] * (1 - right) + values[upper + x.high[column]] * right
        let below = values[lower + x.low[column]] * (1 - right) + values[lower + x.high[column]] * right
        return above * (1 - down) + below * down
    }

    /// The object at another size: where the bilinear blend is above 0. Computed where its cells reach.
    func enlarged(height: Int, width: Int) -> Mask {
        var out = Mask(height: height, width: width, pixels: [Bool](repeating: false, count: height * width))
        guard let cells = mask.bounds else { return out }
        let y = Axis(from: self.height, to: height), x = Axis(from: self.width, to: width)
        let columns = (0..<width).filter { x.high[$0] >= cells.left && x.low[$0] < cells.right }
        for row in 0..<height where y.high[row] >= cells.top && y.low[row] < cells.bottom {
            for column in columns where value(row, column, y, x) > 0 {
                out.pixels[row * width + column] = true
            }
        }
        return out
    }
}
