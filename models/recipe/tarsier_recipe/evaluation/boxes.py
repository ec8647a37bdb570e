"""Numbers of the shipped binary (int8), or of the fp32 export, on a COCO-format split: box AP; and, for the binary,
what a user sees at the pack's own thresholds (precision, recall, and IL_MCC: Matthews' correlation of "a photo of this
has at least one box" with "it has one in truth", over all photos and names), how far scores are from probabilities by
name, what is lost when a name is asked for by a synonym, and mask AP.

    python -m tarsier_recipe evaluate  # ../tarsier-s.tarsier through the program
    # build/detector/detector_fp32.onnx through onnxruntime, same letterbox and selection
    python -m tarsier_recipe evaluate --fp32
    python -m tarsier_recipe evaluate --annotations instances.json --images folder --source any
    python -m tarsier_recipe evaluate --plots folder                    # precision-recall.png, confusion.png

Other tasks: `evaluate-federated` (LVIS, OpenImages, ODinW, ...), `evaluate-scene`, `evaluate-semantic` (pixels),
`evaluate-grounding`, `evaluate-d3` (sentences).

Prompts are the names of the 80 COCO categories; only photos of the source that annotates them exhaustively count
(`--source coco`).
"""

import contextlib
import io
import json
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from tarsier_recipe import options
from tarsier_recipe.coco import COCO80
from tarsier_recipe.evaluation import plots

STRIDES = (8, 16, 32, 64)
PROPOSALS = 300
NMS_IOU = 0.6


SYNONYMS = {
    "couch": "sofa",
    "dog": "puppy",
    "bicycle": "bike",
    "car": "automobile",
    "motorcycle": "motorbike",
    "airplane": "plane",
    "tv": "television",
    "cell phone": "mobile phone",
}
SENTENCES = ("a {}", "a photo of a {}", "the {} on the left")  # names that the encoder has to find in more words


def through_binary(a, files, names=COCO80, threshold=None, *more):
    """Results of `tarsier detect --format coco` on the photos, at the pack's own thresholds if none is given."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as prompts:
        prompts.write("\n".join(names))
        prompts.flush()
        command = [
            a.tarsier,
            "detect",
            "--pack",
            a.pack,
            "--prompts",
            prompts.name,
            "--encode-unknown",
            "--format",
            "coco",
            "--threads",
            str(a.threads),
        ]
        command += [] if threshold is None else ["--threshold", str(threshold)]
        done = subprocess.run([*map(str, command), *more, *map(str, files)], stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)


def presences(a, files):
    """{(photo, name): there} of `tarsier detect --absent`."""
    command = [a.tarsier, "detect", "--pack", a.pack, "--absent", "--format", "json", "--threads", str(a.threads)]
    done = subprocess.run([*map(str, command), *map(str, files)], stdout=subprocess.PIPE, check=True)
    frames = [json.loads(line) for line in done.stdout.splitlines()]
    return {(Path(f["file_name"]).name, p["class_id"]): p["state"] == "there" for f in frames for p in f["presence"]}


def nms(boxes, scores, limit):
    """Indices kept of one category's boxes, best first."""
    order, kept = np.argsort(-scores, kind="stable"), []
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    while len(order):
        i, rest = order[0], order[1:]
        kept.append(i)
        lt, rb = np.maximum(boxes[i, :2], boxes[rest, :2]), np.minimum(boxes[i, 2:], boxes[rest, 2:])
        inter = np.clip(rb - lt, 0, None).prod(1)
        order = rest[inter / np.maximum(area[i] + area[rest] - inter, 1e-9) <= limit]
    return kept


