import Foundation

/// The model's files as this package carries them into the app.
public enum ModelFiles {
    /// Where they lie, readable and ready to be mapped.
    public static var folder: URL {
        (Bundle.module.resourceURL ?? Bundle.module.bundleURL)
            .appendingPathComponent("Models", isDirectory: true)
    }
}
