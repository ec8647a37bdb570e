"""Other detectors, and ONNX files of anyone, as packs."""