def proposals(a, files):
    """What the fp32 export proposes: for each photo (photo [H,W,3], letterbox (scale, left, top), embeddings [300,128],
    boxes [300,4] in input pixels, stored objectness [300]).

    Best object first, as the runtime ranks them; stored values are clipped as int8 clips them.
    """
    import cv2
    import onnxruntime as ort

    from tarsier_recipe.detector.data import DEPLOYED, letterbox
    from tarsier_recipe.detector.loss import grid

    options = ort.SessionOptions()
    options.intra_op_num_threads = a.threads
    session = ort.InferenceSession(str(a.onnx), options, providers=["CPUExecutionProvider"])
    names = [f"{k}_{s}" for s in STRIDES for k in ("embedding", "geometry")]
    points, steps = (t.double().numpy() for t in grid(DEPLOYED, STRIDES))
    for file in files:
        photo = cv2.imread(str(file))[:, :, ::-1]
        x, s, left, top = letterbox(photo, DEPLOYED)
        out = session.run(names, {"image": x.transpose(2, 0, 1)[None].astype(np.float32) / 255})
        embedding = np.concatenate([e[0].reshape(128, -1).T for e in out[0::2]])
        geometry = np.concatenate([g[0].reshape(16, -1).T for g in out[1::2]]).clip(0, 8)
        best = np.argsort(-geometry[:, 4], kind="stable")[:PROPOSALS]
        d, p = geometry[best, :4] * steps[best, None], points[best]
        yield photo, (s, left, top), embedding[best], np.concatenate([p - d[:, :2], p + d[:, 2:]], 1), geometry[best, 4]


def unit_rows(a, names):
    """The names' rows [N,128] in the space of prompts, of unit length."""
    from tarsier_recipe.detector.prompts import PromptBank

    rows = PromptBank(a.build.prompts, names).names().numpy()
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def alignment(a, names, calibrated):
    """Maps embeddings [...,128] to the names' logits [...,N]: the network's, or calibrated as in the pack."""
    rows, common = unit_rows(a, names), json.load(open(a.build.alignment))
    logits = lambda embedding: common["scale"] * embedding @ rows.T + common["bias"]  # noqa: E731
    if not calibrated:
        return logits
    calibration = json.load(open(a.build.calibration))
    own = [{**calibration["common"], **calibration["names"].get(n, {})} for n in names]
    factor, shift = (np.array([o[k] for o in own]) for k in ("factor", "shift"))
    return lambda embedding: factor * logits(embedding) + shift


def in_photo(boxes, placed, photo):
    """Boxes [n,4] in input pixels of a letterbox (scale, left, top) in pixels of its photo, cut at its edges."""
    s, left, top = placed
    return ((boxes - [left, top, left, top]) / s).clip(0, [photo.shape[1], photo.shape[0]] * 2)


def selected(boxes, scores, threshold):
    """COCO80's names, boxes x y w h and scores of what NMS leaves of each name; boxes [n,4], or [80,n,4] where a
    name has its own; scores [n,80]."""
    boxes = np.broadcast_to(boxes, (len(COCO80), *boxes.shape[-2:]))
    for c, name in enumerate(COCO80):
        at = np.nonzero(scores[:, c] > threshold)[0]
        for i in at[nms(boxes[c, at], scores[at, c], NMS_IOU)]:
            b = boxes[c, i]
            yield {"category_name": name, "bbox": [b[0], b[1], b[2] - b[0], b[3] - b[1]], "score": float(scores[i, c])}


def through_fp32(a, files):
    """The same stages in floats: letterbox, network, 300 proposals by objectness, alignment, selection."""
    logits, results = alignment(a, COCO80, calibrated=False), []
    for file, (photo, placed, embedding, boxes, _) in zip(files, proposals(a, files)):
        scores = 1 / (1 + np.exp(-logits(embedding)))
        results += [
            {"file_name": file.name, **r} for r in selected(in_photo(boxes, placed, photo), scores, a.threshold)
        ]
    return results


def coco_truth(annotations, source, limit):
    """A COCO-format file's photos of a source (`any`: all; only the first `limit`), the boxes of COCO80's names in
    them, and those names' ids."""
    truth = json.load(open(annotations))
    truth["images"] = [im for im in truth["images"] if source in ("any", im.get("source"))][:limit]
    chosen = {im["id"] for im in truth["images"]}
    ids = {c["name"]: c["id"] for c in truth["categories"] if c["name"] in COCO80}
    truth["annotations"] = [
        n for n in truth["annotations"] if n["image_id"] in chosen and n["category_id"] in ids.values()
    ]
    return truth, ids


