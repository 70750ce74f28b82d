import CBitexport

/// One step of an answer.  The last one, and only that, is `end`, unless the stream throws.
public enum Event: Sendable, Equatable {
    /// Why an answer ended.
    public enum End: Sendable, Equatable {
        /// The model ended it, or a stop token or text came.
        case stop
        /// As many tokens as were asked for.
        case length
        /// The context is full.
        case full
        case cancelled
    }

    /// A chunk of what was given has been read, in tokens.
    case reading(done: Int, of: Int)
    /// A token was chosen.  The text is what has become certain: complete characters, often none.
    case text(String, token: Int32)
    /// The text is what was held back; the token, if there is one, ended the answer.
    case end(End, text: String, token: Int32?)

    /// What this step adds to the answer.
    public var added: String {
        switch self {
        case .reading: return ""
        case .text(let text, _): return text
        case .end(_, let text, _): return text
        }
    }

    init(_ event: bitx_event) throws {
        let utf8 = UnsafeRawBufferPointer(start: event.text, count: event.bytes)
        let text = String(decoding: utf8, as: UTF8.self)
        switch event.kind {
        case BITX_EVENT_PREFILL: self = .reading(done: Int(event.done), of: Int(event.total))
        case BITX_EVENT_TEXT: self = .text(text, token: event.token)
        default:
            let token = event.token < 0 ? nil : event.token
            self = .end(try Event.why(event), text: text, token: token)
        }
    }

    private static func why(_ event: bitx_event) throws -> End {
        switch event.end {
        case BITX_END_STOP: return .stop
        case BITX_END_LENGTH: return .length
        case BITX_END_FULL: return .full
        case BITX_END_CANCELLED: return .cancelled
        default: throw BitexportError.of("an answer", event.status)
        }
    }
}
