"""fp32 ONNX -> standard QDQ ONNX: per-channel symmetric s8 weights, per-tensor s8 activations with a zero point.

    python -m tarsier_recipe quantise detector     # detector_tuned.onnx, or else detector_fp32.onnx -> *_qdq.onnx
    python -m tarsier_recipe quantise ground       # ground_fp32.onnx -> ground_qdq.onnx
    python -m tarsier_recipe quantise text         # encoder_fp32.onnx -> encoder_qdq.onnx

Weights have 7 bits, -63..63: the kernels for AVX2 and plain NEON are faster with them (sums of two or four products fit
16 bits). A channel in which four that AVX2 adds would be too large has coarser steps (`steps`); the
stage `int8` gets back what that costs the detector. onnxruntime itself needs 7 bits on x86 without VNNI, where its int8
convolutions saturate; the runtime is exact.

onnxruntime's quantiser inserts the nodes. What this file decides is ranges:
* tensors joined by Concat, Resize, MaxPool or Gather share one range, so that concatenation and upsampling move bytes
  and compute nothing;
* between a convolution and a leaky ReLU nothing is quantised: the runtime applies the slope before it rounds;
* what any other activation function reads is quantised for what the function makes of it: the range that leaves least
  error behind the function is searched for;
* outputs have ranges of their own kind (see FIXED): embeddings symmetric and equal on all levels, geometry 0..8;
* the detector is cut at the features, because sentences will run another head on the same features.
"""

import logging

import numpy as np
import onnx
import onnxruntime as ort
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from tarsier_recipe import options

STRIDES = (8, 16, 32, 64)


class Samples(CalibrationDataReader):
    """Feeds an array one row at a time."""

    def __init__(self, name, rows):
        self.rows = iter([{name: r[None]} for r in rows])

    def get_next(self):
        return next(self.rows, None)


def functions(model):
    """Tensors that only an activation function reads -> that function."""
    readers, sigmoids = {}, {n.output[0]: n.input[0] for n in model.graph.node if n.op_type == "Sigmoid"}
    for n in model.graph.node:
        for i in n.input:
            readers.setdefault(i, []).append(n)
    found = {}
    for n in model.graph.node:
        x = n.input[0] if n.input else None
        if n.op_type == "HardSwish" and len(readers[x]) == 1:
            found[x] = lambda v: v * np.clip(v / 6 + 0.5, 0, 1)
        elif n.op_type == "Mul" and sigmoids.get(n.input[1]) == x and len(readers[x]) == 2:
            found[x] = lambda v: v / (1 + np.exp(-np.clip(v, -60, 60)))
    return found


def least_error(values, function, low, high):
    """The part of (low, high) whose 256 steps leave the least squared error behind `function`."""
    best, exact = (np.inf, low, high), function(values)
    for a in low * np.geomspace(1, 0.02, 24):
        for b in high * np.linspace(1, 0.6, 9):
            step = (b - a) / 255
            zero = np.rint(-a / step)
            q = (np.clip(np.rint(values / step) + zero, 0, 255) - zero) * step
            error = np.mean((function(q) - exact) ** 2)
            best = min(best, (error, a, b))
    return best[1:]


def ranges(path, name, rows, tail):
    """(low, high) of every float activation, 0 always inside: quantiles over pictures of each one's `tail` and `1 -
    tail` quantiles."""
    model = onnx.load(path)
    before, rng = functions(model), np.random.default_rng(0)
    samples = {t: [] for t in before}
    kept = {o.name for o in model.graph.output}
    wanted = [o for n in model.graph.node for o in n.output if n.op_type != "Constant"]
    model.graph.output.extend(onnx.helper.make_empty_tensor_value_info(o) for o in wanted if o not in kept)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [o.name for o in session.get_outputs()]
    lows, highs = np.zeros((len(rows), len(names))), np.zeros((len(rows), len(names)))
    for i, r in enumerate(rows):
        for j, y in enumerate(session.run(names, {name: r[None]})):
            if y.dtype == np.float32:
                flat = y.ravel()
                k = max(1, int(flat.size * tail))
                part = np.partition(flat, (k - 1, flat.size - k))
                if names[j] in samples:
                    samples[names[j]].append(rng.choice(flat, min(flat.size, 512)))
                lows[i, j], highs[i, j] = part[k - 1], part[flat.size - k]
    # a tensor's range must hold what single pictures need: a high quantile over pictures, not their mean
    low, high = np.quantile(lows, 0.1, axis=0), np.quantile(highs, 0.9, axis=0)
    found = {n: (min(float(a), 0.0), max(float(b), 1e-3)) for n, a, b in zip(names, low, high)}
    for t, function in before.items():
        found[t] = least_error(np.concatenate(samples[t]), function, *found[t])
    return found


