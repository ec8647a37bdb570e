"""Golden outputs by onnxruntime: every int8 tensor of the detector, masks, presence and stuff on one frame, of the
sentence encoder on one sentence, and of grounding on random bytes.

    python -m tarsier_recipe golden        # build/pack/*_qdq.onnx -> ../golden/tarsier-s.tsv

Lines of graphs that are not there (`pack --base`) are tarsier-s's.

Each line: graph, node, height x width x channels, SHA-256 of the s8 tensor as [H, W, C]. tests/golden.rs compares the
pack's programs with them, operation by operation.

onnxruntime computes a quantised convolution in integers or, where it does not fuse it, in floats; only the former is
defined to the last bit. This script therefore also evaluates the graph exactly. What is written are the exact
tensors; the last column says in how many elements onnxruntime differs, given the same input, and by how much.
"""

import hashlib
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import torch
from onnx import numpy_helper
from PIL import Image

from tarsier_recipe import options
from tarsier_recipe.folders import GOLDEN
from tarsier_recipe.shape import MODEL, SHAPE
from tarsier_recipe.text.tokenizer import Tokenizer

FEATURES = [f"feature_{s}_QuantizeLinear_Output" for s in (8, 16, 32, 64)]


def constants(model):
    found = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    for n in model.graph.node:
        if n.op_type == "Constant":
            found[n.output[0]] = numpy_helper.to_array(n.attribute[0].t)
        elif n.op_type == "Identity" and n.input[0] in found:
            found[n.output[0]] = found[n.input[0]]
    return found


def run(path, feeds):
    """Every QuantizeLinear output of a model, by tensor name."""
    model = onnx.load(path)
    kept = {o.name for o in model.graph.output}
    quantised = [n.output[0] for n in model.graph.node if n.op_type == "QuantizeLinear"]
    model.graph.output.extend(
        onnx.helper.make_tensor_value_info(q, onnx.TensorProto.INT8, None) for q in quantised if q not in kept
    )
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return model, dict(zip(quantised, session.run(quantised, feeds)))


def conv(node, x, producer, value, q, relu):
    """One quantised convolution, exactly: integers in float64, then the requantisation that src/quant.rs states."""
    dq_x, dq_w, dq_b = (producer[i] for i in node.input[:3])
    w, s_w = value[dq_w.input[0]], value[dq_w.input[1]]
    attributes = {a.name: list(a.ints) for a in node.attribute if a.ints}
    pads = attributes.get("pads", [0, 0, 0, 0])
    centred = torch.from_numpy(x.astype(np.float64) - int(value[dq_x.input[2]]))
    padded = torch.nn.functional.pad(centred, (pads[1], pads[3], pads[0], pads[2]))
    acc = torch.nn.functional.conv2d(
        padded, torch.from_numpy(w.astype(np.float64)), stride=attributes.get("strides", [1, 1])
    )
    acc = acc.numpy().astype(np.int64) + value[dq_b.input[0]].astype(np.int64)[None, :, None, None]
    s_x, s_y = (np.float32(value[i]) for i in (dq_x.input[1], q.input[1]))
    z_y = int(value[q.input[2]])
    y = acc.astype(np.float32) * (s_x * s_w.astype(np.float32) / s_y).astype(np.float32)[None, :, None, None]
    return (np.rint(np.clip(y, 0 if relu else -128 - z_y, 127 - z_y)) + z_y).astype(np.int8)


def compare(model, theirs, feeds):
    """Evaluates a model exactly.

    Returns the exact tensors by name, and for each convolution (node, exact tensor, number of elements in which
    onnxruntime differs given the same input, by how much).
    """
    rows = []
    value = constants(model)
    producer = {o: n for n in model.graph.node for o in n.output}
    ours = {k: v for k, v in feeds.items() if v.dtype == np.int8}
    theirs = {**theirs, **ours}
    for q in (n for n in model.graph.node if n.op_type == "QuantizeLinear"):
        source, relu = producer.get(q.input[0]), False
        if source is not None and source.op_type == "Relu":
            source, relu = producer[source.input[0]], True
        inputs = (
            []
            if source is None
            else [producer[i].input[0] for i in source.input if i and producer[i].op_type == "DequantizeLinear"]
        )
        if source is None:
            x = feeds[q.input[0]] / np.float32(value[q.input[1]])
            ours[q.output[0]] = np.clip(np.rint(x) + int(value[q.input[2]]), -128, 127).astype(np.int8)
        elif source.op_type == "Conv":
            ours[q.output[0]] = conv(source, ours[inputs[0]], producer, value, q, relu)
            found = theirs[q.output[0]].astype(np.int32)
            d = np.abs(found - conv(source, theirs[inputs[0]], producer, value, q, relu))
            rows.append((source.name, ours[q.output[0]], np.count_nonzero(d), int(d.max())))
        elif source.op_type == "Concat":
            ours[q.output[0]] = np.concatenate([ours[i] for i in inputs], 1)
        elif source.op_type == "MaxPool":  # over the whole plane
            ours[q.output[0]] = ours[inputs[0]].max((2, 3), keepdims=True)
        elif source.op_type == "GlobalAveragePool":
            x, s_x, z_x = ours[inputs[0]], *(value[i] for i in producer[source.input[0]].input[1:3])
            sums = (x.astype(np.int64) - int(z_x)).sum((2, 3), keepdims=True).astype(np.float32)
            factor = np.float32(s_x) / (np.float32(x.shape[2] * x.shape[3]) * np.float32(value[q.input[1]]))
            z_y = int(value[q.input[2]])
            ours[q.output[0]] = (np.rint(np.clip(sums * factor, -128 - z_y, 127 - z_y)) + z_y).astype(np.int8)
        elif source.op_type == "Resize":
            ours[q.output[0]] = ours[inputs[0]].repeat(2, 2).repeat(2, 3)
        else:  # Identity, or a tensor quantised twice
            ours[q.output[0]] = ours[inputs[0]] if inputs else ours[source.input[0]]
    return ours, rows


