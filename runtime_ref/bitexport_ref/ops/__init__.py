"""One op, one file.  An ONNX op type names its function: `EmbedQ8` is `embed.embed_q8`."""
