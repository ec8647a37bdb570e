"""Stage 5: the trained encoder as ONNX in fp32, its token table, and inputs to calibrate the int8 version on.

    python -m tarsier_recipe text-export

encoder_fp32.onnx   `tokens` f32 [1,256,1,32] -> `words` f32 [1,128,1,32]; opset 17; Conv, Relu, Concat only
token_table.npy     f32 [V,256]; row i belongs to line i of tokenizer.txt, row 0 fills the positions after the text
calibration.npz     tokens f32 [200,256,1,32], lengths [200], texts, target f32 [200,128] (the teacher's vectors), and
                    sentence f32 [200,128] (what the fp32 encoder makes of them)
heldout.npz         ids u16 [H,32], lengths, kind, target f32 [H,128], answer (row in `names`, -1 if none), names f32
                    [2973,128]: to measure the int8 version on what was never learnt
export.json         ranges of every activation, the difference between ONNX and PyTorch, held-out measurements
"""

import json

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from tarsier_recipe import options
from tarsier_recipe.folders import save_atomically
from tarsier_recipe.text.encoder import BLOCKS, TABLE_WIDTH, Encoder, batch
from tarsier_recipe.text.teacher import WIDTH, unit
from tarsier_recipe.text.tokenizer import MAX_TOKENS, Tokenizer
from tarsier_recipe.text.train import Data, measure


class Graph:
    """Nodes and initialisers of the network, each tensor named after its module."""

    def __init__(self, state: dict):
        self.state, self.nodes, self.weights = state, [], []

    def conv(self, name: str, x: str, output: str, relu: bool = True) -> str:
        weight = (
            self.state[name + ".weight"].float().permute(0, 2, 1)[:, :, None, :].contiguous().numpy()
        )  # [out,in,1,k]
        taps = weight.shape[3]
        for suffix, value in [("weight", weight), ("bias", self.state[name + ".bias"].float().numpy())]:
            self.weights.append(numpy_helper.from_array(value, f"{name}.{suffix}"))
        raw = output + ".sum" if relu else output
        pads = [0, taps // 2, 0, taps // 2]
        inputs = [x, name + ".weight", name + ".bias"]
        self.nodes.append(helper.make_node("Conv", inputs, [raw], name=name, kernel_shape=[1, taps], pads=pads))
        if relu:
            self.nodes.append(helper.make_node("Relu", [raw], [output], name=name + ".relu"))
        return output

    def concat(self, name: str, parts: list[str]) -> str:
        self.nodes.append(helper.make_node("Concat", parts, [name], name=name, axis=1))
        return name


def to_onnx(state: dict) -> onnx.ModelProto:
    graph = Graph(state)
    x = graph.conv("stem", "tokens", "stem.out")
    parts = [x]
    for i in range(BLOCKS):
        a = graph.conv(f"blocks.{i}.first", x, f"blocks.{i}.a")
        b = graph.conv(f"blocks.{i}.second", a, f"blocks.{i}.b")
        x = graph.conv(f"blocks.{i}.join", graph.concat(f"blocks.{i}.concat", [x, a, b]), f"blocks.{i}.out")
        parts.append(x)
    x = graph.conv("join", graph.concat("concat", parts), "join.out")
    graph.conv("head", x, "words", relu=False)
    shapes = [("tokens", TABLE_WIDTH), ("words", WIDTH)]
    tokens, words = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, c, 1, MAX_TOKENS]) for n, c in shapes)
    model = helper.make_model(
        helper.make_graph(graph.nodes, "sentence-encoder", [tokens], [words], graph.weights),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
        producer_name="tarsier",
    )
    onnx.checker.check_model(model, full_check=True)
    return onnx.shape_inference.infer_shapes(model)


def pooled(words: np.ndarray, length: int) -> np.ndarray:
    """The runtime's part: mean over the real tokens of `words` [1,128,1,32], unit length."""
    return unit(words[0, :, 0, :length].mean(axis=1)[None])[0]


