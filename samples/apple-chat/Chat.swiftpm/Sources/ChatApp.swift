import SwiftUI

@main
struct ChatApp: App {
    var body: some Scene {
        WindowGroup { ChatView() }
    }
}

/// A conversation with a model on the device: what was said, one field, one button.
struct ChatView: View {
    @StateObject private var conversation = Conversation()
    @State private var text = "Once upon a time"

    var body: some View {
        VStack {
            ScrollView {
                Text(conversation.said).frame(maxWidth: .infinity, alignment: .leading)
            }
            HStack {
                TextField("Say something", text: $text)
                if conversation.isAnswering {
                    Button("Stop") { conversation.stop() }
                } else {
                    Button("Say") { conversation.say(text) }.disabled(!conversation.isReady)
                }
            }
        }
        .padding()
        .task { await conversation.open() }
    }
}
