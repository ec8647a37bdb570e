"""Student -> ONNX fp32 (one graph, every tensor that the next stages need has a name) and calibration pictures.

    python -m tarsier_recipe export

    final.pt      -> detector_fp32.onnx, calibration.npz
    final.int8.pt -> detector_tuned.onnx: weights that are good once they are rounded
    ground.pt     -> ground_fp32.onnx: it reads objects, not pictures

Masks, presence and stuff are in the graph where their weights are in the folder; what the folder lacks, the pack will
lack.

Batch normalisation is folded into the convolutions. Two affine changes are folded into the last convolutions, so that
one int8 scale serves all 16 geometry channels and no work is left for the runtime:
* distances stay in strides, 0..8;
* objectness only orders proposals, so any rising map of it will do: stored = clamp(logit / 2 + 5, 0, 8).
"""

import hashlib
import json

import numpy as np
import onnx
import torch

from tarsier_recipe import options
from tarsier_recipe.coco import COCO80
from tarsier_recipe.detector.data import DEPLOYED, EVERYDAY, PhotoStore, Split, letterbox, training
from tarsier_recipe.detector.ground import CHANNELS, SIDE, Grounder
from tarsier_recipe.detector.student import STRIDES, Masks, Presence, Student, Stuff
from tarsier_recipe.precision import whole

LEVELS = [f"{kind}_{s}" for s in STRIDES for kind in ("embedding", "geometry")]
FEATURES = [f"feature_{s}" for s in STRIDES]
MASKS = ["prototypes"] + [f"coefficients_{s}" for s in STRIDES]


class Exported(torch.nn.Module):
    """Flat outputs: features first, then embedding and geometry of each level, then masks, presence and stuff, those
    that there are."""

    def __init__(self, student, masks=None, presence=None, stuff=None):
        super().__init__()
        self.backbone, self.head, self.masks, self.stuff = student.backbone, student.head, masks, stuff
        self.presence = presence and presence.convolutions()
        self.names = (
            FEATURES
            + LEVELS
            + (MASKS if masks else [])
            + (["presence"] if presence else [])
            + (["stuff"] if stuff else [])
        )

    def forward(self, image):
        features = self.backbone(image)
        out = [*features, *(t for level in self.head(features) for t in level)]
        if self.masks:
            prototypes, coefficients = self.masks(features)
            out += [prototypes, *coefficients]
        for part in (self.presence, self.stuff):
            if part:
                out.append(part(features))
        return tuple(out)


def trained(kind, path):
    """The network with its weights, or None where there are none."""
    if not path.exists():
        return None
    state = torch.load(path, weights_only=True)
    own = {"width": len(state["prototypes.1.weight"][0])} if kind is Masks else {}
    network = kind(**own)
    network.load_state_dict(state)
    return network.eval()


