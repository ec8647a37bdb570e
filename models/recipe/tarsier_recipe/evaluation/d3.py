"""Described objects: AP of sentences, asked in two ways as D3 does (Xie et al. 2023), through `tarsier ground`.

    python -m tarsier_recipe evaluate-d3  # build/detector/expressions_val.json, made by `ground`
    # D3 itself: d3_full_annotations.json, groups.json
    python -m tarsier_recipe evaluate-d3 --d3 d3_json --images d3_images

* intra-scenario: a photo is asked only the sentences that were written for its group (here: for that photo);
* inter-scenario: every photo is asked every sentence of the set. A sentence that is true of a photo it was not written
  for counts as a mistake there, unless the set says otherwise (D3 was annotated over all photos; the generated
  expressions were not, so their inter-scenario AP is a lower bound).

AP is COCO's (IoU 0.50:0.95), a sentence is a category; `full` takes all, `presence` those without a negation,
`absence` those with one. IL_MCC is Matthews' correlation of "the sentence got a box" with "it is true of the photo"
at the pack's gate, over the photos and sentences asked.
"""

import contextlib
import io
import json
import random
import re
from pathlib import Path

import numpy as np
from PIL import Image

from tarsier_recipe import options
from tarsier_recipe.evaluation.grounding import ask, expressions

NEGATION = re.compile(r"\b(no|not|without|isn't|aren't|nothing|neither|nor|never|un\w+ed)\b")


def generated(a):
    """Photos, sentences and truth of the expression list: {photo: {sentence: [boxes in pixels]}} for the pairs that
    were written."""
    told, where = expressions(a.expressions or a.build.expressions), {}
    for t in told:
        file = Path(t["file_name"]).name
        w, h = Image.open(a.images / file).size
        boxes = where.setdefault(file, {}).setdefault(t["sentence"], [])
        if t["box"]:
            x0, y0, x1, y1 = t["box"]
            boxes.append([x0 * w, y0 * h, (x1 - x0) * w, (y1 - y0) * h])
    return where, {f: set(s) for f, s in where.items()}


def d3(a):
    """The same of D3's JSON: categories are sentences, photos and sentences belong to groups."""
    truth = json.load(open(next(a.d3.glob("*full*.json"))))
    sentences = {c["id"]: c.get("raw_sent") or c["name"] for c in truth["categories"]}
    files = {im["id"]: Path(im["file_name"]).name for im in truth["images"]}
    where = {f: {} for f in files.values()}
    for n in truth["annotations"]:
        where[files[n["image_id"]]].setdefault(sentences[n["category_id"]], []).append(n["bbox"])
    groups = json.load(open(a.d3 / "groups.json"))
    groups = groups if isinstance(groups, list) else list(groups.values())
    asked = {}
    for g in groups:
        for i in g.get("inner_group_img_id") or g.get("img_id", []):
            asked.setdefault(files[i], set()).update(
                sentences[s] for s in g.get("inner_sent_id") or g.get("sent_id", [])
            )
    return where, asked


def average_precision(where, asked, answers, keep):
    """COCO AP over the sentences that `keep` takes; a sentence is asked of the photos whose `asked` has it. IL_MCC
    beside it."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    files = {f: k + 1 for k, f in enumerate(sorted(asked))}
    sentences = {s: k + 1 for k, s in enumerate(sorted({s for some in asked.values() for s in some if keep(s)}))}
    boxes, results, pairs = [], [], []
    for f, some in asked.items():
        for s in some & sentences.keys():
            real = where[f].get(s, [])
            boxes += [
                {
                    "id": len(boxes) + k + 1,
                    "image_id": files[f],
                    "category_id": sentences[s],
                    "bbox": b,
                    "area": b[2] * b[3],
                    "iscrowd": 0,
                }
                for k, b in enumerate(real)
            ]
            best, shown = answers[f, s]
            if best:
                results.append({"image_id": files[f], "category_id": sentences[s], **best})
            pairs.append((bool(real), shown))
    if not boxes or not results:
        return None
    coco = COCO()
    coco.dataset = {
        "images": [{"id": k} for k in files.values()],
        "categories": [{"id": k} for k in sentences.values()],
        "annotations": boxes,
    }
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
        e = COCOeval(coco, coco.loadRes(results), "bbox")
        e.evaluate()
        e.accumulate()
    pr = e.eval["precision"][:, :, :, 0, 2]
    there, said = np.array(pairs).T
    return {
        "AP": round(100 * float(pr[pr > -1].mean()), 2),
        "AP50": round(100 * float(pr[0][pr[0] > -1].mean()), 2),
        "IL_MCC": round(float(np.corrcoef(there, said)[0, 1]), 3)
        if there.any() and not there.all() and said.any()
        else None,
        "sentences": len(sentences),
        "pairs": len(pairs),
    }


def boxed(answer):
    b = answer["bbox"]
    return b and {
        "bbox": [b["center"]["x"] - b["size_x"] / 2, b["center"]["y"] - b["size_y"] / 2, b["size_x"], b["size_y"]],
        "score": answer["score"],
    }


def main():
    p = options.parser(__doc__, *options.BINARY, "output")
    p.add_argument("--expressions", type=Path)
    p.add_argument("--d3", type=Path, help="folder with D3's JSON files")
    p.add_argument("--sentences", type=int, default=200, help="of the generated ones, asked of every photo")
    a = options.parse(p)
    where, intra = d3(a) if a.d3 else generated(a)
    files = sorted(where)[: a.limit]
    every = sorted({s for f in files for s in intra.get(f, ())})
    inter = every if a.d3 else random.Random(0).sample(every, min(a.sentences, len(every)))
    answers = {}
    for n, f in enumerate(files):
        asked = sorted(intra.get(f, set()) | set(inter))
        best, shown = ask(a, [a.images / f], asked, 0)[f], ask(a, [a.images / f], asked)[f]
        answers.update({(f, s): (boxed(b), v["bbox"] is not None) for s, b, v in zip(asked, best, shown)})
        if (n + 1) % 50 == 0:
            print(f"{n + 1}/{len(files)} photos", flush=True)
    numbers = {}
    for name, asked in (
        ("intra-scenario", {f: intra.get(f, set()) for f in files}),
        ("inter-scenario", {f: set(inter) for f in files}),
    ):
        for part, keep in (
            ("full", lambda s: True),
            ("presence", lambda s: not NEGATION.search(s)),
            ("absence", NEGATION.search),
        ):
            numbers[f"{name}, {part}"] = average_precision(where, asked, answers, keep)
    for k, v in numbers.items():
        print(f"{k}: {v}")
    if a.output:
        a.output.write_text(json.dumps(numbers, indent=1))


if __name__ == "__main__":
    main()
