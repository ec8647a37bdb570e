"""The words of an imported pack: its own names as classes, and the sentence encoder that finds the nearest of them for
anything else.

All of it comes from this repository: tokenizer, synonyms and rows of names from a pack of ours, the encoder's
weights from `checkpoints/text.pt`, quantised here. A name that our vocabulary lacks is encoded like a sentence.
"""

import numpy as np
import onnx
import onnxruntime as ort
import torch

from tarsier_recipe.foreign.net import ImportRefused
from tarsier_recipe.pack_reader import Pack
from tarsier_recipe.quantise import quantise
from tarsier_recipe.text.export import to_onnx
from tarsier_recipe.text.tokenizer import MAX_TOKENS, Tokenizer

COLOURS = ("red", "blue", "green", "white", "black", "small", "large", "old", "wooden", "striped")


def known(pack):
    """{name: (kind, synonyms, row)} of a pack, and the width of its rows."""
    lines, rows = pack.vocabulary()
    rows = rows.astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return {name: (kind, synonyms, row) for (name, kind, synonyms), row in zip(lines, rows)}, rows.shape[1]


def write(folder, pack, weights, names):
    """Writes what `pack build` wants of words for a closed vocabulary of `names`; returns the width of the encoder's
    vectors."""
    words = Pack(pack)
    vocabulary, width = known(words)
    for name in ("tokenizer.txt", "golden.png"):
        (folder / name).write_bytes(words.sections[name])
    state = {k: v.float() for k, v in torch.load(weights, map_location="cpu", weights_only=True).items()}
    table = state["table"].numpy()
    table.astype("<f4").tofile(folder / "tokens.f32")
    tokenizer = Tokenizer.read(folder / "tokenizer.txt")
    if len(tokenizer.lines) != len(table):
        raise ImportRefused(
            f"{weights} knows {len(table)} subwords, {pack} {len(tokenizer.lines)}: they are not of one encoder"
        )
    fp32 = folder / "sentence_fp32.onnx"
    onnx.save(to_onnx(state), fp32)

    def tokens(text):
        ids = list(tokenizer.encode(text))[:MAX_TOKENS]
        return table[ids + [0] * (MAX_TOKENS - len(ids))].T[:, None, :].astype(np.float32), max(1, len(ids))

    some = np.random.default_rng(0).permutation(sorted(vocabulary))
    texts = [*some[:100], *(f"a {c} {n} beside the {m}" for c, n, m in zip(COLOURS * 10, some[100:200], some[200:300]))]
    rows = np.stack([tokens(t)[0] for t in texts])
    high = float(np.abs(rows).max())
    symmetric = lambda m: (-m * 128 / 127.5, m * 127 / 127.5)
    quantise(
        fp32,
        folder / "sentence_qdq.onnx",
        "tokens",
        rows,
        lambda found: {"words": symmetric(max(map(abs, found["words"])))},
        symmetric(high),
        2e-5,
    )
    session = ort.InferenceSession(str(fp32), providers=["CPUExecutionProvider"])

    def encoded(text):
        x, n = tokens(text)
        row = session.run(None, {"tokens": x[None]})[0][0, :, 0, :n].mean(1)
        return row / np.linalg.norm(row)

    lines, vectors, new = [], [], []
    for name in names:
        kind, synonyms, row = vocabulary.get(name, ("thing", "", None))
        if row is None:
            new.append(name)
            row = encoded(name)
        taken = [s for s in synonyms.split("|") if s and s not in names]
        lines.append(f"{name}\t{kind}\t{'|'.join(taken)}\n")
        vectors.append(row)
    if new:
        print(f"encoded, for our vocabulary lacks them: {', '.join(new)}", flush=True)
    (folder / "vocabulary.tsv").write_text("".join(lines))
    np.stack(vectors).astype("<f4").tofile(folder / "names.f32")
    return width
