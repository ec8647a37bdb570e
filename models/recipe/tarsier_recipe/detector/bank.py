"""The embedding bank: what is asked for in every step beside the data's names. Names of the vocabulary that nothing
labels, and captions.

What a row of the bank is to a picture:
    ABSENT     nowhere in it
    UNKNOWN    perhaps in it
    SOMEWHERE  in it, nobody says where (multiple-instance learning): what a caption of the photo says, if it is known
               to be a thing and the photo is alone (parts may be cut off)
"""

import numpy as np
import torch

from tarsier_recipe.detector.captions import mentioned
from tarsier_recipe.detector.prompts import NEAR

ABSENT, UNKNOWN, SOMEWHERE = 0, 1, 2
MENTIONED = 0.25  # share of the names that captions of the batch's photos mention, if they mention as many


class EmbeddingBank:
    """`prompts`: the PromptBank of the split's names. Without `sentences` (npz of `sentences`) captions are not
    asked for."""

    def __init__(self, prompts, images, sentences=None):
        self.names, self.others = prompts.names(), prompts.embedding[prompts.others]
        texts = [prompts.texts[i] for i in prompts.others]
        own = [(k, prompts.texts[r]) for k, (synonyms, _) in enumerate(prompts.ways) for r in synonyms]
        words = [t for _, t in own]
        self.said = mentioned(images, words + texts)[
            :, len(own) :
        ].numpy()  # the longest word is heard: no "racket" in "tennis racket"
        self.owns = torch.zeros(len(own), len(self.names), dtype=torch.bool)
        self.owns[range(len(own)), [k for k, _ in own]] = True
        self.words = words
        self.kin = self.akin(texts) | self.akin(prompts.defined) | (self.names @ self.others.T >= NEAR).T
        self.thing, self.photo, self.rows = np.zeros(len(texts), bool), np.zeros(0, int), self.others[:0]
        if sentences:
            with np.load(sentences) as z:
                if z["files"].tolist() != [im["file_name"] for im in images]:
                    raise ValueError(f"{sentences} was made for other photos: run `sentences` again")
                caption = z["photo"] >= 0
                self.photo, self.rows = (
                    z["photo"][caption],
                    torch.from_numpy(z["embedding"][caption].astype(np.float32)),
                )
                self.caption_kin = self.akin(z["texts"][caption].tolist()) | (self.rows @ self.names.T >= NEAR)
                self.thing = np.isin(texts, z["things"])
        self.first, self.count = (
            np.searchsorted(self.photo, np.arange(len(images))),
            np.bincount(self.photo, minlength=len(images)),
        )

    def akin(self, texts):
        """Which of the split's names (or their synonyms) each text mentions, [texts,C]: "tennis player" a person if
        that is a synonym, what is defined as a young dog a dog."""
        said = mentioned([{"captions": [t]} for t in texts], self.words)
        return said.float() @ self.owns.float() > 0

    def draw(self, names, captions, photos, seams, size, weight, rng):
        """Rows [names+captions,128], which of the split's names [C,·] they are near to or mention (themselves or in
        their definition), and what they are to each picture [B,·].

        `photos` [B,4] of each quadrant, `seams` [B,2], `weight` [B] of each picture where it is blended with the one
        before (`mixing`). Captions are those of the batch's photos; none are drawn where no photo has one.
        """
        photos, whole = photos.numpy(), ((seams >= size).all(1) & (weight == 1)).numpy()
        heard = np.flatnonzero(self.said[np.unique(photos)].any(0)).tolist()
        chosen = rng.sample(heard, min(len(heard), int(names * MENTIONED)))
        taken = set(chosen)
        chosen += [i for i in rng.sample(range(len(self.others)), names) if i not in taken][: names - len(chosen)]
        there = self.said[photos[..., None], np.array(chosen, int)].any(1)
        told = there.astype(np.uint8) * np.where(self.thing[chosen], SOMEWHERE, UNKNOWN).astype(np.uint8)
        rows, near = self.others[chosen], self.kin[chosen]
        speaking = [i for i in np.unique(photos).tolist() if self.count[i]]
        if captions and speaking:
            by = np.array(rng.choices(speaking, k=captions))
            which = [self.first[i] + rng.randrange(self.count[i]) for i in by]
            rows, near = torch.cat([rows, self.rows[which]]), torch.cat([near, self.caption_kin[which]])
            own = (photos[..., None] == by).any(1)
            told = np.concatenate([told, own.astype(np.uint8) * SOMEWHERE], 1)
        told = np.where(whole[:, None], told, np.minimum(told, UNKNOWN))
        beside = np.minimum(np.roll(told, 1, 0), UNKNOWN) * (weight < 1).numpy()[:, None]
        return rows, near.T, torch.from_numpy(np.maximum(told, beside).astype(np.uint8))
