import CBitexport
import Foundation

/// Memory as the runtime wants it, aligned to 64 bytes; given back when nobody holds it.
final class Memory {
    let start: UnsafeMutableRawPointer
    let bytes: Int

    init(bytes: Int, for what: String) throws {
        var memory: UnsafeMutableRawPointer?
        guard posix_memalign(&memory, 64, max(bytes, 1)) == 0, let start = memory else {
            throw BitexportError(
                "\(what): there are no \(bytes) bytes of memory", code: BITX_E_ROOM.rawValue)
        }
        self.start = start
        self.bytes = bytes
    }

    deinit { free(start) }
}
