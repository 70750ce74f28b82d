import CBitexport
import Foundation

/// A model in the middle of a sequence.  Whatever is asked of it is done in that order, one after
/// the other; only `cancel()` comes in between.
public final class Session: @unchecked Sendable {
    public let model: Model
    private let native: OpenSession
    private let room: Memory
    private let generator: OpaquePointer
    private let queue = DispatchQueue(label: "ai.bitexport.session", qos: .userInitiated)
    private let lock = NSLock()
    private var turns: [Turn] = []

    public init(of model: Model, options: SessionOptions = SessionOptions()) throws {
        var config = bitx_config_default()
        let context = options.context ?? model.context
        let most = UInt32(BITX_MOST_DRAFTED)
        let draft = try BitexportError.count(options.draft, from: 0, to: most, "draft")
        let chunk = try BitexportError.count(options.chunk, from: 1, "chunk")
        config.context_tokens = try BitexportError.count(context, from: 1, "context")
        config.chunk_rows = max(chunk, draft + 1)
        config.kept_rows = draft + 1
        if options.parallel { config.parallel_for = everyCore }
        let native = try OpenSession(of: model, config)
        let what = "\(model.path): a session of \(context) tokens"
        var bytes = 0
        try BitexportError.require(
            bitx_generator_size(&bytes, model.view, config.context_tokens), what)
        let room = try Memory(bytes: bytes, for: what)
        var opened: OpaquePointer?
        try BitexportError.require(
            bitx_generator_open(&opened, native.session, room.start, room.bytes), what)
        guard let generator = opened else { throw BitexportError.of(what, BITX_E_ARGUMENT) }
        self.model = model
        self.native = native
        self.room = room
        self.generator = generator
    }

    // MARK: Answers

    /// An answer that continues a text.  It is computed from now on, whether or not it is read;
    /// who stops reading, or cancels the task that reads, cancels it before its next step.
    public func generate(
        _ text: String, options: Options = Options()
    ) -> AsyncThrowingStream<Event, Error> {
        answer(options, continues: true) { session in
            let flags = session.isEmpty ? 0 : UInt32(BITX_ENCODE_BARE)
            return try session.model.encode(Array(text.utf8), flags: flags)
        }
    }

    /// An answer that continues tokens.
    public func generate(
        _ tokens: [Int32], options: Options = Options()
    ) -> AsyncThrowingStream<Event, Error> {
        answer(options, continues: true) { _ in tokens }
    }

    /// An answer to what a user says; the conversation goes on where the last answer ended.
    public func chat(
        _ text: String, options: Options = Options()
    ) -> AsyncThrowingStream<Event, Error> {
        chat([Message(role: .user, content: text)], options: options)
    }

    /// An answer to messages: a conversation so far, or what is new in one that goes on.
    public func chat(
        _ messages: [Message], options: Options = Options()
    ) -> AsyncThrowingStream<Event, Error> {
        answer(options, continues: false) { try $0.conversation(messages) }
    }

    /// Ends the answers asked for before their next step; their `end` comes all the same.
    public func cancel() {
        lock.lock()
        let asked = turns
        lock.unlock()
        asked.forEach { $0.cancel() }
    }

    // MARK: The sequence

    /// Every token so far: given, read or chosen.
    public func tokens() async throws -> [Int32] {
        try await perform { session in
            var count: UInt32 = 0
            let first = bitx_generator_tokens(session.generator, &count)
            return Array(UnsafeBufferPointer(start: first, count: Int(count)))
        }
    }

    /// Forgets every token.
    public func reset() async throws {
        try await perform { bitx_generator_reset($0.generator) }
    }

    /// The session as bytes, which any device and layout of this model continues.
    public func save() async throws -> Data {
        try await perform { session in
            let path = session.model.path
            var bytes = Data(count: bitx_generator_save_size(session.generator))
            if bytes.isEmpty {
                throw BitexportError.of(
                    "\(path): was built before sessions could be saved", BITX_E_ARGUMENT)
            }
            let status = bytes.withUnsafeMutableBytes {
                bitx_generator_save(session.generator, $0.baseAddress, $0.count)
            }
            try BitexportError.require(status, path)
            return bytes
        }
    }

    /// Continues a saved session.  One that is damaged or of another model changes nothing.
    public func restore(_ bytes: Data) async throws {
        try await perform { session in
            let status = bytes.withUnsafeBytes {
                bitx_generator_restore(session.generator, $0.baseAddress, $0.count)
            }
            try BitexportError.require(status, "\(session.model.path): a saved session")
        }
    }

    // MARK: How it is done

