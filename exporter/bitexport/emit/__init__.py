"""What a build writes: the .bitx file, the ONNX graph over it, the runtime's source."""
