"""A closed-vocabulary detector as a pack: ncnn or ONNX in, calibrated QDQ and a `.tarsier` out.

    python import_detector.py nanodet-plus ../../../shared/teachers/nanodet-plus-m_416 --output nanodet-plus-m.tarsier
    python import_detector.py yolox        ../../../shared/teachers/yolox-nano         --output yolox-nano.tarsier

A detector with a linear class head is region-sentence alignment with a closed vocabulary. Its class weights differ from level to
level, so their common form is taken: the class logits are the object embedding, and the prompts are its axes (one-hot rows). Names and
their synonyms are looked up; other words go through the sentence encoder to the nearest name.

The runtime stores these packs like its own. They hold somebody else's weights: mind the licence, and keep them out of the repository.
"""

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE / "detector"), str(HERE / "foreign")]
from equalise import equalise  # noqa: E402
from ncnn_onnx import normalised, read, unfocus  # noqa: E402
from quantize import quantise  # noqa: E402
from teacher import COCO80  # noqa: E402

IMAGENET = ((0.485 * 255, 0.456 * 255, 0.406 * 255), (0.229 * 255, 0.224 * 255, 0.225 * 255))
ZERO = 116  # the byte that stands for zero in the picture: near the mean of all three channels
CLASSES = 80
QUANTISED = ["Conv", "Concat", "Resize", "Add", "MaxPool", "Gather", "LeakyRelu", "PRelu", "Relu"]


def nanodet_plus(model, size):
    """NanoDet-Plus-m: one convolution per level makes 80 class logits and 4 x 8 logits of distances."""
    layers = {8: "Conv_453", 16: "Conv_473", 32: "Conv_493", 64: "Conv_513"}
    heads = {}
    for stride, layer in layers.items():
        heads[f"embedding_{stride}"] = [(layer, 0, 80)]
        heads[f"geometry_{stride}"] = [(layer, 80, 112)]
    fold = normalised((103.53, 116.28, 123.675), (57.375, 57.12, 58.395), ZERO, swap=True)
    graph = read(f"{model}.param", f"{model}.bin", size, heads, lambda weights, bias: (*fold(weights, bias), 2, 1))
    form = {"boxes": {"distribution": 8}, "grid": 0.0, "objectness": "best_class"}
    return graph, tuple(layers), form, "stretch", (124, 116, 104)


def yolox(model, size):
    """YOLOX-nano 0.1.0: separate convolutions for classes, boxes and objectness; Focus in front; RGB with ImageNet's statistics."""
    layers = {8: ("Conv_314", "Conv_327", "Conv_328"), 16: ("Conv_347", "Conv_360", "Conv_361"), 32: ("Conv_380", "Conv_393", "Conv_394")}
    heads = {}
    for stride, (classes, boxes, objectness) in layers.items():
        heads[f"embedding_{stride}"] = [(classes, 0, 80)]
        heads[f"geometry_{stride}"] = [(boxes, 0, 4), (objectness, 0, 1)]
    fold = normalised(*IMAGENET, ZERO, swap=False)

    def first(weights, bias):
        weights, bias = fold(unfocus(weights), bias)
        return weights, bias, 2, 2

    graph = read(f"{model}.param", f"{model}.bin", size, heads, first)
    form = {"boxes": "centre_and_size", "grid": 0.0, "objectness": "multiplies"}
    return graph, tuple(layers), form, "letterbox", (124, 116, 104)


