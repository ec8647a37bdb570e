"""Prompt embeddings for training: every name is asked for in several ways (itself, synonyms, its definition), and a bank of names that no photo shows."""

import random

import numpy as np
import torch


NEAR = 0.35  # cosine from which a name of the bank may be true of what another name is true of; 99 % of the pairs of COCO's names are below


class PromptBank:
    """Rows for the data's names, sampled among their texts at every step.

    Reads `prompts.npz` of the text stage: texts, kind, owner, embedding [N,128] of unit length; and, if given, the names' sentences (sentences.py).
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
                for n, k in enumerate(s["owner"].tolist()):
                    if k >= 0:
                        self.sentences[k].append(len(embedding) + n)
                self.embedding = torch.cat([embedding, torch.from_numpy(s["embedding"].astype(np.float32))])
        own = {int(owner[i]) for i in self.main}
        self.texts = texts
        self.others = [i for i, k in enumerate(kind) if k in ("name", "synonym") and int(owner[i]) not in own]

    def names(self):
        """[C,128], the names themselves."""
        return self.embedding[self.main]

    def sample(self, rng=random):
        """[C,128]: half the time the name, else a synonym, the definition (10 %), or a sentence about it (15 %, where there are sentences)."""
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

    def negatives(self, count, rng=random):
        """`count` names of the vocabulary that the data does not have: rows [count,128], and which names [C,count] they are near to."""
        rows = self.embedding[rng.sample(self.others, count)]
        return rows, self.names() @ rows.T >= NEAR