def random_bytes(count):
    """The same bytes as tests/golden.rs makes: the highest of a linear congruential generator (Numerical Recipes)."""
    out, state = np.zeros(count, np.uint8), 1
    for i in range(count):
        state = (state * 1664525 + 1013904223) % 2**32
        out[i] = state >> 24
    return out


def main():
    p = options.parser(__doc__)
    p.add_argument("--golden", default=GOLDEN, type=Path)
    p.add_argument("--sentence", default="a red cup on the wooden table")
    a = options.parse(p)
    folder = a.build.pack
    frame = np.asarray(Image.open(a.golden / "frame.png").convert("RGB"))[: SHAPE.size, : SHAPE.size]
    image = frame.astype(np.float32).transpose(2, 0, 1)[None] / 255
    lines, worst, differing, total = [], 0, 0, 0

    base = a.golden / "tarsier-s.tsv"
    old = base.read_text().splitlines() if base.exists() else []
    feeds = {"image": image}
    if (folder / "sentence_qdq.onnx").exists():
        ids = Tokenizer.read(a.build.tokenizer).encode(a.sentence)
        table = np.load(a.build.token_table)
        padded = (list(ids) + [0] * 32)[:32]
        feeds["tokens"] = table[padded].T[None, :, None].astype(np.float32)
        head = [f"# sentence: {a.sentence}", f"# ids: {' '.join(map(str, ids))}"]
    else:
        head = [line for line in old if line.startswith("#")]
    if (folder / "ground_qdq.onnx").exists():
        ground = onnx.load(folder / "ground_qdq.onnx")
        scale, zero = (
            constants(ground)[n]
            for n in next(
                n for n in ground.graph.node if n.op_type == "QuantizeLinear" and n.input[0] == "objects"
            ).input[1:3]
        )
        shape = [d.dim_value for d in ground.graph.input[0].type.tensor_type.shape.dim]
        feeds["objects"] = (
            random_bytes(int(np.prod(shape))).reshape(shape).astype(np.float32) - 128 - int(zero)
        ) * np.float32(scale)
    graphs = (
        ("backbone", ["image"]),
        ("head", FEATURES),
        ("masks", FEATURES),
        ("presence", FEATURES[1:]),
        ("stuff", FEATURES),
        ("ground", ["objects"]),
        ("sentence", ["tokens"]),
    )
    for name, wanted in graphs:
        if not (folder / f"{name}_qdq.onnx").exists():
            lines += [line for line in old if line.startswith(f"{name}\t")]
            continue
        given = {k: feeds[k] for k in wanted}
        model, theirs = run(folder / f"{name}_qdq.onnx", given)
        ours, rows = compare(model, theirs, given)
        feeds.update(ours)
        for node, expected, count, most in rows:
            note = "equal" if not count else f"onnxruntime differs in {count} of {expected.size} by at most {most}"
            worst, differing, total = max(worst, most), differing + count, total + expected.size
            hwc = np.ascontiguousarray(expected[0].transpose(1, 2, 0))
            lines.append(
                f"{name}\t{node}\t{'x'.join(map(str, hwc.shape))}\t{hashlib.sha256(hwc.tobytes()).hexdigest()}\t{note}"
            )
    (a.golden / f"{MODEL}.tsv").write_text("\n".join(head + lines) + "\n")
    print(
        f"{len(lines)} tensors; onnxruntime {ort.__version__} differs from exact arithmetic in {differing} of {total} "
        f"elements, by at most {worst}"
    )


if __name__ == "__main__":
    main()
