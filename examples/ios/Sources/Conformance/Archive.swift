import CZlib
import Foundation

/// What is wrong with a file, in words for its user.
struct FileError: Error, CustomStringConvertible {
    let description: String
}

/// The arrays of an `.npz` file: a zip of `.npy` files, little-endian, C order.
struct Archive {
    private let data: Data
    private var entries: [String: (method: Int, start: Int, packed: Int, size: Int)] = [:]

    init(_ url: URL) throws {
        data = try Data(contentsOf: url)
        var place = try Archive.directory(data)
        while place + 46 <= data.count, number(place, 4) == 0x0201_4b50 {
            let lengths = [28, 30, 32].map { number(place + $0, 2) }
            let name = String(decoding: data[place + 46..<place + 46 + lengths[0]], as: UTF8.self)
            let local = number(place + 42, 4)
            let start = local + 30 + number(local + 26, 2) + number(local + 28, 2)
            entries[name] = (number(place + 10, 2), start, number(place + 20, 4), number(place + 24, 4))
            place += 46 + lengths.reduce(0, +)
        }
    }

    /// Where the zip's directory starts.
    private static func directory(_ data: Data) throws -> Int {
        guard let end = data.range(of: Data([0x50, 0x4b, 5, 6]), options: .backwards) else {
            throw FileError(description: "not a zip file")
        }
        return (0..<4).reduce(0) { $0 | Int(data[end.lowerBound + 16 + $1]) << (8 * $1) }
    }

    private func number(_ place: Int, _ bytes: Int) -> Int {
        (0..<bytes).reduce(0) { $0 | Int(data[place + $1]) << (8 * $1) }
    }

    /// An array's shape and numbers. Raises for a type that the vectors do not have.
    func array(_ name: String) throws -> (shape: [Int], values: [Float]) {
        guard let entry = entries["\(name).npy"] else { throw FileError(description: "there is no array \(name)") }
        let bytes = try unpacked(entry.method, data[entry.start..<entry.start + entry.packed], to: entry.size)
        let start = 10 + Int(bytes[8]) | Int(bytes[9]) << 8
        let header = String(decoding: bytes[10..<start], as: UTF8.self)
        let shape = header.split(separator: "(")[1].split(separator: ")")[0].split(separator: ",")
            .compactMap { Int($0.trimmingCharacters(in: .whitespaces)) }
        let values: [Float] = try bytes[start...].withUnsafeBytes { raw in
            if header.contains("<f4") { return (0..<raw.count / 4).map { raw.loadUnaligned(fromByteOffset: 4 * $0, as: Float.self) } }
            if header.contains("<i2") { return (0..<raw.count / 2).map { Float(raw.loadUnaligned(fromByteOffset: 2 * $0, as: Int16.self)) } }
            if header.contains("|i1") { return raw.map { Float(Int8(bitPattern: $0)) } }
            throw FileError(description: "\(name): \(header)")
        }
        return (shape, values)
    }

    private func unpacked(_ method: Int, _ packed: Data, to size: Int) throws -> [UInt8] {
        if method == 0 { return Array(packed) }
        var out = [UInt8](repeating: 0, count: size), input = Array(packed)
        var stream = z_stream()
        let sizeOfStream = Int32(MemoryLayout<z_stream>.size)
        guard inflateInit2_(&stream, -MAX_WBITS, ZLIB_VERSION, sizeOfStream) == Z_OK else {
            throw FileError(description: "zlib does not start")
        }
        defer { inflateEnd(&stream) }
        let status = input.withUnsafeMutableBufferPointer { from in
            out.withUnsafeMutableBufferPointer { into in
                (stream.next_in, stream.avail_in) = (from.baseAddress, UInt32(from.count))
                (stream.next_out, stream.avail_out) = (into.baseAddress, UInt32(into.count))
                return inflate(&stream, Z_FINISH)
            }
        }
        guard status == Z_STREAM_END else { throw FileError(description: "the zip file is damaged") }
        return out
    }
}
