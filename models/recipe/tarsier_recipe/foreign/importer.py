"""Another detector as a pack: its ONNX file in, calibrated QDQ and a `.tarsier` out.

    python -m tarsier_recipe import nanodet-plus nanodet-plus-m_416.onnx --photos folder --output nanodet.tarsier
    python -m tarsier_recipe import yolox yolox_nano.onnx --size 416 --photos folder --output yolox-nano.tarsier
    python -m tarsier_recipe import picodet picodet_s_320.onnx --size 320 --photos folder --output picodet-s.tarsier
    python -m tarsier_recipe import rtmdet rtmdet.onnx --size 640 --photos folder --names names.txt --output r.tarsier
    # .param and .bin of ncnn
    python -m tarsier_recipe import nanodet-plus nanodet-plus-m_416 --photos folder --output …

A detector with a linear class head is region-sentence alignment with a closed vocabulary. Its class weights differ from
level to level, so their common form is taken: the class logits are the object embedding, and the prompts are its axes
(one-hot rows). Names and their synonyms are looked up; other words go through the sentence encoder to the nearest name.

`--photos` are some hundred pictures of the kind that the detector will see; ranges of int8 are measured on them. The
ONNX file is the official export, with or without decoding and NMS: the graph is cut at the last convolution of each
level, found from the outputs backwards or named with --cut. A node that cannot be taken is named with its reason.
`families` says what is assumed of a family; --mean, --std, --rgb and --bgr say otherwise. Labels in --names are one a
line, in the order of the classes; COCO's 80 without.

The runtime stores these packs like its own. They hold somebody else's weights: mind the licence, and keep them out
of the repository.
"""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx

from tarsier_recipe import options
from tarsier_recipe.folders import CHECKPOINTS, MODELS
from tarsier_recipe.foreign import ncnn_onnx, reader, vocabulary
from tarsier_recipe.foreign.equalise import equalise
from tarsier_recipe.foreign.families import FAMILIES
from tarsier_recipe.foreign.net import ImportRefused, Net
from tarsier_recipe.foreign.simplify import gate, silu
from tarsier_recipe.quantise import quantise

QUANTISED = [
    "Conv",
    "Concat",
    "Resize",
    "Add",
    "MaxPool",
    "Gather",
    "LeakyRelu",
    "PRelu",
    "Relu",
    "Clip",
    "Mul",
    "GlobalAveragePool",
]
PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")