def join(model, found):
    """Gives tensors between which bytes only move the union of their ranges."""
    parent = {}

    def root(t):
        while parent.setdefault(t, t) != t:
            t = parent[t]
        return t

    for n in model.graph.node:
        if n.op_type in ("Concat", "Resize", "Identity", "MaxPool", "Gather"):
            for t in [i for i in n.input if i in found and n.output[0] in found]:
                parent[root(t)] = root(n.output[0])
    for t in list(parent):
        r = root(t)
        found[r] = (min(found[r][0], found[t][0]), max(found[r][1], found[t][1]))
    for t in list(parent):
        found[t] = found[root(t)]
    return found


def slope(node, constants):
    """What a leaky ReLU multiplies negative values by; None for other nodes and for slopes per channel."""
    if node.op_type == "LeakyRelu":
        return node.attribute[0].f if node.attribute else 0.01
    if node.op_type == "PRelu" and node.input[1] in constants and constants[node.input[1]].size == 1:
        return constants[node.input[1]].item()
    return None


def fuse(model):
    """Takes out the Q and DQ between a convolution or addition and the leaky ReLU that alone reads it."""
    graph = model.graph
    made, readers = {o: n for n in graph.node for o in n.output}, {}
    for n in graph.node:
        for i in n.input:
            readers.setdefault(i, []).append(n)
    outputs = {o.name for o in graph.output}
    alone = lambda t: len(readers[t]) == 1 and t not in outputs
    constants = {t.name: onnx.numpy_helper.to_array(t) for t in graph.initializer}
    for n in list(graph.node):
        factor = slope(n, constants)
        if factor is None or not 0 <= factor <= 1:
            continue
        dq = made.get(n.input[0])
        q = made.get(dq.input[0]) if dq is not None and dq.op_type == "DequantizeLinear" else None
        if q is None or not all(map(alone, (dq.output[0], q.output[0], q.input[0]))):
            continue
        if made[q.input[0]].op_type in ("Conv", "Add"):
            n.input[0] = q.input[0]
            graph.node.remove(dq)
            graph.node.remove(q)
    return model


CALM = 128  # what the positive of four weights may come to, and the negative ones: 255 * 128 < 2^15


