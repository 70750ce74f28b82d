import CBitexport
import Foundation

/// A model, mapped into memory where its file lies.  Any number of threads may use it at once; the
/// map goes when the last session of it is gone.
public final class Model: @unchecked Sendable {
    public let name: String
    public let vocabulary: Int
    /// How many tokens a session holds at most.
    public let context: Int
    let path: String
    let view: UnsafeMutablePointer<bitx_model>
    private var map: bitx_map

    /// Opens a `.bitx` file.  Costs the same for any size of weights; `check()` compares every byte.
    public init(at file: URL) throws {
        var mapped = bitx_map()
        let failure = file.withUnsafeFileSystemRepresentation { bitx_map_open(&mapped, $0) }
        if failure != 0 {
            let why = String(cString: strerror(failure))
            throw BitexportError("\(file.path): cannot be mapped: \(why)", code: failure)
        }
        var read = bitx_model()
        let status = bitx_model_open(&read, mapped.blob, mapped.bytes)
        if status != BITX_OK {
            bitx_map_close(&mapped)
            throw Model.refusal(file.path, read, status)
        }
        let facts = bitx_model_facts(&read)
        name = String(cString: facts.name)
        vocabulary = Int(facts.vocabulary)
        context = Int(facts.context)
        path = file.path
        map = mapped
        view = .allocate(capacity: 1)
        view.initialize(to: read)
    }

    deinit {
        view.deallocate()
        bitx_map_close(&map)
    }

    public var hasTokenizer: Bool { view.pointee.tokenizer.records != nil }
    public var hasChat: Bool { view.pointee.chat.records != nil }
    public var hasSelfTest: Bool { view.pointee.self_test.records != nil }

    /// Compares every byte with the hashes in the file: once, after it was downloaded.
    public func check() throws {
        var checked = view.pointee  // keeps which rule is broken
        var status = bitx_model_check_hashes(&checked)
        if status == BITX_OK && hasTokenizer { status = bitx_model_check_text(&checked) }
        if status != BITX_OK { throw Model.refusal(path, checked, status) }
    }

    /// The tokens of a text that begins a sequence.
    public func tokenize(_ text: String) throws -> [Int32] {
        try encode(Array(text.utf8), flags: 0)
    }

    /// Computes the model's own test vectors on this device, and compares every op's bits.
    public func selfTest(parallel: Bool = true) throws -> SelfTest {
        var config = bitx_config_default()
        config.chunk_rows = 16
        config.keep_all_rows = 1
        config.unfused = 1
        if parallel { config.parallel_for = everyCore }
        let opened = try OpenSession(of: self, config)
        let chains = try Memory(bytes: 32 * Int(view.pointee.values.count), for: path)
        var result = bitx_self_test_result(position: 0, op_output: UInt32.max)
        let status = withExtendedLifetime((opened, chains)) {
            bitx_self_test(opened.session, chains.start, chains.bytes, &result)
        }
        if status != BITX_E_SELF_TEST { try BitexportError.require(status, path) }
        return SelfTest(
            passed: status == BITX_OK, position: Int(result.position),
            opOutput: try nameOfOpOutput(result.op_output))
    }

    /// Finds the name by a step that tells of every op; what it computes is of no interest.
    private func nameOfOpOutput(_ index: UInt32) throws -> String? {
        if index == UInt32.max { return nil }
        var sought = Sought(index: index, name: nil)
        try withUnsafeMutablePointer(to: &sought) { found in
            var config = bitx_config_default()
            config.context_tokens = 1
            config.chunk_rows = 1
            config.trace_context = UnsafeMutableRawPointer(found)
            config.trace = { context, event in
                guard let found = context?.assumingMemoryBound(to: Sought.self), let event else {
                    return
                }
                if event.pointee.op_output == found.pointee.index {
                    found.pointee.name = String(cString: event.pointee.value)
                }
            }
            let opened = try OpenSession(of: self, config)
            withExtendedLifetime(opened) { _ = bitx_step(opened.session, 0, nil) }
        }
        return sought.name
    }

    func encode(_ utf8: [UInt8], flags: UInt32, plain: [bitx_range] = []) throws -> [Int32] {
        var room = 0
        var workBytes = 0
        try BitexportError.require(
            bitx_encode_room(&room, &workBytes, view, utf8.count), "\(path): a text")
        let work = try Memory(bytes: workBytes, for: path)
        var tokens = [Int32](repeating: 0, count: max(room, 1))
        var count = 0
        let status: bitx_status = withExtendedLifetime(work) {
            (utf8 + [0]).withUnsafeBufferPointer { bytes in
                plain.withUnsafeBufferPointer { ranges in
                    bytes.withMemoryRebound(to: CChar.self) { characters -> bitx_status in
                        var text = bitx_text(
                            bytes: characters.baseAddress, count: utf8.count,
                            plain: ranges.baseAddress, plain_count: ranges.count)
                        return bitx_encode(
                            &tokens, tokens.count, &count, view, &text, flags, work.start,
                            work.bytes)
                    }
                }
            }
        }
        try BitexportError.require(status, "\(path): a text of \(utf8.count) bytes")
        return Array(tokens.prefix(count))
    }

    private static func refusal(
        _ path: String, _ model: bitx_model, _ status: bitx_status
    ) -> BitexportError {
        let rule = "breaks rule \(model.rule) of the format, record \(model.record)"
        return BitexportError.of(model.rule == 0 ? path : "\(path): \(rule)", status)
    }
}

/// What the model's own test vectors say of this device.
public struct SelfTest: Sendable, CustomStringConvertible {
    /// Whether this device computed every bit that the reference computed.
    public let passed: Bool
    /// How many positions were compared, or the first one that differs.
    public let position: Int
    /// Which op output differs first, as the plan calls it; nil: none.
    public let opOutput: String?

    public var description: String {
        if passed { return "passed: \(position) positions are equal" }
        return "failed at position \(position)" + (opOutput.map { ": first in \($0)" } ?? "")
    }
}

private struct Sought {
    let index: UInt32
    var name: String?
}

/// A session of the runtime, and the memory that it lies in.
final class OpenSession {
    let session: OpaquePointer
    private let arena: Memory
    private let model: Model

    init(of model: Model, _ config: bitx_config) throws {
        var config = config
        var bytes = 0
        try BitexportError.require(
            bitx_session_size(&bytes, model.view, &config), "\(model.path): a session")
        let arena = try Memory(bytes: bytes, for: model.path)
        var opened: OpaquePointer?
        try BitexportError.require(
            bitx_session_open(&opened, model.view, &config, arena.start, arena.bytes),
            "\(model.path): a session")
        guard let session = opened else {
            throw BitexportError.of("\(model.path): a session", BITX_E_ARGUMENT)
        }
        self.session = session
        self.arena = arena
        self.model = model
    }
}

/// A `bitx_parallel_for`: as many cores as there are and are free.
func everyCore(
    _: UnsafeMutableRawPointer?, _ task: bitx_task?, _ argument: UnsafeMutableRawPointer?,
    _ count: Int
) {
    guard let task else { return }
    DispatchQueue.concurrentPerform(iterations: count) { task(argument, $0) }
}
