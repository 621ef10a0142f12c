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

    public func model(_ graph: String) async throws -> MLModel {
        if let loaded = models[graph] { return loaded }
        let clock = ContinuousClock()
        let start = clock.now
        let compiled = try await MLModel.compileModel(at: bundle.package(graph))
        let configuration = MLModelConfiguration()
        configuration.computeUnits = units
        let loaded = try await MLModel.load(contentsOf: compiled, configuration: configuration)
        let spent = clock.now - start
        loadSeconds[graph] = Double(spent.components.seconds) + Double(spent.components.attoseconds) / 1e18
        models[graph] = loaded
        return loaded
    }

    /// All outputs of a graph, by name. Features of another graph's answer may be fed beside new arrays.
    public func run(_ graph: String, _ feeds: [String: MLFeatureValue]) async throws -> [String: MLFeatureValue] {
        let provider = try MLDictionaryFeatureProvider(dictionary: feeds)
        let answer = try await model(graph).prediction(from: provider)
        return Dictionary(uniqueKeysWithValues: answer.featureNames.map { ($0, answer.featureValue(for: $0)!) })
    }
}
