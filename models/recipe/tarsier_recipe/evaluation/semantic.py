"""Mean IoU of stuff: which name each pixel gets. (Things beside it and panoptic quality: `evaluate-scene`.)

    python -m tarsier_recipe evaluate-semantic  # val photos with stuff labels, through the binary
    python -m tarsier_recipe evaluate-semantic --fp32  # the same through build/detector/detector_fp32.onnx
    python -m tarsier_recipe evaluate-semantic --annotations camvid-evaluation-only.json
    # ADE20K, PC-459
    python -m tarsier_recipe evaluate-semantic --labels annotations/validation --names names.txt --images images

Truth is a COCO JSON whose annotations have masks, or a folder of PNG label maps (ADE20K's form: value k is line k of
--names, 0 is unlabelled; --zero-based for sets in which value 0 is the first name and 255 is unlabelled).

All stuff names of the set are asked for at once; pixels that are labelled count, also those of things (there no stuff
should be said). A pixel without a reported name is a miss. The mean is over the names that the photos have. Through the
binary, what counts is `tarsier semantic --format coco`: a list of {file_name, category_name, segmentation, score}.

onnxruntime's int8 convolutions saturate on x86 without VNNI where weights have 8 bits: there --onnx
detector_qdq.onnx says less than the binary.
"""

import json
import subprocess
from pathlib import Path

import cv2
import numpy as np
from pycocotools import mask as rle

from tarsier_recipe import options
from tarsier_recipe.coco import decode
from tarsier_recipe.detector.data import DEPLOYED, letterbox
from tarsier_recipe.quality import Confusion


def masks_of(a):
    """Yields (file, size, segments) of each photo with dense labels: segments are (name, is it a thing, mask), those
    of one stuff name joined."""
    if a.labels:
        names = a.names.read_text().splitlines()
        for path in sorted(a.labels.glob("*.png"))[: a.limit]:
            values = cv2.imread(str(path), cv2.IMREAD_UNCHANGED).astype(np.int64)
            values = np.where(values == 255, -1, values) if a.zero_based else values - 1
            there = [k for k in np.unique(values) if 0 <= k < len(names)]
            yield path.with_suffix(".jpg").name, values.shape, [(names[k], False, values == k) for k in there]
        return
    truth = json.load(open(a.annotations))
    cats = {c["id"]: c["name"] for c in truth["categories"]}
    by_photo = {}
    for n in truth["annotations"]:
        if n.get("segmentation"):
            by_photo.setdefault(n["image_id"], []).append(n)
    dense = {im["id"] for im in truth["images"] if im.get("stuff_labelled")} or set(by_photo)
    for im in [im for im in truth["images"] if im["id"] in dense][: a.limit]:
        size, stuff, things = (im["height"], im["width"]), {}, []
        for n in by_photo.get(im["id"], []):
            name, mask = cats[n["category_id"]], decode(n["segmentation"], *size).astype(bool)
            if n.get("isthing", 1):
                things.append((name, True, mask))
            else:
                stuff[name] = stuff.get(name, False) | mask
        yield im["file_name"], size, [(n, False, m) for n, m in stuff.items()] + things


def through_binary(a, files, names):
    """{file name: [(name, score, mask)]} of `tarsier semantic`."""
    command = [
        a.tarsier,
        "semantic",
        "--pack",
        a.pack,
        "--format",
        "coco",
        "--threads",
        a.threads,
        *(o for n in names for o in ("--stuff", n)),
    ]
    out = subprocess.run([*map(str, command), *map(str, files)], stdout=subprocess.PIPE, check=True).stdout
    found = {}
    for r in json.loads(out):
        found.setdefault(Path(r["file_name"]).name, []).append(
            (r["category_name"], r.get("score", 1.0), rle.decode(r["segmentation"]).astype(bool))
        )
    return found


def through_graph(a, files, names):
    """The same from an exported graph: per pixel the best name, where its score reaches the threshold."""
    import onnxruntime as ort

    from tarsier_recipe.detector.prompts import PromptBank

    session = ort.InferenceSession(str(a.onnx or a.build.detector_fp32), providers=["CPUExecutionProvider"])
    align = json.load(open(a.build.numbers("stuff")))
    rows = PromptBank(a.build.prompts, names).names().numpy()
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    found = {}
    for file in files:
        photo = cv2.imread(str(file))[:, :, ::-1]
        x, s, left, top = letterbox(photo, DEPLOYED)
        vectors = session.run(["stuff"], {"image": x.transpose(2, 0, 1)[None].astype(np.float32) / 255})[0][0]
        logits = np.einsum("cd,dhw->chw", rows, vectors) * align["scale"] + align["bias"]
        h, w = photo.shape[:2]
        # cell centres -> pixels of the photo
        m = np.array([[8 / s, 0, (3.5 - left) / s], [0, 8 / s, (3.5 - top) / s]], np.float32)
        logits = np.stack(
            [cv2.warpAffine(z, m, (w, h), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE) for z in logits]
        )
        best, score = logits.argmax(0), 1 / (1 + np.exp(-logits.max(0)))
        said = np.where(score >= align["threshold"], best, -1)
        found[Path(file).name] = [
            (names[k], float(score[said == k].mean()), said == k) for k in np.unique(said) if k >= 0
        ]
    return found


def measure(truth, found, names):
    """Numbers of `found` [(name, score, mask)] by photo against `truth`."""
    index, confusion = {n: k for k, n in enumerate(names)}, Confusion(len(names))
    for file, size, segments in truth:
        true, said, counted = np.full(size, -1), np.full(size, -1), np.zeros(size, bool)
        for name, thing, mask in segments:
            counted |= mask
            if not thing:
                true[mask] = index[name]
        for name, _, mask in sorted(found.get(Path(file).name, []), key=lambda s: s[1]):
            said[mask] = index.get(name, -1)
        confusion.add(true, said, counted)
    iou = confusion.iou()
    by_name = {n: round(100 * float(iou[k]), 1) for n, k in index.items() if np.isfinite(iou[k])}
    return {
        **{k: round(100 * v, 2) for k, v in confusion.summary().items()},
        "IoU by name": dict(sorted(by_name.items(), key=lambda kv: -kv[1])),
    }


def main():
    p = options.parser(__doc__, *options.BINARY, "output")
    p.add_argument("--labels", type=Path, help="folder of PNG label maps instead of --annotations")
    p.add_argument("--names", type=Path, help="with --labels, a name per line")
    p.add_argument("--zero-based", action="store_true")
    p.add_argument("--fp32", action="store_true", help="ask the exported graph instead of the binary")
    p.add_argument("--onnx", type=Path, help="with --fp32, another graph than detector_fp32.onnx")
    a = options.parse(p)
    truth = list(masks_of(a))
    stuff = sorted({n for _, _, segments in truth for n, thing, _ in segments if not thing})
    files = [a.images / f for f, _, _ in truth]
    print(f"{len(truth)} photos, {len(stuff)} stuff names", flush=True)
    numbers = measure(truth, through_graph(a, files, stuff) if a.fp32 else through_binary(a, files, stuff), stuff)
    for k, v in numbers.items():
        print(f"{k}: {v}")
    if a.output:
        a.output.write_text(json.dumps(numbers, indent=1))


if __name__ == "__main__":
    main()
