"""Gathers what the stages made into one folder and has `tarsier pack build` make the pack.

    python -m tarsier_recipe pack
    # what this build folder lacks (the sentence encoder, say) is taken from that pack
    python -m tarsier_recipe pack --base ../tarsier-s.tarsier

Vocabulary rows are the text teacher's embeddings of the names (the sentence encoder imitates the same space on the
device).
"""

import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np

from tarsier_recipe import options
from tarsier_recipe.folders import GOLDEN, PARTS
from tarsier_recipe.shape import MODEL, PACK, SHAPE

LEAST = 0.5  # cosine from which a name leans on one that was in training photos


def lean(rows, trained):
    """Rows of unit length of which those that no training photo shows lean on the nearest one that some do; and on
    which, and how much.

    The detector has learnt the directions of the names in its photos; a name beside them points where it learnt
    nothing. So a name whose nearest trained one has the cosine c becomes the mean of both, weighted by
    (c - LEAST) / (1 - LEAST): leaning more would find more, and leave less of the difference between the two.
    """
    known = np.flatnonzero(trained)
    near = rows @ rows[known].T
    on, cosine = known[near.argmax(1)], near.max(1)
    weight = np.where(trained, 0, np.clip((cosine - LEAST) / (1 - LEAST), 0, 1)).astype(np.float32)
    leaning = (1 - weight)[:, None] * rows + weight[:, None] * rows[on]
    return leaning / np.linalg.norm(leaning, axis=1, keepdims=True), on, weight


def main():
    p = options.parser(__doc__, "tarsier")
    p.add_argument("--output", default=PACK, type=Path)
    p.add_argument("--base", type=Path, help="a pack that has what the build folder lacks")
    p.add_argument("--golden", default=GOLDEN / "frame.png", type=Path)
    p.add_argument("--version", default="0.1.0")
    p.add_argument(
        "--threshold", type=float, default=0.3, help="of names and sentences without a calibration of their own"
    )
    p.add_argument(
        "--uncalibrated", action="store_true", help="scores as the network gives them: what `calibrate` starts from"
    )
    p.add_argument("--metrics", type=Path, help="JSON object of measured numbers")
    a = options.parse(p)
    folder = a.build.pack
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)

    def take(file, name):
        """Whether the pack has a part: copied from the build folder, or left to the base."""
        if file.exists():
            shutil.copy(file, folder / name)
        elif not a.base:
            return False
        return True

    there = [part for part in PARTS if take(a.build.qdq(part), f"{part}_qdq.onnx")]
    # the table is in the encoder's terms
    text = [take(a.build.encoder_qdq, "sentence_qdq.onnx"), take(a.build.tokenizer, "tokenizer.txt")]
    if (a.build.token_table).exists():
        np.load(a.build.token_table).astype("<f4").tofile(folder / "tokens.f32")
    elif not a.base:
        text.append(False)
    if not (all(text) and {"backbone", "head"} <= set(there)):
        p.error("the build folder lacks graphs or the tokenizer, and there is no --base to take them from")
    shutil.copy(a.golden, folder / "golden.png")

    z = np.load(a.build.prompts, allow_pickle=False)
    name_row = {}
    for i, (kind, owner) in enumerate(zip(z["kind"].tolist(), z["owner"].tolist())):
        if kind == "name":
            name_row.setdefault(owner, i)
    categories = json.load(open(a.build.categories))
    # the runtime compares words, not punctuation: of "bow tie" and "bow-tie" only one could ever be asked for
    merged = {}
    for i, c in enumerate(categories):
        words = " ".join(re.findall(r"\w+", c["name"].replace("_", " ").lower()))
        if words in merged:
            merged[words][1]["synonyms"] += c["synonyms"]
        elif words:
            merged[words] = (i, c)
    vocabulary = list(merged.values())
    with open(folder / "vocabulary.tsv", "w") as f:
        for _, c in vocabulary:
            synonyms = [s.replace("\t", " ").replace("|", " ") for s in c["synonyms"]]
            f.write(f"{c['name']}\t{c['kind']}\t{'|'.join(synonyms)}\n")
    rows = z["embedding"][[name_row[i] for i, _ in vocabulary]].astype("<f4")
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    trained = np.array(["training" in c["sets"] for _, c in vocabulary])
    rows, on, weight = lean(rows, trained)
    rows.astype("<f4").tofile(folder / "vocabulary.f32")

    alignment = json.load(open(a.build.alignment))
    # grounding compares logits as they were in its training: before any calibration
    optional = {}
    if "ground" in there:
        optional["ground"] = {
            "scale": alignment["scale"],
            "bias": alignment["bias"],
            **json.load(open(a.build.numbers("ground"))),
        }
    if "presence" in there:
        optional["presence"] = {
            "scale": alignment["presence_scale"],
            "object": 0.0,
            "bias": alignment["presence_bias"],
            "threshold": 0.5,
        }
    if "masks" in there:
        optional["masks"] = {"stride": 8, "unit": alignment["mask_unit"]}
    if "stuff" in there:
        optional["stuff"] = {"stride": 8, **json.load(open(a.build.numbers("stuff")))}
    parameters = folder / "parameters.f32"
    parameters.unlink(missing_ok=True)
    if not a.uncalibrated:
        calibration = json.load(open(a.build.calibration))
        # sigmoid(factor (scale dot + bias) + shift)
        own = [
            {
                **calibration["common"],
                "threshold": a.threshold,
                **(calibration["names"].get(c["name"], {}) if known else {}),
            }
            for (_, c), known in zip(vocabulary, trained)
        ]
        # what leans on a name has as much of its calibration
        own = [{k: float((1 - w) * o[k] + w * own[i][k]) for k in o} for o, i, w in zip(own, on, weight)]
        np.array(
            [
                [o["factor"] * alignment["scale"], o["factor"] * alignment["bias"] + o["shift"], o["threshold"]]
                for o in own
            ],
            "<f4",
        ).tofile(parameters)
        common = calibration["common"]
        if "presence" in there:
            optional["presence"] = calibration.get("presence", optional["presence"])
        alignment = {
            "scale": common["factor"] * alignment["scale"],
            "bias": common["factor"] * alignment["bias"] + common["shift"],
        }
    # what calibration learns from must not be cut off
    known = a.build.floor
    floor = {"floor": json.load(open(known))} if known.exists() and not a.uncalibrated else {}
    manifest = {
        "format": 3,
        "name": MODEL,
        "version": a.version,
        "built_by": "",
        "input_px": SHAPE.size,
        "embedding": int(rows.shape[1]),
        "strides": [8, 16, 32, 64],
        "head": {"boxes": "distances", "grid": 0.5, "objectness": "ranks", **floor},
        "alignment_scale": alignment["scale"],
        "alignment_bias": alignment["bias"],
        "threshold": a.threshold,
        **optional,
        "licence": "MIT OR Apache-2.0",
        "training_data": (
            "6,609 photos from COCO val2017 and 23 smaller public sets, distilled from NanoDet-Plus-m "
            "and all-MiniLM-L6-v2; see models/README.md"
        ),
        "metrics": json.load(open(a.metrics)) if a.metrics else {},
        "golden": "",
        "sha256": {},
    }
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=2))
    base = ["--base", a.base] if a.base else []
    subprocess.run([a.tarsier, "pack", "build", folder, *base, "--output", a.output], check=True)


if __name__ == "__main__":
    main()
