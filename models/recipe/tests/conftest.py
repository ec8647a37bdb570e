"""Tests of what is not installed say so and are skipped; so do those of data that is not in the repository."""

import importlib.util

NEEDS = {  # beside pytest
    "test_captions.py": ("torch",),
    "test_int8.py": ("torch", "onnx", "onnxruntime", "cv2", "pycocotools"),
    "test_pack_reader.py": ("numpy", "onnx", "PIL"),
    "test_pool.py": ("torch", "onnx", "onnxruntime", "cv2", "pycocotools"),
    "test_rewrites.py": ("torch", "onnx", "onnxruntime"),
    "test_shrink.py": ("torch", "cv2"),
    "test_tokenizer.py": ("numpy",),
    "test_trainer.py": ("torch",),
    "test_training.py": ("torch", "cv2", "pycocotools"),
}
collect_ignore, lacking = [], {}
for file, modules in NEEDS.items():
    missing = [m for m in modules if importlib.util.find_spec(m) is None]
    if missing:
        collect_ignore.append(file)
        lacking[file] = missing


def pytest_terminal_summary(terminalreporter):
    for file, missing in lacking.items():
        terminalreporter.write_line(f"SKIPPED {file}: {', '.join(missing)} not installed")