def main() -> None:
    import onnxruntime as ort

    a = options.parse(options.parser(__doc__))
    state = torch.load(a.build.encoder, map_location="cpu", weights_only=True)
    weights = state["average"]
    tokenizer = Tokenizer.read(a.build.tokenizer)
    data = Data(a.build, tokenizer)

    model = to_onnx(weights)
    save_atomically(a.build.encoder_fp32, lambda file: file.write(model.SerializeToString()))
    table = weights["table"].float().numpy()
    save_atomically(a.build.token_table, lambda file: np.save(file, table))

    # Calibration: what is learnt, of every kind, and some texts that fill all positions.
    order = np.random.default_rng(0).permutation(sorted(set(data.train)))
    kinds = np.array(data.kinds)[order]
    share = {"name": 30, "synonym": 15, "definition": 20, "phrase": 35, "composed": 60, "caption": 30}
    chosen = [int(i) for kind, n in share.items() for i in order[kinds == kind][:n]]
    longest = sorted((i for i in order if data.kinds[i] in ("caption", "definition")), key=lambda i: -len(data.ids[i]))
    chosen += [int(i) for i in longest[: 200 - len(chosen)]]
    ids, lengths = batch([data.ids[i] for i in chosen], full=True)
    tokens = table[ids.numpy()].transpose(0, 2, 1)[:, :, None, :].astype(np.float32)

    # Every activation's range over the calibration inputs, and ONNX against PyTorch.
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    inner = [n.output[0] for n in model.graph.node if n.op_type == "Relu"]
    probe.graph.output.extend(helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in inner)
    settings = ort.SessionOptions()
    settings.intra_op_num_threads = a.threads
    session = ort.InferenceSession(probe.SerializeToString(), settings, providers=["CPUExecutionProvider"])
    encoder = Encoder(len(tokenizer.lines))
    encoder.load_state_dict(weights)
    encoder.eval()
    values: dict[str, list[np.ndarray]] = {name: [] for name in ["words", *inner]}
    sentences = []
    for row, length in zip(tokens, lengths.tolist()):
        outputs = dict(zip([o.name for o in session.get_outputs()], session.run(None, {"tokens": row[None]})))
        for name in values:
            values[name].append(outputs[name].ravel())
        sentences.append(pooled(outputs["words"], length))
    sentences = np.stack(sentences)
    with torch.no_grad():
        expected = encoder(ids, lengths).numpy()
        narrow = torch.cat([encoder(*batch([data.ids[i]])) for i in chosen]).numpy()
        held = measure(data, lambda lists: encoder(*batch(lists, full=True)))
    difference = {"onnx": float(np.abs(sentences - expected).max()), "padding": float(np.abs(narrow - expected).max())}
    ranges = {"tokens": [float(tokens.min()), float(tokens.max()), float(np.quantile(np.abs(tokens), 0.9999))]}
    for name, parts in values.items():
        flat = np.concatenate(parts)
        ranges[name] = [float(flat.min()), float(flat.max()), float(np.quantile(np.abs(flat), 0.9999))]
    target = data.rows[chosen].numpy()
    texts = np.array([data.texts[i] for i in chosen])
    save_atomically(
        a.build.text_calibration,
        lambda file: np.savez(
            file, tokens=tokens, lengths=lengths.numpy(), texts=texts, target=target, sentence=sentences
        ),
    )
    held_rows = [(i, kind) for kind, rows in data.held.items() for i in rows]
    held_ids, held_lengths = batch([data.ids[i] for i, _ in held_rows], full=True)
    save_atomically(
        a.build.text / "heldout.npz",
        lambda file: np.savez(
            file,
            ids=held_ids.numpy().astype(np.uint16),
            lengths=held_lengths.numpy().astype(np.uint8),
            kind=np.array([kind for _, kind in held_rows]),
            target=data.rows[[i for i, _ in held_rows]].numpy(),
            answer=np.array([data.answer.get(i, -1) for i, _ in held_rows], dtype=np.int32),
            names=data.table.numpy(),
        ),
    )
    report = {
        "epochs": state["epoch"],
        "held out": held,
        "largest difference": difference,
        "min, max, 99.99 % of |x|": ranges,
    }
    save_atomically(a.build.text / "export.json", lambda file: file.write(json.dumps(report, indent=1).encode()))
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
