"""A pack's weights as float state dicts: the int8 weights times their scales, so that a stage can be added or replaced without training the others again.

    python recover.py --pack ../tarsier-s.tarsier      # -> build/detector/{final,masks,presence,stuff,ground}.pt, alignment, gate, calibration

The networks are those of detector/student.py and ground.py. Batch normalisation is folded in a pack: it comes back as the identity,
so `final.pt` can be exported and quantised but not trained on. Quantised again with 8 bits each weight becomes
the integer that it was: a channel's largest is 127 before and after.

A pack knows the scales of what goes in and out of a graph, of what is between only the products with the next weights' scales: any
value of it gives the same network (ReLU and concatenation commute with a positive factor), so one is used for all.
"""

import argparse
import io
import json
import re
import struct
import zipfile
from pathlib import Path

import numpy as np
import torch

HERE = Path(__file__).resolve().parent
BETWEEN = 0.03  # scale of the tensors between layers
EPSILON = 1e-3  # of the batch normalisations


class Reader:
    """Postcard (https://postcard.jamesmunns.com/wire-format), as src/graph/program.rs is written with it."""

    def __init__(self, data):
        self.file = io.BytesIO(data)

    def byte(self):
        return self.file.read(1)[0]

    def number(self):
        value = shift = 0
        while True:
            b = self.byte()
            value |= (b & 127) << shift
            shift += 7
            if b < 128:
                return value

    def real(self):
        return struct.unpack("<f", self.file.read(4))[0]

    def text(self):
        return self.file.read(self.number()).decode()

    def view(self):
        kind = ("input", "arena", "output")[self.number()]
        place = (kind, *(self.number() for _ in range(2 if kind == "output" else 1)))
        channels, height, width, border = (self.number() for _ in range(4))
        return {"place": place, "channels": channels, "height": height, "width": width, "border": border, "image": bool(self.byte()), "zero": self.byte()}

    def port(self):
        return {"name": self.text(), "view": self.view(), "scale": self.real()}

    def window(self):
        return [(self.number(), self.number()) for _ in range(3)]

    def epilogue(self):
        self.file.read(3)  # zero point, clamp
        activation = self.number()
        if activation:
            raise ValueError("an activation other than ReLU is none of this recipe's networks")

    def operation(self):
        op = {"name": self.text(), "input": self.view(), "output": self.view(), "kind": self.number()}
        if op["kind"] == 0:  # convolution
            op["kernel"] = self.window()[0]
            op["weights"], op["bias"], _, op["scale"] = (self.number() for _ in range(4))
            self.epilogue()
        elif op["kind"] == 3:  # max pool
            self.window()
        elif op["kind"] == 4:  # average pool
            self.real()
        elif op["kind"] not in (5, 7):  # upsample, copy
            raise ValueError(f"{op['name']}: operation {op['kind']} is none of this recipe's networks")
        return op

    def program(self):
        inputs, outputs = ([self.port() for _ in range(self.number())] for _ in range(2))
        return inputs, outputs, [self.operation() for _ in range(self.number())]


