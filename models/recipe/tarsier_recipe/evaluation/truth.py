"""Labels of the public detection sets in one form: a COCO dict whose photos say what is known of them.

| set | what to give | known per photo |
|---|---|---|
| COCO, Objects365, ODinW / RoboFlow100, SegInW | their JSON | every category is annotated everywhere |
| LVIS | its JSON (`neg_category_ids`, `not_exhaustive_category_ids`) | federated: only those that are labelled or verified absent |
| this recipe's data | its JSON (`exhaustive_categories`) | federated |
| OpenImages | folder with `*annotations-bbox.csv`, `*annotations-human-imagelabels-boxable.csv`, `class-descriptions-boxable.csv` | federated |

`load` adds to each photo `known`: the ids that are annotated completely (present or absent), and `partial`: ids of
which not every instance has a box, where an unexplained detection is no mistake.
"""  # noqa: E501

import csv
import json
from pathlib import Path


def load(path):
    path = Path(path)
    truth = openimages(path) if path.is_dir() else json.load(open(path))
    every = {c["id"] for c in truth["categories"]}
    by_name = {c["name"]: c["id"] for c in truth["categories"]}
    there = {}
    for n in truth["annotations"]:
        there.setdefault(n["image_id"], set()).add(n["category_id"])
        n.setdefault("iscrowd", 0)
        n.setdefault("area", n["bbox"][2] * n["bbox"][3])
    for im in truth["images"]:
        present = there.get(im["id"], set())
        if "exhaustive_categories" in im:
            im["known"] = {by_name[n] for n in im["exhaustive_categories"] if n in by_name}
            im["partial"] = present - im["known"]
        elif "neg_category_ids" in im:
            im["partial"] = set(im.get("not_exhaustive_category_ids", []))
            im["known"] = (present | set(im["neg_category_ids"])) - im["partial"]
        elif "known" not in im:
            im["known"], im["partial"] = every, set()
        im.setdefault("file_name", "/".join(im.get("coco_url", "").split("/")[-2:]))
    return truth


def openimages(folder):
    """OpenImages' tables as a COCO dict. Boxes there are parts of the photo; so are they here: sizes are read from
    `images` later."""

    def table(pattern):
        found = sorted(folder.glob(pattern))
        if not found:
            raise FileNotFoundError(f"{folder} has no {pattern}")
        with found[0].open(newline="") as f:
            return list(csv.reader(f))

    names = {row[0]: row[1].lower() for row in table("class-descriptions*boxable*.csv")}
    category = {mid: k + 1 for k, mid in enumerate(names)}
    images, annotations = {}, []
    image = lambda i: images.setdefault(
        i, {"id": i, "file_name": f"{i}.jpg", "width": 1, "height": 1, "known": set(), "partial": set()}
    )  # noqa: E731
    head, *labels = table("*imagelabels-boxable.csv")
    at = {n: k for k, n in enumerate(head)}
    for row in labels:
        if row[at["LabelName"]] in category:
            image(row[at["ImageID"]])["known"].add(category[row[at["LabelName"]]])
    head, *boxes = table("*annotations-bbox.csv")
    at = {n: k for k, n in enumerate(head)}
    for n, row in enumerate(boxes):
        if row[at["LabelName"]] not in category:
            continue
        x0, x1, y0, y1 = (float(row[at[k]]) for k in ("XMin", "XMax", "YMin", "YMax"))
        image(row[at["ImageID"]])["known"].add(category[row[at["LabelName"]]])
        group = int(row[at["IsGroupOf"]] == "1")
        annotations.append(
            {
                "id": n + 1,
                "image_id": row[at["ImageID"]],
                "category_id": category[row[at["LabelName"]]],
                "iscrowd": group,
                "bbox": [x0, y0, x1 - x0, y1 - y0],
            }
        )
    return {
        "images": list(images.values()),
        "annotations": annotations,
        "categories": [{"id": k, "name": names[mid]} for mid, k in category.items()],
    }


def in_pixels(truth, size_of):
    """Makes boxes that are parts of a photo (OpenImages) pixels; `size_of(file name)` gives width and height."""
    scale = {}
    for im in truth["images"]:
        if (im["width"], im["height"]) == (1, 1):
            im["width"], im["height"] = scale[im["id"]] = size_of(im["file_name"])
    for n in truth["annotations"]:
        if n["image_id"] in scale:
            w, h = scale[n["image_id"]]
            x, y, bw, bh = n["bbox"]
            n["bbox"], n["area"] = [x * w, y * h, bw * w, bh * h], bw * w * bh * h
    return truth
