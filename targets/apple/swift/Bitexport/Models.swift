import CBitexport
import CryptoKit
import Foundation

/// The model's files, as `bitexport package` listed them in this package: which one suits this
/// device, and how it comes here whole.  Every chunk of a file has to have its SHA-256; what came
/// before a connection broke is kept.
public struct Models: Sendable {
    private struct Listed: Decodable, Sendable {
        let name: String
        let bytes: Int
        let isas: [String]
        let chunks: [String]
    }

    private struct List: Decodable {
        let chunkBytes: Int
        let models: [Listed]
    }

    private let chosen: Listed
    private let chunkBytes: Int

    /// Reads the list, and chooses the file whose kernels this device's cores have.
    public init() throws {
        guard let file = Bundle.module.url(forResource: "models", withExtension: "json") else {
            throw CocoaError(.fileReadNoSuchFile)
        }
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        let list = try decoder.decode(List.self, from: Data(contentsOf: file))
        let device = Models.instructionSets()
        let score = { (model: Listed) -> Int in
            let common = device.intersection(model.isas).count
            return 64 * common - (model.isas.count - common)
        }
        guard let best = list.models.max(by: { score($0) < score($1) }) else {
            throw CocoaError(.fileReadCorruptFile)
        }
        chosen = best
        chunkBytes = list.chunkBytes
    }

    /// The instruction sets of this device for which there are kernels.
    public static func instructionSets() -> Set<String> {
        let available = bitx_isa_available()
        let names = (0..<32).compactMap { (bit: UInt32) -> String? in
            guard available & 1 << bit != 0, let name = bitx_isa_name(bitx_isa(1 << bit)) else {
                return nil
            }
            return String(cString: name)
        }
        return Set(names)
    }

    /// The name of this device's file.
    public var name: String { chosen.name }
    public var bytes: Int { chosen.bytes }

    /// The file in a folder, or nil where it is not, or not whole; reads none of its bytes.
    public func find(in folder: URL) -> URL? {
        let file = folder.appendingPathComponent(name)
        let size = try? file.resourceValues(forKeys: [.fileSizeKey]).fileSize
        return size == bytes ? file : nil
    }

    /// The file in a folder (best in Application Support), downloaded if it is not there.  Goes on
    /// where the last download ended; a task that is cancelled stops, and keeps what it has.
    ///
    /// `address` is where the package's `Models/` is served, by a server that knows ranges.
    public func download(
        from address: URL, into folder: URL,
        progress: @Sendable (_ bytes: Int, _ of: Int) -> Void = { _, _ in }
    ) async throws -> URL {
        if let there = find(in: folder) { return there }
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        var part = folder.appendingPathComponent(name + ".part")
        if !FileManager.default.fileExists(atPath: part.path) {
            FileManager.default.createFile(atPath: part.path, contents: nil)
        }
        var unsaved = URLResourceValues()
        unsaved.isExcludedFromBackup = true
        try part.setResourceValues(unsaved)
        let file = try FileHandle(forUpdating: part)
        defer { try? file.close() }
        var at = try keepWholeChunks(file)
        while at < bytes {
            progress(at, bytes)
            let chunk = try await fetch(address.appendingPathComponent(name), at)
            guard isWhole(chunk, at) else {
                throw BitexportError("\(name): the chunk at byte \(at) is not as its hash", code: 0)
            }
            try file.write(contentsOf: chunk)
            at += chunk.count
        }
        try file.synchronize()
        progress(at, bytes)
        let whole = folder.appendingPathComponent(name)
        if FileManager.default.fileExists(atPath: whole.path) {  // of another size: an older model
            try FileManager.default.removeItem(at: whole)
        }
        try FileManager.default.moveItem(at: part, to: whole)
        return whole
    }

    private func chunkSize(_ at: Int) -> Int { min(chunkBytes, bytes - at) }

    private func isWhole(_ chunk: Data, _ at: Int) -> Bool {
        let digest = SHA256.hash(data: chunk).map { String(format: "%02x", $0) }.joined()
        return chunk.count == chunkSize(at) && digest == chosen.chunks[at / chunkBytes]
    }

    /// Cuts a broken download behind its last good chunk; returns the bytes that are left.
    private func keepWholeChunks(_ file: FileHandle) throws -> Int {
        var at = 0
        while at < bytes, let chunk = try file.read(upToCount: chunkSize(at)), isWhole(chunk, at) {
            at += chunk.count
        }
        try file.truncate(atOffset: UInt64(at))
        try file.seek(toOffset: UInt64(at))
        return at
    }

    private func fetch(_ address: URL, _ at: Int) async throws -> Data {
        var request = URLRequest(url: address)
        request.setValue("bytes=\(at)-\(at + chunkSize(at) - 1)", forHTTPHeaderField: "Range")
        let (file, response) = try await URLSession.shared.download(for: request)
        defer { try? FileManager.default.removeItem(at: file) }
        let code = (response as? HTTPURLResponse)?.statusCode ?? 0
        guard code == 206 || (code == 200 && at == 0 && bytes <= chunkBytes) else {
            throw BitexportError("\(address): the server says \(code), not 206", code: Int32(code))
        }
        return try Data(contentsOf: file)
    }
}
