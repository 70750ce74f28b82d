import Bitexport
import BitexportModels
import XCTest

final class SelfTestTests: XCTestCase {
    private func open() throws -> Model {
        let file = try XCTUnwrap(Models().find(in: ModelFiles.folder))
        return try Model(at: file)
    }

    func testThisDeviceComputesTheBitsOfTheReference() throws {
        let model = try open()
        try model.check()
        let result = try model.selfTest()
        XCTAssertTrue(result.passed, result.description)
    }

    func testTheSameTokensComeTwice() async throws {
        let model = try open()
        var answers: [[Int32]] = []
        for parallel in [false, true] {
            let session = try Session(of: model, options: SessionOptions(parallel: parallel))
            let start: [Int32] = [1, 2, 3]
            for try await _ in session.generate(start, options: Options(maxTokens: 8)) {}
            answers.append(try await session.tokens())
        }
        XCTAssertEqual(answers[0], answers[1])
        XCTAssertGreaterThan(answers[0].count, 3)
    }

    func testAnAnswerWithoutEndIsCancelled() async throws {
        let session = try Session(of: try open())
        let start: [Int32] = [1]
        let endless = Options(ignoreEnds: true, shiftKeeping: 0)
        var last: Event?
        for try await event in session.generate(start, options: endless) {
            session.cancel()
            last = event
        }
        guard case .end(let end, _, _)? = last else { return XCTFail("no end") }
        XCTAssertEqual(end, .cancelled)
        for try await _ in session.generate(start, options: endless) { break }
        _ = try await session.tokens()  // comes when the answer that nobody reads has ended
    }
}