def calibration(shared, size, fit, count):
    """[count, 3, size, size] bytes minus ZERO, of photos to train on."""
    import cv2

    from data import letterbox

    images = [im for im in json.load(open(shared / "data/train.json"))["images"] if im["source"] == "coco"]
    rows = []
    for im in images[:: max(1, len(images) // count)][:count]:
        photo = cv2.imread(str(shared / "data/images" / im["file_name"]))[:, :, ::-1]
        x = cv2.resize(photo, (size, size), interpolation=cv2.INTER_LINEAR) if fit == "stretch" else letterbox(photo, size)[0]
        rows.append(x.transpose(2, 0, 1).astype(np.float32) - ZERO)
    return np.stack(rows)


def main():
    shared = HERE.parents[2] / "shared"
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("kind", choices=("nanodet-plus", "yolox"))
    p.add_argument("model", help="path without .param and .bin")
    p.add_argument("--output", type=Path, required=True, help="the pack")
    p.add_argument("--size", type=int, default=416)
    p.add_argument("--photos", type=int, default=100, help="for calibration")
    p.add_argument("--tail", type=float, default=1e-5, help="share of a tensor's values cut off at each end")
    p.add_argument("--shared", default=shared, type=Path)
    p.add_argument("--build", default=HERE.parent / "build", type=Path)
    p.add_argument("--tarsier", default=HERE.parents[1] / "target/release/tarsier", type=Path)
    a = p.parse_args()
    folder = a.build / "foreign" / Path(a.model).name
    folder.mkdir(parents=True, exist_ok=True)

    graph, strides, form, fit, border = {"nanodet-plus": nanodet_plus, "yolox": yolox}[a.kind](a.model, a.size)
    onnx.checker.check_model(graph, full_check=True)
    rows = calibration(a.shared, a.size, fit, a.photos)
    print(f"{equalise(graph, 'image', rows[:32])} tensors equalised", flush=True)
    fp32 = folder / "detector_fp32.onnx"
    onnx.save(graph, fp32)
    heads = [f"{k}_{s}" for s in strides for k in ("embedding", "geometry")]
    produced = {o: n for n in graph.graph.node for o in n.output}
    features = list(dict.fromkeys(produced[h].input[0] for h in heads))
    print(f"{len(graph.graph.node)} nodes, features {', '.join(features)}", flush=True)

    def fixed(found):
        # a logit below -8 is a score of 0.0003: what lies there need not be told apart
        ranges = {f"embedding_{s}": (-8.0, max(found[f"embedding_{t}"][1] for t in strides) + 1.0) for s in strides}
        for s in strides:
            low, high = found[f"geometry_{s}"]
            ranges[f"geometry_{s}"] = (max(low, -8.0), high)
        return ranges

    whole = folder / "detector_qdq.onnx"
    model = quantise(fp32, whole, "image", rows, fixed, (-ZERO, 255 - ZERO), a.tail, QUANTISED)
    model = onnx.shape_inference.infer_shapes(model)
    onnx.save(model, whole)
    cut = [f"{f}_QuantizeLinear_Output" for f in features]
    for part, inputs, outputs in (("backbone", ["image"], cut), ("head", cut, heads)):
        onnx.utils.extract_model(str(whole), str(folder / f"{part}_qdq.onnx"), inputs, outputs)

    for source, name in (("text/encoder_qdq.onnx", "sentence_qdq.onnx"), ("text/tokenizer.txt", "tokenizer.txt")):
        shutil.copy(a.build / source, folder / name)
    np.load(a.build / "text/token_table.npy").astype("<f4").tofile(folder / "tokens.f32")
    shutil.copy(HERE.parent / "golden/frame.png", folder / "golden.png")
    categories = {c["name"]: c for c in json.load(open(a.build / "text/categories.json"))}
    z = np.load(a.build / "text/prompts.npz", allow_pickle=False)
    texts = {(t, k): i for i, (t, k) in enumerate(zip(z["texts"].tolist(), z["kind"].tolist()))}
    with open(folder / "vocabulary.tsv", "w") as f:
        for name in COCO80:
            f.write(f"{name}\tthing\t{'|'.join(s.replace('|', ' ') for s in categories[name]['synonyms'])}\n")
    np.eye(CLASSES, dtype="<f4").tofile(folder / "vocabulary.f32")
    z["embedding"][[texts[n, "name"] for n in COCO80]].astype("<f4").tofile(folder / "names.f32")
    manifest = {
        "format": 2, "name": Path(a.model).name, "version": "1", "built_by": "", "input_px": a.size, "embedding": CLASSES, "strides": strides,
        "fit": fit, "shrink": "linear", "border": border, "head": form, "text": int(z["embedding"].shape[1]), "alignment_scale": 1.0, "alignment_bias": 0.0, "threshold": 0.35, "licence": "see the detector's own",
        "training_data": "see the detector's own", "metrics": {}, "golden": "", "sha256": {},
    }
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=2))
    subprocess.run([a.tarsier, "pack", "build", folder, "--output", a.output], check=True)


if __name__ == "__main__":
    main()