    private func perform<Value: Sendable>(
        _ work: @escaping @Sendable (Session) throws -> Value
    ) async throws -> Value {
        try await withCheckedThrowingContinuation { continuation in
            queue.async { continuation.resume(with: Result { try work(self) }) }
        }
    }

    private func answer(
        _ options: Options, continues: Bool,
        give: @escaping @Sendable (Session) throws -> [Int32]
    ) -> AsyncThrowingStream<Event, Error> {
        AsyncThrowingStream { continuation in
            let turn = Turn(generator)
            lock.lock()
            turns.append(turn)
            lock.unlock()
            continuation.onTermination = { reason in
                if case .cancelled = reason { turn.cancel() }
            }
            queue.async {
                defer { self.forget(turn) }
                do {
                    try self.compute(turn, options, continues, give) { continuation.yield($0) }
                    continuation.finish()
                } catch {
                    continuation.finish(throwing: error)
                }
            }
        }
    }

    private func compute(
        _ turn: Turn, _ options: Options, _ continues: Bool,
        _ give: (Session) throws -> [Int32], tell: (Event) -> Void
    ) throws {
        if turn.isCancelled {
            tell(.end(.cancelled, text: "", token: nil))
            return
        }
        try options.withAnswer(of: model, continues: continues) { answer in
            let tokens = try give(self)
            try BitexportError.require(
                bitx_generator_give(generator, tokens, tokens.count), "\(tokens.count) tokens")
            try BitexportError.require(
                bitx_generator_start(generator, answer), "\(model.path): options of an answer")
            turn.begin()
            defer { turn.end() }
            var event = bitx_event()
            repeat {
                try BitexportError.require(bitx_generator_next(generator, &event), model.path)
                tell(try Event(event))
            } while event.kind != BITX_EVENT_END
        }
    }

    private func forget(_ turn: Turn) {
        lock.lock()
        turns.removeAll { $0 === turn }
        lock.unlock()
    }

    private var isEmpty: Bool {
        var count: UInt32 = 0
        _ = bitx_generator_tokens(generator, &count)
        return count == 0
    }

    private func conversation(_ messages: [Message]) throws -> [Int32] {
        var chat = bitx_chat()
        try BitexportError.require(bitx_chat_of_model(&chat, model.view), model.path)
        let after = isEmpty ? BITX_ROLE_START : BITX_ROLE_ASSISTANT
        var joined = [CChar](repeating: 0, count: 1)
        var plain = [bitx_range](repeating: bitx_range(), count: messages.count + 1)
        var bytes = 0
        var plainCount = 0
        try withNative(messages) { list in
            let join = {
                bitx_chat_text(
                    &joined, joined.count, &bytes, &plain, plain.count, &plainCount,
                    self.model.view, list.baseAddress, list.count, after, 1)
            }
            var status = join()
            if status == BITX_E_ROOM {
                joined = [CChar](repeating: 0, count: bytes)
                status = join()
            }
            try BitexportError.require(status, "\(messages.count) messages")
        }
        let utf8 = joined.prefix(bytes).map { UInt8(bitPattern: $0) }
        let flags = isEmpty ? chat.encode_flags : UInt32(BITX_ENCODE_BARE)
        return try model.encode(utf8, flags: flags, plain: Array(plain.prefix(plainCount)))
    }

    private func withNative(
        _ messages: [Message], _ body: (UnsafeBufferPointer<bitx_message>) throws -> Void
    ) throws {
        let contents = messages.map { Array($0.content.utf8) }
        try (contents.flatMap { $0 } + [0]).withUnsafeBytes { all in
            var list: [bitx_message] = []
            var at = 0
            for (message, content) in zip(messages, contents) {
                let start = all.baseAddress?.advanced(by: at).assumingMemoryBound(to: CChar.self)
                list.append(
                    bitx_message(role: message.nativeRole, content: start, bytes: content.count))
                at += content.count
            }
            try list.withUnsafeBufferPointer(body)
        }
    }
}

/// An answer that was asked for.  It may be cancelled before it begins, and after it has ended.
private final class Turn: @unchecked Sendable {
    private let generator: OpaquePointer
    private let lock = NSLock()
    private var cancelled = false
    private var running = false

    init(_ generator: OpaquePointer) {
        self.generator = generator
    }

    var isCancelled: Bool {
        lock.lock()
        defer { lock.unlock() }
        return cancelled
    }

    func cancel() {
        lock.lock()
        defer { lock.unlock() }
        cancelled = true
        if running { bitx_generator_cancel(generator) }
    }

    /// The generator forgets, when an answer starts, what was cancelled before.
    func begin() {
        lock.lock()
        defer { lock.unlock() }
        running = true
        if cancelled { bitx_generator_cancel(generator) }
    }

    func end() {
        lock.lock()
        defer { lock.unlock() }
        running = false
    }
}
