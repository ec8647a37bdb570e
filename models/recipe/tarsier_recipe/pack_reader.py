"""Reads packs as the runtime does: a ZIP of sections (`src/pack`), programs in postcard (`src/graph/program.rs`),
packed weights (`src/kernels/layout.rs`). tests/test_pack_reader.py computes a pack's own convolutions with it, and
compares them with the golden tensors that the runtime is held to.
"""

import io
import json
import re
import struct
import zipfile

import numpy as np

KINDS = (
    "conv",
    "depthwise",
    "add",
    "max pool",
    "average pool",
    "upsample",
    "upsample linear",
    "copy",
    "permute",
    "gate",
)


class Reader:
    """A program in postcard, whose fields are those of `Program` (src/graph/program.rs) in their order. Bytes are
    unsigned: 128 more than the graph's."""

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
        return {
            "place": place,
            "channels": channels,
            "height": height,
            "width": width,
            "border": border,
            "image": bool(self.byte()),
            "zero": self.byte(),
        }

    def port(self):
        return {"name": self.text(), "view": self.view(), "scale": self.real()}

    def window(self):
        """Kernel, stride, padding above and on the left: each (rows, columns)."""
        return [(self.number(), self.number()) for _ in range(3)]

    def epilogue(self):
        found = {"zero": self.byte(), "low": self.byte(), "high": self.byte()}
        if self.number():
            raise ValueError("an activation other than ReLU is none of this recipe's networks")
        return found

    def operation(self):
        op = {"name": self.text(), "input": self.view(), "output": self.view(), "kind": KINDS[self.number()]}
        if op["kind"] == "conv":
            op["kernel"], op["stride"], op["padding"] = self.window()
            op["weights"], op["bias"], _, op["scale"] = (self.number() for _ in range(4))
            op["epilogue"] = self.epilogue()
        elif op["kind"] == "max pool":
            self.window()
        elif op["kind"] == "average pool":
            self.real()
        elif op["kind"] not in ("upsample", "copy"):
            raise ValueError(f"{op['name']}: operation {op['kind']!r} is none of this recipe's networks")
        return op

    def program(self):
        inputs, outputs = ([self.port() for _ in range(self.number())] for _ in range(2))
        return inputs, outputs, [self.operation() for _ in range(self.number())]


def unpack(op, weights):
    """Integer weights [out,in,ky,kx], integer biases and requantisation scales [out] of a convolution
    (src/kernels/layout.rs)."""
    x, out, (ky, kx) = op["input"], op["output"]["channels"], op["kernel"]
    lanes = -(-x["channels"] // (4 if x["image"] else 16)) * (4 if x["image"] else 16)
    blocks, steps = -(-out // 16), ky * kx * lanes // 4
    packed = np.frombuffer(weights, np.int8, blocks * steps * 64, op["weights"]).reshape(
        blocks, ky, kx, lanes // 4, 16, 4
    )
    w = packed.transpose(0, 4, 3, 5, 1, 2).reshape(blocks * 16, lanes, ky, kx)[:out, : x["channels"]]
    bias = np.frombuffer(weights, np.int32, out, op["bias"]) + x["zero"] * w.astype(np.int64).sum((1, 2, 3))
    return w, bias, np.frombuffer(weights, np.float32, out, op["scale"])


def module(node):
    """The path of the module that an exported node came from: /a/b/b.0/b.0.1_2/Conv -> a.b.0.1 (called for the third
    time)"""
    path = []
    for part in node.strip("/").split("/")[:-1]:
        part = re.sub(r"_\d+$", "", part)
        if path and part.startswith(path[-1] + "."):
            path[-1] = part
        else:
            path.append(part)
    return ".".join(path)


class Pack:
    """A pack's sections: the manifest as a dict, programs, the vocabulary."""

    def __init__(self, path):
        with zipfile.ZipFile(path) as z:
            self.sections = {name: z.read(name) for name in z.namelist()}
        self.manifest = json.loads(self.sections["manifest.json"])

    def has(self, graph):
        return f"{graph}.onnx" in self.sections

    def program(self, graph):
        """(inputs, outputs, operations) of a graph, each a list of dicts."""
        import onnx

        nodes = onnx.load_from_string(self.sections[f"{graph}.onnx"]).graph.node
        return Reader(next(a.s for n in nodes for a in n.attribute if a.name == "program")).program()

    @property
    def weights(self):
        return self.sections["weights.bin"]

    def vocabulary(self):
        """[(name, kind, synonyms)] and their rows s8 [names, width]."""
        lines = [line.split("\t") for line in self.sections["vocabulary.tsv"].decode().splitlines()]
        return lines, np.frombuffer(self.sections["vocabulary.rows"], np.int8).reshape(len(lines), -1)

    def parameters(self):
        """Factor, addend and threshold of each name, f32 [names, 3]."""
        return np.frombuffer(self.sections["vocabulary.parameters"], "<f4").reshape(-1, 3)