def digest(path):
    """Of a file of weights: what was made of other ones is not theirs."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def load(build, tuned=False):
    """The student with averaged weights, objectness mapped to 0..8; `tuned`: with the weights that `int8` made of them,
    or None if it has not.

    Its normalisation is the average of what it was in training: the weights were learnt for the statistics of small
    batches.
    """
    state = torch.load(build.weights, weights_only=True)
    if tuned:
        own = torch.load(build.int8_weights, weights_only=True) if build.int8_weights.exists() else {}
        if own.get("key") != digest(build.weights):
            return None
        state = own["student"]
    student = Student()
    student.load_state_dict(whole(state))
    return objectness_as_stored(student.eval())


@torch.no_grad()
def objectness_as_stored(student):
    """The student, whose head now gives objectness as the runtime stores it instead of its logit, and zeros in
    unused channels."""
    last = student.head.where[-1]
    last.weight[4] *= 0.5
    last.bias[4] = last.bias[4] * 0.5 + 5.0
    last.weight[5:] = 0
    last.bias[5:] = 0
    return student


@torch.no_grad()
def objectness_as_logit(student):
    """The other way."""
    last = student.head.where[-1]
    last.weight[4] *= 2
    last.bias[4] = (last.bias[4] - 5.0) * 2
    return student


@torch.no_grad()
def balance(stuff, features):
    """Scales what the stuff network concatenates with features to just within the features' range; its results stay as
    they are.

    Concatenated tensors share one int8 scale (`quantise`), and the features' must not become coarser by a network
    that may never run. `features`: lists of the four features of some pictures each.
    """
    high = lambda xs: torch.cat([x.flatten(1).amax(1) for x in xs]).quantile(0.9).item()  # noqa: E731
    coarsest = [f[3] for f in features]
    x, before = [stuff.deepest(f) for f in coarsest], stuff.deepest
    for level, mix in ((2, stuff.mix[0]), (1, stuff.mix[1]), (0, stuff.last)):
        beside = [f[level] for f in features]
        factor = 0.9 * high(beside) / high(x)
        norm, reader = before[1], mix[0][0]
        norm.weight *= factor
        norm.bias *= factor
        reader.weight[:, : norm.num_features] /= factor
        twice = [torch.nn.functional.interpolate(factor * t, scale_factor=2.0, mode="nearest") for t in x]
        x = [mix(torch.cat(pair, 1)) for pair in zip(twice, beside)]
        before = mix[1]
    return stuff


def calibration_photos(split, store, size, count, sources=EVERYDAY):
    """Letterboxed training photos of some sources, uint8 [count,3,size,size], the same ones every time."""
    pool = np.random.default_rng(0).permutation([i for i, im in enumerate(split.images) if im["source"] in sources])
    return np.stack([letterbox(store[i][0], size)[0].transpose(2, 0, 1) for i in pool[:count]])


def share_constants(model):
    """The exporter passes weights that several levels share through Identity; the quantiser would take them for
    activations."""
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


def export(student, parts, photos, size, path):
    """Writes one graph of the student and its branches."""
    if parts["stuff"]:
        with torch.no_grad():
            balance(
                parts["stuff"],
                [student.backbone(torch.from_numpy(b).float() / 255) for b in np.array_split(photos[:64], 4)],
            )
    exported = Exported(student, **parts)
    torch.onnx.export(
        exported,
        torch.zeros(1, 3, size, size),
        str(path),
        dynamo=False,
        opset_version=17,
        input_names=["image"],
        output_names=exported.names,
        do_constant_folding=True,
    )
    model = share_constants(onnx.load(path))
    onnx.save(model, path)
    onnx.checker.check_model(model)
    print(f"{path.name}: {len(model.graph.node)} nodes", flush=True)


def main():
    p = options.parser(__doc__)
    p.add_argument("--size", type=int, default=DEPLOYED)
    p.add_argument("--calibration", type=int, default=192, help="letterboxed training photos")
    a = options.parse(p)
    split = Split(training(a.shared), COCO80)
    store = PhotoStore(split, a.shared / "data/images", a.build.photos)
    photos = calibration_photos(split, store, a.size, a.calibration)
    parts = {
        k: trained(kind, a.build.branch(k)) for k, kind in (("masks", Masks), ("presence", Presence), ("stuff", Stuff))
    }
    for path, tuned in ((a.build.detector_tuned, True), (a.build.detector_fp32, False)):
        path.unlink(missing_ok=True)
        student = load(a.build, tuned)
        if student:
            export(student, parts, photos, a.size, path)
    terms = {"": student, "presence_": parts["presence"]}
    alignment = {
        f"{k}{name}": value
        for k, m in terms.items()
        if m
        for name, value in (("scale", m.log_scale.exp().item()), ("bias", m.bias.item()))
    }
    if parts["masks"]:
        alignment["mask_unit"] = parts["masks"].UNIT
    a.build.alignment.write_text(json.dumps(alignment) + "\n")

    ground = trained(Grounder, a.build.branch("ground"))
    if ground:
        torch.onnx.export(
            ground,
            torch.zeros(1, CHANNELS, SIDE, SIDE),
            str(a.build.ground_fp32),
            dynamo=False,
            opset_version=17,
            input_names=["objects"],
            output_names=["match"],
            do_constant_folding=True,
        )

    np.savez(a.build.calibration_photos, image=photos[: a.calibration])
    print(f"alignment scale {student.log_scale.exp().item():.3f}, bias {student.bias.item():.3f}")


if __name__ == "__main__":
    main()