def mask_ap(a, files, truth, found, by_file, ids, evaluated):
    """Mask AP over the photos whose every box has a mask."""
    from pycocotools.coco import COCO

    masked = {n["image_id"] for n in truth["annotations"]} - {
        n["image_id"] for n in truth["annotations"] if not n.get("segmentation")
    }
    if not masked:
        return "no photo has masks"
    coco = COCO()
    coco.dataset = {
        **truth,
        "images": [im for im in truth["images"] if im["id"] in masked],
        "annotations": [n for n in truth["annotations"] if n["image_id"] in masked],
    }
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
    results = [
        {
            "image_id": by_file[r["file_name"]],
            "category_id": ids[r["category_name"]],
            "segmentation": r["segmentation"],
            "score": r["score"],
        }
        for r in found
    ]
    results = [r for r in results if r["image_id"] in masked]
    out = {"photos": len(masked)}
    for kind in ("segm", "bbox"):
        e = evaluated(
            results
            if kind == "segm"
            else [
                {
                    "image_id": by_file[r["file_name"]],
                    "category_id": ids[r["category_name"]],
                    "bbox": r["bbox"],
                    "score": r["score"],
                }
                for r in found
                if by_file[r["file_name"]] in masked
            ],
            COCO80,
            kind,
            coco,
            sorted(masked),
        )
        with contextlib.redirect_stdout(io.StringIO()):
            e.summarize()
        out.update({f"{kind} {k}": round(100 * float(v), 2) for k, v in zip(("AP", "AP50", "AP75"), e.stats)})
    return out


def as_shipped(e, chosen, ids):
    """Precision, recall (IoU at least 0.5) and IL_MCC of what is reported."""
    right = wrong = total = 0
    for m in e.evalImgs:
        if m and m["aRng"] == e.params.areaRng[0]:
            matched, ignored = m["dtMatches"][0] > 0, m["dtIgnore"][0]
            right, wrong = right + int((matched & ~ignored).sum()), wrong + int((~matched & ~ignored).sum())
            total += int((np.array(m["gtIgnore"]) == 0).sum())
    pairs = {(i, k): (bool(e._gts[i, k]), bool(e._dts[i, k])) for i in chosen for k in ids.values()}
    there, said = np.array(list(pairs.values())).T
    return {
        "precision": round(right / max(1, right + wrong), 3),
        "recall": round(right / total, 3),
        "boxes per photo": round((right + wrong) / len(chosen), 2),
        "IL_MCC": round(float(np.corrcoef(there, said)[0, 1]), 3),
    }


def calibration_errors(e, name_of, least=0.02, enough=50):
    """Mean distance between score and precision (IoU 0.5) over ten equally filled bins: of all pairs together, and by
    name.

    Only detections of at least `least` count, and names with `enough` of them.
    """
    rows = {}
    for m in e.evalImgs:
        if m and m["aRng"] == e.params.areaRng[0]:
            for score, match, ignored in zip(m["dtScores"], m["dtMatches"][0], m["dtIgnore"][0]):
                if score >= least and not ignored:
                    rows.setdefault(m["category_id"], []).append((score, match > 0))

    def error(pairs):
        pairs = np.array(sorted(pairs), float)
        return sum(abs(part[:, 0].mean() - part[:, 1].mean()) * len(part) for part in np.array_split(pairs, 10)) / len(
            pairs
        )

    own = {name_of[k]: round(float(error(r)), 3) for k, r in rows.items() if len(r) >= enough}
    every = [pair for r in rows.values() for pair in r]
    return (
        {
            "calibration error": round(float(error(every)), 4),
            "calibration error, mean over names": round(float(np.mean(list(own.values()))), 4),
            "calibration error by name": own,
        }
        if own
        else {}
    )


