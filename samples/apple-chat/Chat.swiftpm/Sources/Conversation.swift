import Bitexport
import BitexportModels
import Foundation

/// What is said, and who answers.
@MainActor
final class Conversation: ObservableObject {
    @Published private(set) var said = ""
    @Published private(set) var isReady = false
    @Published private(set) var isAnswering = false
    private var session: Session?
    private var answer: Task<Void, Never>?

    /// Maps the model where it lies in the app, and lets this device test itself.
    func open() async {
        do {
            let (session, test) = try await Task.detached {
                guard let file = try Models().find(in: ModelFiles.folder) else {
                    throw CocoaError(.fileNoSuchFile)
                }
                let model = try Model(at: file)
                return (try Session(of: model), try model.selfTest())
            }.value
            said += "\(session.model.name): self-test \(test)\n"
            isReady = test.passed
            self.session = session
        } catch {
            said += "\(error.localizedDescription)\n"
        }
    }

    func say(_ text: String) {
        guard let session else { return }
        said += "\n> \(text)\n"
        isAnswering = true
        let options = Options(maxTokens: 200)
        answer = Task {
            do {
                let events = session.model.hasChat
                    ? session.chat(text, options: options)
                    : session.generate(text, options: options)
                for try await event in events { said += event.added }
            } catch {
                said += "\n\(error.localizedDescription)"
            }
            said += "\n"
            isAnswering = false
        }
    }

    /// Who stops reading an answer cancels it.
    func stop() {
        answer?.cancel()
    }
}
