"""Prompt embeddings for training: every name is asked for in several ways (itself, synonyms, its definition); and
what is none of them."""

import random

import numpy as np
import torch

# cosine from which a name of the bank may be true of what another name is true of; 99 % of the pairs of COCO's names
# are below
NEAR = 0.35


class PromptBank:
    """Rows for the data's names, sampled among their texts at every step.

    Reads `prompts.npz` of the text stage: texts, kind, owner, embedding [N,128] of unit length; and, if given, the
    names' sentences (`sentences`).
    """

    def __init__(self, npz, names, sentences=None):
        z = np.load(npz, allow_pickle=False)
        embedding = torch.from_numpy(z["embedding"].astype(np.float32))
        texts, kind, owner = z["texts"].tolist(), z["kind"].tolist(), z["owner"]
        by_name, by_owner = {}, {}
        for i, (t, k) in enumerate(zip(texts, kind)):
            if k == "name":
                by_name.setdefault(t.lower(), i)
            if k != "phrase" and owner[i] >= 0:
                by_owner.setdefault(int(owner[i]), []).append(i)
        missing = [n for n in names if n.lower() not in by_name]
        if missing:
            raise KeyError(f"{len(missing)} names of the data have no embedding: {missing[:8]}")
        self.embedding = embedding
        self.main = [by_name[n.lower()] for n in names]
        self.ways = []
        for i in self.main:
            rows = by_owner.get(int(owner[i]), [i])
            synonyms = [r for r in rows if kind[r] in ("name", "synonym")]
            definitions = [r for r in rows if kind[r] == "definition"]
            self.ways.append((synonyms, definitions))
        self.sentences = [[] for _ in names]
        if sentences:
            with np.load(sentences) as s:
                if s["names"].tolist() != list(names):
                    raise ValueError(f"{sentences} was made for other names: run `sentences` again")
                for n, k in enumerate(s["owner"].tolist()):
                    if k >= 0:
                        self.sentences[k].append(len(embedding) + n)
                self.embedding = torch.cat([embedding, torch.from_numpy(s["embedding"].astype(np.float32))])
        self.texts, owners = texts, {int(owner[i]) for i in self.main}
        own = {
            texts[r].lower() for synonyms, _ in self.ways for r in synonyms
        }  # a word of a name may be another name's owner, too: "woman"
        self.others = [
            i
            for i, k in enumerate(kind)
            if k in ("name", "synonym") and int(owner[i]) not in owners and texts[i].lower() not in own
        ]
        definitions = {int(owner[i]): texts[i] for i, k in enumerate(kind) if k == "definition"}
        self.defined = [definitions.get(int(owner[i]), "") for i in self.others]

    def names(self):
        """[C,128], the names themselves."""
        return self.embedding[self.main]

    def sample(self, rng=random):
        """[C,128]: half the time the name, else a synonym, the definition (10 %), or a sentence about it (15 %,
        where there are sentences)."""
        rows = []
        for i, (synonyms, definitions), sentences in zip(self.main, self.ways, self.sentences):
            u = rng.random()
            if u < 0.5:
                rows.append(i)
            elif u < 0.65 and sentences:
                rows.append(rng.choice(sentences))
            elif u < 0.9 or not definitions:
                rows.append(rng.choice(synonyms))
            else:
                rows.append(rng.choice(definitions))
        return self.embedding[rows]