def main():
    p = options.parser(__doc__, *options.BINARY, "output")
    p.add_argument("--source", default="coco", help="only photos of this `source`; `any` takes all")
    p.add_argument("--threshold", type=float, default=0.001)
    p.add_argument("--fp32", action="store_true", help="the exported graph through onnxruntime instead of the binary")
    p.add_argument("--onnx", type=Path, help="with --fp32, another graph (detector_qdq.onnx: int8 without the binary)")
    p.add_argument("--plots", type=Path, help="folder for precision-recall.png and confusion.png")
    a = options.parse(p)
    a.onnx = a.onnx or a.build.detector_fp32
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    truth, ids = coco_truth(a.annotations, a.source, a.limit)
    chosen = {im["id"] for im in truth["images"]}
    by_file = {Path(im["file_name"]).name: im["id"] for im in truth["images"]}
    files = [a.images / im["file_name"] for im in truth["images"]]
    print(
        f"{len(files)} photos, {len(truth['annotations'])} boxes, {'fp32 onnxruntime' if a.fp32 else a.pack}",
        flush=True,
    )
    found = through_fp32(a, files) if a.fp32 else through_binary(a, files, threshold=a.threshold)
    as_results = lambda found, of=lambda name: name: [
        {
            "image_id": by_file[r["file_name"]],
            "category_id": ids[of(r["category_name"])],
            "bbox": r["bbox"],
            "score": r["score"],
        }
        for r in found
    ]
    coco = COCO()
    coco.dataset = truth
    coco.createIndex()

    def evaluated(results, names, kind="bbox", coco=coco, photos=None):
        with contextlib.redirect_stdout(io.StringIO()):
            e = COCOeval(coco, coco.loadRes(results), kind)
            e.params.imgIds = sorted(chosen) if photos is None else photos
            e.params.catIds = sorted(ids[n] for n in names)
            e.evaluate()
            e.accumulate()
        return e

    e = evaluated(as_results(found), COCO80)
    e.summarize()
    per_name, ap = {}, {}
    for name, k in ids.items():
        pr = e.eval["precision"][:, :, e.params.catIds.index(k), 0, 2]
        if (pr > -1).any():
            per_name[name] = round(100 * float(pr[0][pr[0] > -1].mean()), 1)
            ap[name] = 100 * float(pr[pr > -1].mean())
    best = sorted(per_name.items(), key=lambda kv: -kv[1])[:15]
    print("AP50 of the best names:", ", ".join(f"{n} {v}" for n, v in best))
    name_of, file_of = {k: n for n, k in ids.items()}, {im["id"]: im["file_name"] for im in truth["images"]}
    if a.plots:
        a.plots.mkdir(parents=True, exist_ok=True)
        plots.precision_recall(a.plots / "precision-recall.png", e, [name_of[k] for k in e.params.catIds])
    more = {}
    if not a.fp32:
        reported = as_results(through_binary(a, files))
        more = {**as_shipped(evaluated(reported, COCO80), chosen, ids), **calibration_errors(e, name_of)}
        if a.plots:
            named = lambda rows: [{**r, "name": name_of[r["category_id"]]} for r in rows]  # noqa: E731
            counts = plots.confusion(named([n for n in truth["annotations"] if not n.get("iscrowd")]), named(reported))
            plots.confusion_matrix(a.plots / "confusion.png", counts)
        loss = {}
        for name, other in SYNONYMS.items():
            if name in ap:
                other_found = as_results(through_binary(a, files, [other], a.threshold), lambda _, name=name: name)
                pr = evaluated(other_found, [name]).eval["precision"][:, :, 0, 0, 2] if other_found else np.zeros(1)
                loss[f"{other} for {name}"] = [round(100 * float(pr.mean()), 2), round(ap[name], 2)]
        more["AP by synonym, by name"] = loss
        said = {}
        for form in SENTENCES:
            back = {form.format(n): n for n in COCO80}
            pr = evaluated(as_results(through_binary(a, files, list(back), a.threshold), back.get), COCO80).eval[
                "precision"
            ][:, :, :, 0, 2]
            said[form] = round(100 * float(pr[pr > -1].mean()), 2)
        more["AP by sentence"] = said
        there = presences(a, files)
        has = {(im["file_name"], n): False for im in truth["images"] for n in ids}
        has.update({(file_of[n["image_id"]], name_of[n["category_id"]]): True for n in truth["annotations"]})
        both = np.array([(v, there[Path(f).name, n]) for (f, n), v in has.items()]).T
        more["IL_MCC of --absent"] = round(float(np.corrcoef(*both)[0, 1]), 3)
        more["masks"] = mask_ap(
            a, files, truth, through_binary(a, files, COCO80, a.threshold, "--masks"), by_file, ids, evaluated
        )
        for k, v in more.items():
            print(f"{k}: {v}")
    if a.output:
        keys = ("AP", "AP50", "AP75", "AP small", "AP medium", "AP large")
        a.output.write_text(
            json.dumps(
                {**{k: round(100 * float(v), 2) for k, v in zip(keys, e.stats)}, "AP50 by name": per_name, **more},
                indent=1,
            )
        )


if __name__ == "__main__":
    main()
