"""model/qonnx: networks as QONNX files, and such files as networks."""