def calibration(folder, size, family, count):
    """[count, 3, size, size] bytes minus the family's zero, of photos in a folder, spread over their names."""
    import cv2

    files = sorted(f for f in folder.rglob("*") if f.suffix.lower() in PICTURES)
    if not files:
        raise ImportRefused(f"no pictures ({', '.join(PICTURES)}) in {folder}")
    rows = []
    for file in files[:: max(1, len(files) // count)][:count]:
        photo = cv2.imread(str(file))
        if photo is None:
            print(f"{file}: not a picture, left out", flush=True)
            continue
        photo, (h, w) = photo[:, :, ::-1], photo.shape[:2]
        scale = min(size / w, size / h)
        nw, nh = (size, size) if family.fit == "stretch" else (max(1, round(w * scale)), max(1, round(h * scale)))
        x = np.empty((size, size, 3), np.uint8)
        x[:] = family.border
        left, top = (size - nw) // 2, (size - nh) // 2
        x[top : top + nh, left : left + nw] = cv2.resize(photo, (nw, nh), interpolation=cv2.INTER_LINEAR)
        rows.append(x.transpose(2, 0, 1).astype(np.float32) - family.zero)
    return np.stack(rows)


def quantised(graph, folder, family, rows, strides, tail):
    """`graph` (fp32, over `image`) as calibrated QDQ in `folder`: the whole, and cut into backbone and head."""
    onnx.checker.check_model(graph, full_check=True)
    heads = [f"{k}_{s}" for s in strides for k in ("embedding", "geometry")]
    fp32, whole = folder / "detector_fp32.onnx", folder / "detector_qdq.onnx"
    onnx.save(graph, fp32)
    net = Net(graph)
    net.infer()
    producers = net.producers()
    # the two operators of SiLU are one function: nothing is quantised between them, so they are not the quantiser's
    kept = [n.name for n in net.nodes if n.op_type == "Mul" and (silu(n, producers) is not None or not gate(net, n))]
    last = [
        n
        for n in net.nodes
        if n.output[0] in heads
        or any(n.output[0] in producers[h].input for h in heads if producers[h].op_type == "Concat")
    ]
    features = list(dict.fromkeys(n.input[0] for n in last if n.op_type == "Conv"))

    def fixed(found):
        # a logit below -8 is a score of 0.0003: what lies there need not be told apart
        high = max(found[f"embedding_{t}"][1] for t in strides) + 1.0
        ranges = {f"embedding_{s}": (-8.0, max(high, 0.1)) for s in strides}
        for s in strides:
            low, high = found[f"geometry_{s}"]
            pieces = (
                [i for i in producers[f"geometry_{s}"].input if i in producers]
                if producers[f"geometry_{s}"].op_type == "Concat"
                else []
            )
            ranges.update({name: (max(low, -8.0), high) for name in [f"geometry_{s}", *pieces]})
        return ranges

    model = quantise(fp32, whole, "image", rows, fixed, (-family.zero, 255 - family.zero), tail, QUANTISED, kept)
    model = onnx.shape_inference.infer_shapes(model)
    onnx.save(model, whole)
    cut = [f"{f}_QuantizeLinear_Output" for f in features]
    for part, inputs, outputs in (("backbone", ["image"], cut), ("head", cut, heads)):
        onnx.utils.extract_model(str(whole), str(folder / f"{part}_qdq.onnx"), inputs, outputs)
    return features


def read_names(path):
    if path is None:
        from tarsier_recipe.coco import COCO80

        return COCO80
    names = [line.strip() for line in path.read_text().splitlines() if line.strip()]
    double = {n for n in names if names.count(n) > 1}
    if not names or double:
        raise ImportRefused(
            f"{path} has {len(names)} names" + (f", and twice {', '.join(sorted(double))}" if double else "")
        )
    return names


def run(a):
    family = FAMILIES[a.family]
    changed = {k: tuple(v) for k, v in (("mean", a.mean), ("std", a.std)) if v is not None} | (
        {} if a.bgr is None else {"bgr": a.bgr}
    )
    family = dataclasses.replace(family, **changed)
    names = read_names(a.names)
    a.output = a.output.resolve()
    folder = a.build.foreign / a.output.stem
    folder.mkdir(parents=True, exist_ok=True)

    if a.model.endswith(".onnx"):
        graph, strides, form = reader.read(a.model, a.size, family, len(names), a.cut)
    else:
        graph, strides, form = ncnn_onnx.preset(a.family, a.model, a.size, family)
    rows = calibration(a.photos, a.size, family, a.pictures)
    print(
        f"{len(graph.graph.node)} nodes, strides {', '.join(map(str, strides))}; {len(rows)} photos; "
        f"{equalise(graph, 'image', rows[:32])} tensors equalised",
        flush=True,
    )
    features = quantised(graph, folder, family, rows, strides, a.tail)
    print(f"quantised; features {', '.join(features)}", flush=True)

    text = vocabulary.write(folder, a.words, a.text, names)
    width = -(-len(names) // 16) * 16
    np.eye(len(names), width, dtype="<f4").tofile(folder / "vocabulary.f32")
    manifest = {
        "format": 3,
        "name": a.output.stem,
        "version": "1",
        "built_by": "",
        "input_px": a.size,
        "embedding": width,
        "strides": strides,
        "fit": family.fit,
        "shrink": "linear",
        "border": family.border,
        "head": form,
        "text": text,
        "alignment_scale": 1.0,
        "alignment_bias": 0.0,
        "threshold": a.threshold,
        "licence": "see the detector's own",
        "training_data": "see the detector's own",
        "metrics": {},
        "golden": "",
        "sha256": {},
    }
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=2))
    done = subprocess.run([a.tarsier, "pack", "build", folder, "--output", a.output])
    if done.returncode:
        raise ImportRefused(f"{a.tarsier} pack build {folder} did not make a pack (exit code {done.returncode})")


def main():
    p = options.parser(__doc__, "tarsier")
    p.add_argument("family", choices=tuple(FAMILIES))
    p.add_argument("model", help="an .onnx file, or an ncnn model's path without .param and .bin")
    p.add_argument("--output", type=Path, required=True, help="the pack")
    p.add_argument("--photos", type=Path, required=True, help="a folder of pictures to calibrate on")
    p.add_argument("--pictures", type=int, default=100, help="how many of them at most")
    p.add_argument("--size", type=int, default=416, help="pixels of the square input")
    p.add_argument("--names", type=Path, help="a label per line; COCO's 80 without")
    p.add_argument(
        "--cut",
        nargs="+",
        metavar="NODE",
        help="the last convolutions of the heads (their names or their tensors'), where they are not found",
    )
    p.add_argument("--mean", type=float, nargs=3, help="in the order of the network's channels, of bytes")
    p.add_argument("--std", type=float, nargs=3, help="the same")
    p.add_argument("--bgr", action="store_const", const=True, help="the network reads blue first")
    p.add_argument("--rgb", dest="bgr", action="store_const", const=False, help="it reads red first")
    p.add_argument("--tail", type=float, default=1e-5, help="share of a tensor's values cut off at each end")
    p.add_argument("--threshold", type=float, default=0.35, help="least score that is reported")
    p.add_argument(
        "--words",
        type=Path,
        default=MODELS / "tarsier-s.tarsier",
        help="the pack whose names, synonyms and tokenizer are taken",
    )
    p.add_argument("--text", type=Path, default=CHECKPOINTS / "text.pt", help="the sentence encoder's weights")
    a = options.parse(p)
    missing = [
        f
        for f in (
            a.photos,
            a.words,
            a.text,
            a.tarsier,
            a.names,
            *([Path(a.model)] if a.model.endswith(".onnx") else [Path(f"{a.model}.param"), Path(f"{a.model}.bin")]),
        )
        if f is not None and not f.exists()
    ]
    if missing:
        p.error(f"not there: {', '.join(map(str, missing))}")
    try:
        run(a)
    except ImportRefused as e:
        sys.exit(f"{a.model}: {e}")


if __name__ == "__main__":
    main()
