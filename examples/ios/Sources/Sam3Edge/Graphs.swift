// Not compiled here.
import CoreML

/// The graphs of a bundle as Core ML models, each compiled and loaded when it is first run. An output goes into
/// the next graph as it is: Core ML keeps it where it was made.
public actor Graphs {
    public let bundle: EdgeBundle
    private let units: MLComputeUnits
    private var models: [String: MLModel] = [:]
    /// Seconds that compiling and loading took, apart from running.
    public private(set) var loadSeconds: [String: Double] = [:]

    public init(bundle: EdgeBundle, units: MLComputeUnits = .all) {
        self.bundle = bundle
        self.units = units
    }

    /// `objects`: how many objects of the tracker a call is for, 1 or 4. A call for two or three is padded to four.
    public func model(_ graph: String, objects: Int = 1) async throws -> MLModel {
        let name = "\(graph), \(objects)"
        if let loaded = models[name] { return loaded }
        let clock = ContinuousClock()
        let start = clock.now
        let (package, function) = try bundle.package(graph, objects: objects)
        let configuration = MLModelConfiguration()
        configuration.computeUnits = units
        if let function {
            guard #available(iOS 18, macOS 15, *) else {
                throw BundleError(description: "\(graph) has functions, which iOS 18 brought: export with --ios 17")
            }
            configuration.functionName = function
        }
        let compiled = try await MLModel.compileModel(at: package)
        let loaded = try await MLModel.load(contentsOf: compiled, configuration: configuration)
        let spent = clock.now - start
        loadSeconds[name] = Double(spent.components.seconds) + Double(spent.components.attoseconds) / 1e18
        models[name] = loaded
        return loaded
    }

    /// All outputs of a graph, by name. Features of another graph's answer may be fed beside new arrays.
    public func run(
        _ graph: String, _ feeds: [String: MLFeatureValue], objects: Int = 1
    ) async throws -> [String: MLFeatureValue] {
        let provider = try MLDictionaryFeatureProvider(dictionary: feeds)
        let answer = try await model(graph, objects: objects).prediction(from: provider)
        return Dictionary(uniqueKeysWithValues: answer.featureNames.map { ($0, answer.featureValue(for: $0)!) })
    }
}
