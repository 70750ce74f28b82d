import CBitexport

/// How much memory a session takes, and who computes for it.
public struct SessionOptions: Sendable {
    /// How many tokens the session holds at most; less than the model's (nil) takes less memory.
    public var context: Int?
    /// How many tokens of a prompt are read at once; an answer is cancelled between two chunks.
    public var chunk: Int
    /// Whether every core computes, or one; no bit of any answer depends on it.
    public var parallel: Bool
    /// How many tokens an answer may draft, at most 8.
    public var draft: Int

    public init(context: Int? = nil, chunk: Int = 16, parallel: Bool = true, draft: Int = 0) {
        self.context = context
        self.chunk = chunk
        self.parallel = parallel
        self.draft = draft
    }
}

/// How an answer is made.  What is nil is as the model's own `generation_config.json` asks: the
/// same seed, options and history give the same tokens on every device.
public struct Options: Sendable {
    /// 0: always the token with the largest logit.
    public var temperature: Float?
    public var topK: Int?
    public var topP: Float?
    public var minP: Float?
    /// 1: no penalty.
    public var repetition: Float?
    public var presence: Float?
    public var frequency: Float?
    /// How many of the last tokens penalties look at.
    public var window: Int?
    public var seed: UInt64
    /// nil: until it ends by itself.
    public var maxTokens: Int?
    /// Go on behind the model's own end-of-sequence tokens.
    public var ignoreEnds: Bool
    /// When the context is full: drop half of the tokens behind the first so many; nil: end.
    public var shiftKeeping: Int?
    /// Guess so many tokens from the text so far; at most the session's own `draft`.
    public var draft: Int
    /// Control tokens are text too.
    public var showControl = false
    /// At most 8 tokens that end the answer, besides the model's own.
    public var stopTokens: [Int32] = []
    /// Texts that end the answer, which ends before them.
    public var stops: [String] = []

    public init(
        temperature: Float? = nil, topK: Int? = nil, topP: Float? = nil, minP: Float? = nil,
        repetition: Float? = nil, presence: Float? = nil, frequency: Float? = nil,
        window: Int? = nil, seed: UInt64 = 0, maxTokens: Int? = nil, ignoreEnds: Bool = false,
        shiftKeeping: Int? = nil, draft: Int = 0
    ) {
        self.temperature = temperature
        self.topK = topK
        self.topP = topP
        self.minP = minP
        self.repetition = repetition
        self.presence = presence
        self.frequency = frequency
        self.window = window
        self.seed = seed
        self.maxTokens = maxTokens
        self.ignoreEnds = ignoreEnds
        self.shiftKeeping = shiftKeeping
        self.draft = draft
    }

    /// Calls `body` with what the runtime makes of this; its pointers live as long as the call.
    func withAnswer(
        of model: Model, continues: Bool, _ body: (UnsafePointer<bitx_answer>) throws -> Void
    ) throws {
        var answer = try numbers(of: model)
        answer.stream.show_control = showControl ? 1 : 0
        answer.stream.continues = continues ? 1 : 0
        let texts = stops.map { Array($0.utf8) }
        try texts.flatMap { $0 }.withUnsafeBytes { bytes in
            var views: [bitx_string_view] = []
            var at = 0
            for text in texts {
                let start = bytes.baseAddress?.advanced(by: at).assumingMemoryBound(to: CChar.self)
                views.append(bitx_string_view(bytes: start, count: text.count))
                at += text.count
            }
            try views.withUnsafeBufferPointer { stops in
                try stopTokens.withUnsafeBufferPointer { tokens in
                    answer.stream.stops = stops.baseAddress
                    answer.stream.stop_count = stops.count
                    answer.stop_tokens = tokens.baseAddress
                    answer.stop_token_count = UInt32(tokens.count)
                    try body(&answer)
                }
            }
        }
    }

    private func numbers(of model: Model) throws -> bitx_answer {
        var answer = bitx_answer()
        try BitexportError.require(bitx_answer_default(&answer, model.view), model.path)
        if let temperature { answer.sampler.temperature = temperature }
        if let topK { answer.sampler.top_k = try BitexportError.count(topK, from: 1, "topK") }
        if let topP { answer.sampler.top_p = topP }
        if let minP { answer.sampler.min_p = minP }
        if let repetition { answer.sampler.repetition = repetition }
        if let presence { answer.sampler.presence = presence }
        if let frequency { answer.sampler.frequency = frequency }
        if let window { answer.sampler.window = try BitexportError.count(window, from: 0, "window") }
        answer.sampler.seed = seed
        if let maxTokens {
            answer.most_tokens = try BitexportError.count(maxTokens, from: 1, "maxTokens")
        }
        answer.ignore_ends = ignoreEnds ? 1 : 0
        if let shiftKeeping {
            answer.when_full = BITX_WHEN_FULL_SHIFT
            answer.keep = try BitexportError.count(shiftKeeping, from: 0, "shiftKeeping")
        }
        answer.draft = try BitexportError.count(draft, from: 0, "draft")
        return answer
    }
}

/// What somebody says in a conversation.
public struct Message: Sendable, Equatable {
    public enum Role: Sendable, Equatable {
        case system, user, assistant
    }

    public var role: Role
    public var content: String

    public init(role: Role, content: String) {
        self.role = role
        self.content = content
    }

    var nativeRole: bitx_role {
        switch role {
        case .system: return BITX_ROLE_SYSTEM
        case .user: return BITX_ROLE_USER
        case .assistant: return BITX_ROLE_ASSISTANT
        }
    }
}
