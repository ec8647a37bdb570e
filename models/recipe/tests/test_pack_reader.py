"""The reader of packs against the runtime: what it reads from a pack computes the golden tensors, which
`tests/golden.rs` holds the runtime to."""

import hashlib

import numpy as np
import pytest
from PIL import Image

from tarsier_recipe.folders import GOLDEN, MODELS
from tarsier_recipe.pack_reader import Pack, module, unpack

BLOCK = 16  # channels of a plane


class Memory:
    """Planes of 16 channels by where they lie, as `View` has it."""

    def __init__(self):
        self.planes = {}

    def places(self, view):
        *place, offset = view["place"] if view["place"][0] != "input" else (*view["place"], 0)
        plane = (view["height"] + 2 * view["border"]) * (view["width"] + 2 * view["border"]) * BLOCK
        return [(*place, offset + k * plane) for k in range(-(-view["channels"] // BLOCK))]

    def write(self, view, x):
        """`x` u8 [h,w,c]"""
        padded = np.pad(x, ((0, 0), (0, 0), (0, -x.shape[2] % BLOCK)))
        for k, place in enumerate(self.places(view)):
            self.planes[place] = padded[..., k * BLOCK : (k + 1) * BLOCK]

    def read(self, view):
        if view["image"]:
            return self.planes[view["place"]]
        return np.concatenate([self.planes[p] for p in self.places(view)], 2)[..., : view["channels"]]


def conv(op, x, weights):
    """One convolution of bytes [h,w,c], exactly, as src/quant.rs states it."""
    w, bias, scale = unpack(op, weights)
    (ky, kx), (sy, sx), (above, left) = op["kernel"], op["stride"], op["padding"]
    rows, columns = op["output"]["height"], op["output"]["width"]
    centred = np.pad(x.astype(np.float64) - op["input"]["zero"], ((above, ky), (left, kx), (0, 0)))
    sums = np.zeros((rows, columns, len(w)))
    for dy in range(ky):
        for dx in range(kx):
            seen = centred[dy : dy + sy * (rows - 1) + 1 : sy, dx : dx + sx * (columns - 1) + 1 : sx]
            sums += seen @ w[:, :, dy, dx].T.astype(np.float64)  # integers below 2^53
    q = op["epilogue"]
    y = (sums + bias).astype(np.float32) * scale
    return (np.rint(np.clip(y, q["low"] - q["zero"], q["high"] - q["zero"])) + q["zero"]).astype(np.uint8)


def run(pack, graph, inputs):
    """Outputs [h,w,c] of a graph and the digest of each convolution's result, as s8, by the node's name."""
    ins, outs, operations = pack.program(graph)
    memory, digests = Memory(), {}
    for port, x in zip(ins, inputs, strict=True):
        if port["view"]["image"]:
            memory.planes[port["view"]["place"]] = x
        else:
            memory.write(port["view"], x)
    for op in operations:
        x = memory.read(op["input"])
        if op["kind"] == "conv":
            y = conv(op, x, pack.weights)
            signed = np.ascontiguousarray(y.astype(np.int16) - 128).astype(np.int8)
            digests[op["name"]] = "x".join(map(str, y.shape)), hashlib.sha256(signed.tobytes()).hexdigest()
        else:
            assert op["kind"] in ("upsample", "copy")
            y = x.repeat(2, 0).repeat(2, 1) if op["kind"] == "upsample" else x
        memory.write(op["output"], y)
    return [memory.read(port["view"]) for port in outs], digests


@pytest.mark.parametrize("name", ["tarsier-n", "tarsier-s"])
def test_what_is_read_computes_the_golden_tensors(name):
    pack, golden = Pack(MODELS / f"{name}.tarsier"), {}
    for line in (GOLDEN / f"{name}.tsv").read_text().splitlines():
        if not line.startswith("#"):
            graph, node, shape, digest, _ = line.split("\t")
            golden.setdefault(graph, {})[node] = shape, digest
    size = pack.manifest["input_px"]
    frame = np.asarray(Image.open(GOLDEN / "frame.png").convert("RGB"))[:size, :size]
    features, backbone = run(pack, "backbone", [frame])
    _, head = run(pack, "head", features)
    assert backbone == golden["backbone"] and head == golden["head"]


def test_the_vocabulary_has_a_row_and_parameters_for_each_name():
    pack = Pack(MODELS / "tarsier-s.tarsier")
    lines, rows = pack.vocabulary()
    assert len(lines) == len(rows) == len(pack.parameters()) and rows.shape[1] == pack.manifest["embedding"]
    assert {kind for _, kind, _ in lines} == {"thing", "stuff"}


def test_a_node_says_the_module_that_it_came_from():
    assert module("/a/b/b.0/b.0.1_2/Conv") == "a.b.0.1"
