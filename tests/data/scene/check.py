"""Reads what tests/scene.rs had the program write, as the tools of the formats do.

    python check.py FOLDER PHOTOS

* COCO results: pycocotools' loadRes and mask functions, run lengths against polygons and bits.
* Label maps: the PNG against the run lengths.
* COCO panoptic: the rules of https://cocodataset.org/#format-data and of panopticapi's checks: every id of the PNG has a segment and
  the other way round, areas and boxes are those of the pixels, ids are unique and not 0, categories exist, iscrowd is 0.
"""

import base64
import contextlib
import io
import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def decoded(segmentation, height, width):
    if isinstance(segmentation, list):
        return coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(segmentation, height, width))).astype(bool)
    return coco_mask.decode(segmentation).astype(bool)


def filled(mask):
    """A mask without its holes: what cannot be reached from outside."""
    padded = np.pad(mask, 1)
    outside = np.zeros_like(padded)
    outside[0] = outside[-1] = outside[:, 0] = outside[:, -1] = True
    while True:
        grown = outside.copy()
        for axis in (0, 1):
            for step in (1, -1):
                grown |= np.roll(outside, step, axis)
        grown &= ~padded
        grown |= outside
        if (grown == outside).all():
            return ~outside[1:-1, 1:-1]
        outside = grown


def check_segments(folder, photos):
    rle, polygons = (json.loads((folder / f).read_text()) for f in ("rle.json", "polygons.json"))
    sizes = {p.name: Image.open(p).size for p in photos.iterdir()}
    ids = {name: i + 1 for i, name in enumerate(sorted(sizes))}
    coco = COCO()
    coco.dataset = {
        "images": [{"id": ids[n], "file_name": n, "width": w, "height": h} for n, (w, h) in sizes.items()], "annotations": [],
        "categories": [{"id": i + 1, "name": n} for i, n in enumerate(("person", "tie"))],
    }
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
        categories = {c["name"]: c["id"] for c in coco.dataset["categories"]}
        for results in (rle, polygons):
            loaded = coco.loadRes([{"image_id": ids[r["file_name"]], "category_id": categories[r["category_name"]], **{k: r[k] for k in ("segmentation", "bbox", "score")}} for r in results])
            assert len(loaded.anns) == len(results) > 2
    worst = 1.0
    for a, b in zip(rle, polygons):
        w, h = sizes[a["file_name"]]
        assert a["segmentation"]["size"] == [h, w]
        one, two = decoded(a["segmentation"], h, w), decoded(b["segmentation"], h, w)
        one = filled(one)
        iou = (one & two).sum() / (one | two).sum()
        worst = min(worst, iou)
        assert iou > 0.9, (a["file_name"], a["category_name"], iou)
        x, y, bw, bh = a["bbox"]
        rows, columns = np.nonzero(one)
        assert columns.min() >= x - 1 and columns.max() <= x + bw and rows.min() >= y - 1 and rows.max() <= y + bh
    for whole, small in zip(lines(folder / "rle.jsonl"), lines(folder / "bits.jsonl")):
        for a, b in zip(whole["detections"], small["detections"], strict=True):
            bits = np.unpackbits(np.frombuffer(base64.b64decode(b["mask"]["bits"], validate=True), np.uint8)).reshape(b["mask"]["size"])
            mask, box = decoded(a["mask"], whole["height"], whole["width"]), a["bbox"]
            at = lambda c, size, n: np.clip((c - size / 2 + size * (np.arange(128) + 0.5) / 128).astype(int), 0, n - 1)  # noqa: E731
            rows, columns = at(box["center"]["y"], box["size_y"], mask.shape[0]), at(box["center"]["x"], box["size_x"], mask.shape[1])
            same = (mask[np.ix_(rows, columns)] == bits).mean()
            assert same > 0.98, same  # boxes are written with two decimals
    print(f"{len(rle)} masks; polygons overlap them by at least {worst:.3f}")


def check_semantic(folder):
    results, frames = json.loads((folder / "semantic.json").read_text()), lines(folder / "semantic.jsonl")
    labels = {c["class_id"]: c["label"] for f in frames for c in f["classes"]}
    maps = {p.stem: np.asarray(Image.open(p)) for p in (folder / "semantic").iterdir()}
    assert len(maps) == len(frames) == 4
    for stem, image in maps.items():
        assert image.dtype == np.uint8
        rebuilt = np.full(image.shape, 255)
        for r in (r for r in results if Path(r["file_name"]).stem == stem):
            inside = coco_mask.decode(r["segmentation"]).astype(bool)
            assert (rebuilt[inside] == 255).all(), "two names at one pixel"
            rebuilt[inside] = labels[r["category_name"]]
            assert 0 <= r["score"] <= 1
        assert (rebuilt == image).all(), stem
    print(f"{len(results)} regions in {len(maps)} label maps")


def check_panoptic(folder):
    data = json.loads((folder / "panoptic.json").read_text())
    categories = {c["id"]: c for c in data["categories"]}
    assert len(categories) == len(data["categories"]) and all(c["isthing"] in (0, 1) for c in categories.values())
    images, count = {i["id"]: i for i in data["images"]}, 0
    assert len(images) == len(data["annotations"]) == 4
    for annotation in data["annotations"]:
        image = images[annotation["image_id"]]
        assert Path(annotation["file_name"]).stem == Path(image["file_name"]).stem
        rgb = np.asarray(Image.open(folder / annotation["file_name"])).astype(np.uint32)
        assert rgb.shape == (image["height"], image["width"], 3)
        ids = rgb[..., 0] + 256 * rgb[..., 1] + 256**2 * rgb[..., 2]
        infos = {s["id"]: s for s in annotation["segments_info"]}
        assert len(infos) == len(annotation["segments_info"]) and 0 not in infos
        assert set(np.unique(ids)) - {0} == set(infos)
        for i, s in infos.items():
            assert s["category_id"] in categories and s["iscrowd"] == 0 and 0 <= s["score"] <= 1
            assert s["isthing"] == categories[s["category_id"]]["isthing"]
            rows, columns = np.nonzero(ids == i)
            assert s["area"] == len(rows)
            assert s["bbox"] == [columns.min(), rows.min(), columns.max() - columns.min() + 1, rows.max() - rows.min() + 1]
        stuff = [s["category_id"] for s in infos.values() if not s["isthing"]]
        if folder.name == "panoptic":
            assert len(stuff) == len(set(stuff)), "stuff is merged"
        count += len(infos)
    print(f"{count} segments in {folder.name}")


if __name__ == "__main__":
    out, photos = map(Path, sys.argv[1:3])
    check_segments(out, photos)
    check_semantic(out)
    check_panoptic(out / "panoptic")
    check_panoptic(out / "separate")
