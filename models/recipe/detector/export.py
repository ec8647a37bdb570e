"""Student -> ONNX fp32 (one graph, every tensor that the next stages need has a name) and calibration pictures.

    python export.py                       # build/detector/final.pt -> build/detector/detector_fp32.onnx, calibration.npz
                                           # ground.pt -> ground_fp32.onnx: it reads objects, not pictures

Batch normalisation is folded into the convolutions. Two affine changes are folded into the last convolutions, so that one int8
scale serves all 16 geometry channels and no work is left for the runtime:
* distances stay in strides, 0..8;
* objectness only orders proposals, so any rising map of it will do: stored = clamp(logit / 2 + 5, 0, 8).
"""

import argparse
import json
from pathlib import Path

import numpy as np
import onnx
import torch

from data import EVERYDAY, PhotoStore, Split, letterbox
from ground import CHANNELS, SIDE, Grounder
from student import STRIDES, Masks, Presence, Student
from teacher import COCO80

HERE = Path(__file__).resolve().parent
LEVELS = [f"{kind}_{s}" for s in STRIDES for kind in ("embedding", "geometry")]
FEATURES = [f"feature_{s}" for s in STRIDES]
MASKS = ["prototypes"] + [f"coefficients_{s}" for s in STRIDES]


class Exported(torch.nn.Module):
    """Flat outputs: features first, then embedding and geometry of each level, masks, presence."""

    def __init__(self, student, masks, presence):
        super().__init__()
        self.backbone, self.head, self.masks, self.presence = student.backbone, student.head, masks, presence.convolutions()

    def forward(self, image):
        features = self.backbone(image)
        prototypes, coefficients = self.masks(features)
        return (*features, *(t for level in self.head(features) for t in level), prototypes, *coefficients, self.presence(features))


def load(weights, photos):
    """The student with averaged weights, its normalisation measured anew, objectness mapped to 0..8.

    Averaged weights have no running statistics of their own, and those of training are of mosaics at other sizes: both means and
    variances are taken again over letterboxed photos, as the runtime sees them.
    """
    student = Student()
    student.load_state_dict(torch.load(weights, weights_only=True))
    batches = (torch.from_numpy(b).float() / 255 for b in np.array_split(photos, max(1, len(photos) // 32)))
    torch.optim.swa_utils.update_bn(batches, student)
    student.eval()
    with torch.no_grad():
        last = student.head.where[-1]
        last.weight[4] *= 0.5
        last.bias[4] = last.bias[4] * 0.5 + 5.0
        last.weight[5:] = 0
        last.bias[5:] = 0
    return student


def calibration_photos(split, store, size, count):
    """Letterboxed everyday training photos, uint8 [count,3,size,size], the same ones every time."""
    pool = np.random.default_rng(0).permutation([i for i, im in enumerate(split.images) if im["source"] in EVERYDAY])
    return np.stack([letterbox(store[i][0], size)[0].transpose(2, 0, 1) for i in pool[:count]])


def share_constants(model):
    """The exporter passes weights that several levels share through Identity; the quantiser would take them for activations."""
    graph = model.graph
    constants = {t.name for t in graph.initializer}
    same = {n.output[0]: n.input[0] for n in graph.node if n.op_type == "Identity" and n.input[0] in constants}
    kept = [n for n in graph.node if n.output[0] not in same]
    for n in kept:
        for i, name in enumerate(n.input):
            n.input[i] = same.get(name, name)
    del graph.node[:]
    graph.node.extend(kept)
    return model


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--shared", default=HERE.parents[3] / "shared", type=Path)
    p.add_argument("--build", default=HERE.parents[1] / "build", type=Path)
    p.add_argument("--weights", default="final.pt")
    p.add_argument("--size", type=int, default=320)
    p.add_argument("--calibration", type=int, default=192, help="letterboxed training photos")
    p.add_argument("--normalisation", type=int, default=768, help="letterboxed training photos for batch normalisation")
    a = p.parse_args()
    out = a.build / "detector"
    split = Split(a.shared / "data/train.json", COCO80)
    store = PhotoStore(split, a.shared / "data/images", out / "photos")
    photos = calibration_photos(split, store, a.size, max(a.calibration, a.normalisation))
    student = load(out / a.weights, photos[: a.normalisation])
    masks, presence = Masks(), Presence()
    masks.load_state_dict(torch.load(out / "masks.pt", weights_only=True))
    presence.load_state_dict(torch.load(out / "presence.pt", weights_only=True))
    path = out / "detector_fp32.onnx"
    torch.onnx.export(
        Exported(student, masks.eval(), presence.eval()), torch.zeros(1, 3, a.size, a.size), str(path), dynamo=False, opset_version=17,
        input_names=["image"], output_names=FEATURES + LEVELS + MASKS + ["presence"], do_constant_folding=True,
    )
    model = share_constants(onnx.load(path))
    onnx.save(model, path)
    onnx.checker.check_model(model)
    terms = {"": student, "presence_": presence}
    alignment = {f"{k}{name}": value for k, m in terms.items() for name, value in (("scale", m.log_scale.exp().item()), ("bias", m.bias.item()))}
    (out / "alignment.json").write_text(json.dumps(alignment) + "\n")

    ground = Grounder()
    ground.load_state_dict(torch.load(out / "ground.pt", weights_only=True))
    torch.onnx.export(
        ground.eval(), torch.zeros(1, CHANNELS, SIDE, SIDE), str(out / "ground_fp32.onnx"), dynamo=False, opset_version=17,
        input_names=["objects"], output_names=["match"], do_constant_folding=True,
    )

    np.savez(out / "calibration.npz", image=photos[: a.calibration])
    print(f"{path.name}: {len(model.graph.node)} nodes, alignment scale {student.log_scale.exp().item():.3f}, bias {student.bias.item():.3f}")


if __name__ == "__main__":
    main()