def unpack(op, weights):
    """Integer weights [out,in,ky,kx], integer biases and requantisation scales [out] of a convolution (src/kernels/layout.rs)."""
    x, out, (ky, kx) = op["input"], op["output"]["channels"], op["kernel"]
    lanes = -(-x["channels"] // (4 if x["image"] else 16)) * (4 if x["image"] else 16)
    blocks, steps = -(-out // 16), ky * kx * lanes // 4
    packed = np.frombuffer(weights, np.int8, blocks * steps * 64, op["weights"]).reshape(blocks, ky, kx, lanes // 4, 16, 4)
    w = packed.transpose(0, 4, 3, 5, 1, 2).reshape(blocks * 16, lanes, ky, kx)[:out, : x["channels"]]
    bias = np.frombuffer(weights, np.int32, out, op["bias"]) + x["zero"] * w.astype(np.int64).sum((1, 2, 3))
    return w, bias, np.frombuffer(weights, np.float32, out, op["scale"])


def module(node):
    """The path of the module that an exported node came from: /a/b/b.0/b.0.1_2/Conv -> a.b.0.1 (called for the third time)"""
    path = []
    for part in node.strip("/").split("/")[:-1]:
        part = re.sub(r"_\d+$", "", part)
        if path and part.startswith(path[-1] + "."):
            path[-1] = part
        else:
            path.append(part)
    return ".".join(path)


def convolutions(data, weights):
    """{module: (weight, bias)} in floats, of one lowered graph."""
    import onnx

    graph = onnx.load_from_string(data).graph
    program = next(a.s for n in graph.node for a in n.attribute if a.name == "program")
    inputs, outputs, operations = Reader(program).program()
    scales = {p["view"]["place"][:2]: p["scale"] for p in [*inputs, *outputs]}

    def scale_of(view):
        place = view["place"]
        return scales[place[:2]] if place[0] != "arena" else arena.get(place[1], BETWEEN)

    arena, found = {}, {}
    for op in operations:
        into, place = scale_of(op["input"]), op["output"]["place"]
        if op["kind"] == 0:
            if place[0] == "arena":
                arena[place[1]] = BETWEEN
            w, bias, factor = unpack(op, weights)
            each = factor.astype(np.float64) * scale_of(op["output"]) / into
            name = module(op["name"])
            if name not in found:  # weights that levels share
                found[name] = torch.from_numpy((w * each[:, None, None, None]).astype(np.float32)), torch.from_numpy((bias * each * into).astype(np.float32))
        elif place[0] == "arena":
            arena[place[1]] = into  # moved, not computed
    return found


def fill(network, found, prefix):
    """Loads folded convolutions into a network: batch normalisations become the identity and a shift."""
    state, used = network.state_dict(), set()
    for name, (weight, bias) in found.items():
        if not name.startswith(prefix):
            continue
        own = name[len(prefix) :]
        state[f"{own}.weight"] = weight.reshape(state[f"{own}.weight"].shape)
        used.add(f"{own}.weight")
        if f"{own}.bias" in state:
            state[f"{own}.bias"] = bias
            used.add(f"{own}.bias")
        else:
            norm = own[: own.rindex(".")] + ".1"
            ones = torch.ones_like(bias)
            state |= {f"{norm}.weight": ones * (1 + EPSILON) ** 0.5, f"{norm}.bias": bias, f"{norm}.running_mean": 0 * ones, f"{norm}.running_var": ones}
            used |= {f"{norm}.weight", f"{norm}.bias"}
    missing = [k for k, _ in network.named_parameters() if k not in used and k not in ("log_scale", "bias")]
    if missing:
        raise ValueError(f"the pack lacks {missing[:4]}")
    network.load_state_dict(state)
    return network


def main():
    import sys

    sys.path.insert(0, str(HERE / "detector"))
    from export import objectness_as_logit
    from ground import Grounder
    from shape import PACK
    from student import Masks, Presence, Student, Stuff

    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--pack", default=PACK, type=Path)
    p.add_argument("--build", default=HERE.parent / "build", type=Path)
    a = p.parse_args()
    out = a.build / "detector"
    out.mkdir(parents=True, exist_ok=True)
    pack = zipfile.ZipFile(a.pack)
    manifest, weights = json.loads(pack.read("manifest.json")), pack.read("weights.bin")
    graphs = {n: convolutions(pack.read(f"{n}.onnx"), weights) for n in ("backbone", "head", "masks", "presence", "stuff", "ground") if f"{n}.onnx" in pack.namelist()}

    if "presence" in graphs:  # dropout is a layer of training only
        graphs["presence"]["presence.layers.3"] = graphs["presence"].pop("presence.layers.2")

    student = fill(Student(), graphs["backbone"] | graphs["head"], "")
    objectness_as_logit(student)
    with torch.no_grad():
        # before any calibration, where grounding says what that was
        ground = manifest.get("ground") or {"scale": manifest["alignment_scale"], "bias": manifest["alignment_bias"]}
        student.log_scale.fill_(np.log(ground["scale"]))
        student.bias.fill_(ground["bias"])
    torch.save(student.state_dict(), out / "final.pt")
    kinds = {"masks": Masks, "presence": Presence, "stuff": Stuff, "ground": Grounder}
    for name in kinds.keys() & graphs.keys():
        own = {"width": graphs[name]["masks.prototypes.1"][0].shape[1]} if name == "masks" else {}
        network = kinds[name](**own)
        with torch.no_grad():
            for term, value in (("log_scale", np.log(manifest[name].get("scale", 1.0))), ("bias", manifest[name].get("bias", 0.0))):
                if name != "ground" and hasattr(network, term):
                    getattr(network, term).fill_(value)
        torch.save(fill(network, graphs[name], "" if name == "ground" else f"{name}.").state_dict(), out / f"{name}.pt")
    if "ground" in graphs:
        (out / "ground.json").write_text(json.dumps({"gate": manifest["ground"]["gate"]}) + "\n")
    if "stuff" in graphs:
        (out / "stuff.json").write_text(json.dumps({k: manifest["stuff"][k] for k in ("scale", "bias", "threshold")}) + "\n")

    # the names' own factors and shifts, from the rows' steps (src/build.rs)
    names = [line.split("\t")[0] for line in pack.read("vocabulary.tsv").decode().splitlines()]
    rows = np.frombuffer(pack.read("vocabulary.rows"), np.int8).reshape(len(names), -1).astype(np.float64)
    own = np.frombuffer(pack.read("vocabulary.parameters"), "<f4").reshape(len(names), 3).astype(np.float64)
    step = 1 / np.linalg.norm(rows, axis=1)  # rows were of unit length
    factor = own[:, 0] / step / ground["scale"]
    shift = own[:, 1] - factor * ground["bias"]
    common = {"factor": manifest["alignment_scale"] / ground["scale"]}
    common["shift"] = manifest["alignment_bias"] - common["factor"] * ground["bias"]
    calibrated = {n: {"factor": round(f, 4), "shift": round(s, 4), "threshold": round(t, 3)} for n, f, s, t in zip(names, factor, shift, own[:, 2]) if abs(f / common["factor"] - 1) > 5e-3 or abs(t - manifest["threshold"]) > 1e-3}
    calibration = {"common": {k: round(v, 4) for k, v in common.items()}, "names": calibrated} | ({"presence": manifest["presence"]} if "presence" in graphs else {})
    (out / "calibration.json").write_text(json.dumps(calibration, indent=1))
    print(f"{', '.join(graphs)}; {len(calibrated)} names with a calibration of their own")


if __name__ == "__main__":
    main()
