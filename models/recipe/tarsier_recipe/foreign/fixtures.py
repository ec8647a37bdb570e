"""Writes what tests/foreign.rs compares: networks of other families as QDQ ONNX, and the digests of their outputs on
random bytes.

    python -m tarsier_recipe foreign-fixtures  # small networks of random weights -> tests/data/foreign
    # those of `foreign-networks` at full size, for TARSIER_FOREIGN
    python -m tarsier_recipe foreign-fixtures --full build/foreign --photos folder --output /tmp/full

Outputs are computed exactly (`exact`); the last column of tensors.tsv says in how many elements onnxruntime (its
basic optimisations) differs from that over the whole network. What it differs in node by node, given exact inputs,
is printed, and that is what counts: a large network of random weights makes many differences of a few ties in its
first layers.
"""

import hashlib
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort

from tarsier_recipe import options
from tarsier_recipe.folders import REPOSITORY
from tarsier_recipe.foreign import importer as import_detector
from tarsier_recipe.foreign import networks, reader
from tarsier_recipe.foreign.equalise import equalise
from tarsier_recipe.foreign.exact import evaluate
from tarsier_recipe.foreign.families import FAMILIES

SIZE, CLASSES = 64, 16


def random_bytes(count):
    """The same bytes as tests/foreign.rs makes: the highest of a linear congruential generator (Numerical Recipes)."""
    out, state = np.zeros(count, np.uint8), 1
    for i in range(count):
        state = (state * 1664525 + 1013904223) % 2**32
        out[i] = state >> 24
    return out


def noise(size, count, zero):
    """[count, 3, size, size] bytes minus `zero`: smooth noise."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (count, 3, size // 8, size // 8)).repeat(8, 2).repeat(8, 3)
    return np.clip(coarse + rng.normal(0, 10, coarse.shape), 0, 255).astype(np.float32).round() - zero


def write(name, path, family, size, classes, rows, output):
    """One network: its QDQ graph, and lines of tensors.tsv."""
    facts = FAMILIES[family]
    graph, strides, _ = reader.read(path, size, facts, classes)
    equalise(graph, "image", rows[:16])
    with tempfile.TemporaryDirectory() as folder:
        import_detector.quantised(graph, Path(folder), facts, rows, strides, 1e-5)
        model = onnx.load(Path(folder) / "detector_qdq.onnx")
    del model.graph.value_info[:]
    onnx.save(model, output / f"{name}.onnx")
    feeds = {"image": random_bytes(3 * size * size).reshape(1, 3, size, size).astype(np.float32) - facts.zero}
    exact, nodes = evaluate(model, feeds)
    names = [model.graph.output[i].name for i in range(len(model.graph.output))]
    quantised = {o: next(n.input[0] for n in model.graph.node if n.output[0] == o) for o in names}
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    probe.graph.output.extend(
        onnx.helper.make_tensor_value_info(q, onnx.TensorProto.INT8, None) for q in quantised.values()
    )
    options = ort.SessionOptions()
    options.log_severity_level = 3
    # with all optimisations 1.32.0 computes something else for PicoDet, by up to 155 steps: its own fusions, not the
    # graph
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    theirs = dict(
        zip(
            quantised,
            ort.InferenceSession(probe.SerializeToString(), options, providers=["CPUExecutionProvider"]).run(
                list(quantised.values()), feeds
            ),
        )
    )
    lines = []
    for o in names:
        hwc = np.ascontiguousarray(exact[o][0].transpose(1, 2, 0))
        d = np.abs(theirs[o].astype(np.int32) - exact[o])
        note = (
            "equal" if not d.any() else f"onnxruntime differs in {np.count_nonzero(d)} of {d.size} by at most {d.max()}"
        )
        lines.append(
            f"{name}\t{o}\t{'x'.join(map(str, hwc.shape))}\t{hashlib.sha256(hwc.tobytes()).hexdigest()}\t{note}\n"
        )
    total, differing, worst = (
        sum(n for n, _, _ in nodes.values()),
        sum(k for _, k, _ in nodes.values()),
        max(w for _, _, w in nodes.values()),
    )
    print(
        f"{name}: {len(nodes)} tensors; given exact inputs onnxruntime {ort.__version__} differs in {differing} of "
        f"{total} elements, by at most {worst}",
        flush=True,
    )
    return lines


def main():
    p = options.parser(__doc__)
    p.add_argument("--output", type=Path, default=REPOSITORY / "tests/data/foreign")
    p.add_argument("--full", type=Path, help="folder of the ONNX files that `foreign-networks` wrote")
    p.add_argument("--photos", type=Path, help="to calibrate those on")
    a = options.parse(p)
    a.output.mkdir(parents=True, exist_ok=True)
    lines = [
        "# network, output, height x width x channels, SHA-256 of the s8 tensor as [H, W, C]; by "
        "models/recipe/tarsier_recipe/foreign/fixtures.py\n"
    ]
    if a.full:
        for path in sorted(a.full.glob("*_???.onnx")):
            family = next(
                f for f in ("nanodet-plus", "picodet", "rtmdet", "yolox-legacy") if f.split("-")[0] in path.stem
            )
            size = int(path.stem.split("_")[-1])
            rows = import_detector.calibration(a.photos, size, FAMILIES[family], 24)
            lines += write(path.stem, path, family, size, 80, rows, a.output)
    else:
        small = {
            "picodet": ("picodet", lambda: networks.PicoDet(0.0625, 16, CLASSES, 1), 11),
            "rtmdet": ("rtmdet", lambda: networks.RtmDet(0.0313, 16, CLASSES, 1), 17),
            "mixed": ("yolox", lambda: networks.Mixed(16, CLASSES), 17),
        }
        for name, (family, make, opset) in small.items():
            with tempfile.TemporaryDirectory() as folder:
                path = networks.export(networks.settled(make, SIZE), SIZE, Path(folder) / f"{name}.onnx", opset)
                lines += write(name, path, family, SIZE, CLASSES, noise(SIZE, 16, FAMILIES[family].zero), a.output)
    (a.output / "tensors.tsv").write_text("".join(lines))


if __name__ == "__main__":
    main()
