"""A pack's weights as float state dicts: the int8 weights times their scales, so that a stage can be added or replaced
without training the others again.

    # -> build/detector/{final,masks,presence,stuff,ground}.pt, alignment, gate, calibration
    python -m tarsier_recipe recover --pack ../tarsier-s.tarsier

The networks are those of `student` and `ground`. Batch normalisation is folded in a pack: it comes back as the
identity, so `final.pt` can be exported and quantised but not trained on. Quantised again with 8 bits each weight
becomes the integer that it was: a channel's largest is 127 before and after.

A pack knows the scales of what goes in and out of a graph, of what is between only the products with the next
weights' scales: any value of it gives the same network (ReLU and concatenation commute with a positive factor), so
one is used for all.
"""

import json

import numpy as np
import torch

from tarsier_recipe import options
from tarsier_recipe.folders import PARTS
from tarsier_recipe.pack_reader import Pack, module, unpack
from tarsier_recipe.training import save

BETWEEN = 0.03  # scale of the tensors between layers
EPSILON = 1e-3  # of the batch normalisations


def convolutions(pack, name):
    """{module: (weight, bias)} in floats, of one lowered graph."""
    inputs, outputs, operations = pack.program(name)
    scales = {p["view"]["place"][:2]: p["scale"] for p in [*inputs, *outputs]}

    def scale_of(view):
        place = view["place"]
        return scales[place[:2]] if place[0] != "arena" else arena.get(place[1], BETWEEN)

    arena, found = {}, {}
    for op in operations:
        into, place = scale_of(op["input"]), op["output"]["place"]
        if op["kind"] == "conv":
            if place[0] == "arena":
                arena[place[1]] = BETWEEN
            w, bias, factor = unpack(op, pack.weights)
            each = factor.astype(np.float64) * scale_of(op["output"]) / into
            key = module(op["name"])
            if key not in found:  # weights that levels share
                found[key] = (
                    torch.from_numpy((w * each[:, None, None, None]).astype(np.float32)),
                    torch.from_numpy((bias * each * into).astype(np.float32)),
                )
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
            state |= {
                f"{norm}.weight": ones * (1 + EPSILON) ** 0.5,
                f"{norm}.bias": bias,
                f"{norm}.running_mean": 0 * ones,
                f"{norm}.running_var": ones,
            }
            used |= {f"{norm}.weight", f"{norm}.bias"}
    missing = [k for k, _ in network.named_parameters() if k not in used and k not in ("log_scale", "bias")]
    if missing:
        raise ValueError(f"the pack lacks {missing[:4]}")
    network.load_state_dict(state)
    return network


def main():
    from tarsier_recipe.detector.export import objectness_as_logit
    from tarsier_recipe.detector.ground import Grounder
    from tarsier_recipe.detector.student import Masks, Presence, Student, Stuff

    p = options.parser(__doc__, "pack")
    a = options.parse(p)
    pack = Pack(a.pack)
    manifest, graphs = pack.manifest, {n: convolutions(pack, n) for n in PARTS if pack.has(n)}

    if "presence" in graphs:  # dropout is a layer of training only
        graphs["presence"]["presence.layers.3"] = graphs["presence"].pop("presence.layers.2")

    student = fill(Student(), graphs["backbone"] | graphs["head"], "")
    objectness_as_logit(student)
    with torch.no_grad():
        # before any calibration, where grounding says what that was
        ground = manifest.get("ground") or {"scale": manifest["alignment_scale"], "bias": manifest["alignment_bias"]}
        student.log_scale.fill_(np.log(ground["scale"]))
        student.bias.fill_(ground["bias"])
    save(a.build.weights, student.state_dict())
    kinds = {"masks": Masks, "presence": Presence, "stuff": Stuff, "ground": Grounder}
    for name in kinds.keys() & graphs.keys():
        own = {"width": graphs[name]["masks.prototypes.1"][0].shape[1]} if name == "masks" else {}
        network = kinds[name](**own)
        with torch.no_grad():
            for term, value in (
                ("log_scale", np.log(manifest[name].get("scale", 1.0))),
                ("bias", manifest[name].get("bias", 0.0)),
            ):
                if name != "ground" and hasattr(network, term):
                    getattr(network, term).fill_(value)
        save(a.build.branch(name), fill(network, graphs[name], "" if name == "ground" else f"{name}.").state_dict())
    if "ground" in graphs:
        a.build.numbers("ground").write_text(json.dumps({"gate": manifest["ground"]["gate"]}) + "\n")
    if "stuff" in graphs:
        a.build.numbers("stuff").write_text(
            json.dumps({k: manifest["stuff"][k] for k in ("scale", "bias", "threshold")}) + "\n"
        )

    # the names' own factors and shifts, from the rows' steps (src/build.rs)
    vocabulary, rows = pack.vocabulary()
    names, own = [name for name, _, _ in vocabulary], pack.parameters().astype(np.float64)
    step = 1 / np.linalg.norm(rows.astype(np.float64), axis=1)  # rows were of unit length
    factor = own[:, 0] / step / ground["scale"]
    shift = own[:, 1] - factor * ground["bias"]
    common = {"factor": manifest["alignment_scale"] / ground["scale"]}
    common["shift"] = manifest["alignment_bias"] - common["factor"] * ground["bias"]
    calibrated = {
        n: {"factor": round(f, 4), "shift": round(s, 4), "threshold": round(t, 3)}
        for n, f, s, t in zip(names, factor, shift, own[:, 2])
        if abs(f / common["factor"] - 1) > 5e-3 or abs(t - manifest["threshold"]) > 1e-3
    }
    calibration = {"common": {k: round(v, 4) for k, v in common.items()}, "names": calibrated} | (
        {"presence": manifest["presence"]} if "presence" in graphs else {}
    )
    a.build.calibration.write_text(json.dumps(calibration, indent=1))
    print(f"{', '.join(graphs)}; {len(calibrated)} names with a calibration of their own")


if __name__ == "__main__":
    main()
