import CBitexport
import Foundation

/// What the runtime refused, and why.
public struct BitexportError: LocalizedError, Sendable {
    /// The number of a `bitx_status`; of a file that cannot be mapped, that of errno.
    public let code: Int32
    public let message: String

    public var errorDescription: String? { message }

    init(_ message: String, code: Int32) {
        self.message = message
        self.code = code
    }

    static func of(_ what: String, _ status: bitx_status) -> BitexportError {
        BitexportError("\(what): \(String(cString: bitx_status_name(status)))", code: status.rawValue)
    }

    static func require(_ status: bitx_status, _ what: String) throws {
        if status != BITX_OK { throw of(what, status) }
    }

    /// A number as the runtime takes it, or an error that names it.
    static func count(
        _ value: Int, from least: Int, to most: UInt32 = .max, _ name: String
    ) throws -> UInt32 {
        guard value >= least, let count = UInt32(exactly: value), count <= most else {
            throw BitexportError(
                "\(name) is \(value); it is \(least) to \(most)", code: BITX_E_ARGUMENT.rawValue)
        }
        return count
    }
}
