"""A Swift package whose C target is source, and the same code compiled as an XCFramework."""
