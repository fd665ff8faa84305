"""Running a model: ONNX Runtime and torch behind one protocol, and the export between them."""