def fours(weights):
    """Weights [out, in, ky, kx] as [out, ..., 4]: those that the runtime adds in 16 bits (src/kernels/layout.rs).
    None if there are none."""
    out, inputs, ky, kx = weights.shape
    if inputs % 8 == 0:  # halves of two neighbouring groups of four inputs
        return weights.reshape(out, inputs // 8, 2, 2, 2, ky, kx).transpose(0, 1, 3, 5, 6, 2, 4).reshape(out, -1, 4)
    if inputs == 3 and kx >= 2:  # the picture, whose fourth channel is empty: two neighbouring pixels
        return weights[:, :2, :, :2].transpose(0, 2, 3, 1).reshape(out, -1, 4)
    return None


def steps(weights):
    """The steps [out] of narrow and calm weights: no weight beyond 63, no four of one sign beyond CALM.

    Then two products with a u8 sum up in 16 bits without saturating (2 * 255 * 63 < 2^15), and four with an s8 (4 *
    128 * 63 < 2^15), and on AVX2 four with a u8 too. A channel with a four that is too large has coarser steps:
    taking its largest weights down instead costs more.
    """
    step = np.abs(weights).reshape(len(weights), -1).max(1) / 63
    four = fours(weights) if weights.ndim == 4 else None
    if four is not None:
        most = np.maximum(np.maximum(four, 0).sum(2).max(1), np.maximum(-four, 0).sum(2).max(1))
        step = np.maximum(step, most / (CALM - 2))  # rounding adds up to a half to each of the four
    return step


MOST_BIAS = (
    2.0**28
    # what a bias may come to in steps of its accumulator, which has 32 bits: a channel with hardly any weights left has
    # coarser steps
)


def narrow(model, scale_of):
    """Overrides that give the weights of convolutions these steps; `scale_of`: of a tensor of activations.

    onnxruntime's own reduced range is -64..64, one too many: the range that it is told is therefore wider than the
    weights by 64/63.
    """
    values = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
    overrides = {}
    for n in model.graph.node:
        if n.op_type == "Conv" and n.input[1] in values:
            step = steps(values[n.input[1]])
            if len(n.input) > 2:
                step = np.maximum(step, np.abs(values[n.input[2]]) / (scale_of(n.input[0]) * MOST_BIAS))
            most = step * (64 * (1 + 1e-6))
            overrides[n.input[1]] = [
                {
                    "axis": 0,
                    "quant_type": QuantType.QInt8,
                    "symmetric": True,
                    "reduce_range": True,
                    "rmin": np.float32(-m),
                    "rmax": np.float32(m),
                }
                for m in most
            ]
    return overrides


def without_six(model):
    """Takes the upper bound off each ReLU6: `Clip` from 0 to 6 becomes `Relu`, because what comes out is rounded to
    a range that ends at 6 or below, and int8 saturates there. Returns what these give."""
    values = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
    values |= {
        n.output[0]: onnx.numpy_helper.to_array(n.attribute[0].t) for n in model.graph.node if n.op_type == "Constant"
    }
    found = []
    for n in model.graph.node:
        if n.op_type == "Clip" and [values[i].item() for i in n.input[1:3]] == [0, 6]:
            n.op_type = "Relu"
            del n.input[1:]
            found.append(n.output[0])
    return found


def quantise(source, target, name, rows, fixed, input_range, tail, operators=None, kept=(), weight_bits=8):
    """Writes `target`; `fixed` maps tensor names to ranges that are not measured; `operators` have quantised
    results, by default all, but for the nodes `kept`."""
    model = onnx.load(source)
    measured = ranges(source, name, rows, tail)  # before the bounds go: behind a ReLU6 nothing is above 6
    if without_six(model):
        source = target.with_suffix(".relu.onnx")
        onnx.save(model, source)
    found = join(model, measured)
    relu = {n.output[0] for n in model.graph.node if n.op_type == "Relu"}
    found = {t: ((0.0, r[1]) if t in relu else r) for t, r in found.items()}
    found.update(fixed(found))
    found[name] = input_range
    overrides = narrow(model, lambda t: (found[t][1] - found[t][0]) / 255.0) if weight_bits == 7 else {}
    for t, (low, high) in found.items():
        scale = np.float32((high - low) / 255.0)
        zero = int(np.clip(np.rint(-128 - low / scale), -128, 127))
        overrides[t] = [
            {"scale": np.array(scale, np.float32), "zero_point": np.array(zero, np.int8), "quant_type": QuantType.QInt8}
        ]
    logging.disable(logging.WARNING)
    quantize_static(
        str(source),
        str(target),
        Samples(name, rows[:2]),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        reduce_range=False,
        op_types_to_quantize=operators,
        nodes_to_exclude=list(kept),
        activation_type=QuantType.QInt8,
        weight_type=QuantType.QInt8,
        extra_options={
            "TensorQuantOverrides": overrides,
            "ActivationSymmetric": False,
            "WeightSymmetric": True,
            "DedicatedQDQPair": False,
            # a pooling whose input nobody else wants in bytes is quantised too
            "ForceQuantizeNoInputCheck": operators is not None,
        },
    )
    logging.disable(logging.NOTSET)
    model = fuse(onnx.load(target))
    onnx.save(model, target)
    return model


def detector(build, tail, weight_bits):
    rows = np.load(build.calibration_photos)["image"].astype(np.float32) / 255

    def fixed(found):
        out = {}

        def symmetric(*names):
            m = max(abs(v) for n in names for v in found[n])
            out.update({n: (-m * 128 / 127.5, m * 127 / 127.5) for n in names})

        symmetric(*(f"embedding_{s}" for s in STRIDES))
        out.update({f"geometry_{s}": (0.0, 8.0) for s in STRIDES})
        for alike in (["prototypes"], ["presence"], ["stuff"], [f"coefficients_{s}" for s in STRIDES]):
            if alike[0] in found:
                symmetric(*alike)
        # the four features go through one head: a common range keeps its scales equal on all levels
        return out

    whole, tuned = build.detector_qdq, build.detector_tuned
    model = quantise(
        tuned if tuned.exists() else build.detector_fp32,
        whole,
        "image",
        rows,
        fixed,
        (0.0, 1.0),
        tail,
        weight_bits=weight_bits,
    )
    features = [f"feature_{s}_QuantizeLinear_Output" for s in STRIDES]
    inferred = onnx.shape_inference.infer_shapes(model)
    onnx.save(inferred, whole)
    cut = {
        "backbone": (["image"], features),
        "head": (features, [f"{k}_{s}" for s in STRIDES for k in ("embedding", "geometry")]),
        "masks": (features, ["prototypes"] + [f"coefficients_{s}" for s in STRIDES]),
        "presence": (features[1:], ["presence"]),
        "stuff": (features, ["stuff"]),
    }
    there = {o.name for o in model.graph.output}
    for part, (inputs, outputs) in cut.items():
        if part in ("masks", "presence", "stuff") and not there.issuperset(outputs):
            continue
        onnx.utils.extract_model(str(whole), str(build.qdq(part)), inputs, outputs)
        print(f"{part}_qdq.onnx written")


def ground(build, tail, weight_bits):
    rows = np.load(build.ground_calibration)["objects"].astype(np.float32)
    rows = rows[:512].reshape(-1, rows.shape[1], 8, 8)

    def fixed(found):
        return {
            "match": (-8.0, max(4.0, 1.2 * found["match"][1]))
        }  # which of the least likely objects is likelier is no question

    quantise(
        build.ground_fp32,
        build.ground_qdq,
        "objects",
        rows,
        fixed,
        (-4.0 * 128 / 127.5, 4.0 * 127 / 127.5),
        tail,
        weight_bits=weight_bits,
    )
    print("ground_qdq.onnx written")


def text(build, tail, weight_bits):
    z = np.load(build.text_calibration)
    rows = z[z.files[0]].astype(np.float32)
    high = float(np.abs(rows).max())
    rows = rows.reshape(len(rows), *rows.shape[-3:])
    quantise(
        build.encoder_fp32,
        build.encoder_qdq,
        "tokens",
        rows,
        lambda found: {"words": tuple(v * max(abs(b) for b in found["words"]) for v in (-128 / 127.5, 127 / 127.5))},
        (-high * 128 / 127.5, high * 127 / 127.5),
        tail,
        weight_bits=weight_bits,
    )
    print("encoder_qdq.onnx written")


def main():
    p = options.parser(__doc__)
    p.add_argument("what", choices=("detector", "ground", "text"))
    p.add_argument("--tail", type=float, default=2e-5, help="share of a tensor's values cut off at each end")
    p.add_argument("--weight-bits", type=int, choices=(7, 8), default=7, help="7 keeps weights within -63..63")
    a = options.parse(p)
    {"detector": detector, "ground": ground, "text": text}[a.what](a.build, a.tail, a.weight_bits)


if __name__ == "__main__":
    main()
