/// Mask logits of one object, row by row.
public struct Grid {
    public let height, width: Int
    public var values: [Float]

    public init(height: Int, width: Int, values: [Float]) {
        precondition(values.count == height * width)
        self.height = height
        self.width = width
        self.values = values
    }

    /// Where the object is.
    public var mask: Mask { Mask(height: height, width: width, pixels: values.map { $0 > 0 }) }
}

/// The pixels of one object, row by row.
public struct Mask {
    public let height, width: Int
    public var pixels: [Bool]

    public var area: Int { pixels.reduce(0) { $0 + ($1 ? 1 : 0) } }

    /// The edges of all pixels; nil for none.
    public var bounds: Window? {
        var found: Window?
        for y in 0..<height {
            for x in 0..<width where pixels[y * width + x] {
                found = found?.with(y: y, x: x) ?? Window(top: y, bottom: y + 1, left: x, right: x + 1)
            }
        }
        return found
    }
}

/// Rows `top` to `bottom`, columns `left` to `right`, the ends not included.
public struct Window: Equatable {
    public var top, bottom, left, right: Int

    func with(y: Int, x: Int) -> Window {
        Window(top: min(top, y), bottom: max(bottom, y + 1), left: min(left, x), right: max(right, x + 1))
    }

    /// So many more on each side, as far as there are any.
    func grown(by margin: Int, height: Int, width: Int) -> Window {
        Window(
            top: max(top - margin, 0), bottom: min(bottom + margin, height),
            left: max(left - margin, 0), right: min(right + margin, width))
    }

    /// What both have; nil for nothing.
    func meeting(_ other: Window) -> Window? {
        let both = Window(
            top: max(top, other.top), bottom: min(bottom, other.bottom),
            left: max(left, other.left), right: min(right, other.right))
        return both.top < both.bottom && both.left < both.right ? both : nil
    }
}
