"""What people say instead of a name, as prompts for training: names in sentences, and the captions of the training
photos.

    python -m tarsier_recipe sentences        # build/text/encoder.pt -> build/text/sentences.npz

Encoded by the sentence encoder that the runtime has, so that the detector learns from the very rows that it will be
asked for: an encoder puts "a photo of a cup" and "the cup on the left" elsewhere than "cup". Writes texts, owner
(the name's place in the split's list, -1 for a caption), photo (the caption's place in the split, -1 for a name's
sentence), embedding f16 [N,128]; names and files, the split's, for which these places hold; and things: what the
vocabulary knows to have boxes, by name and synonym.
"""

import json
import random

import numpy as np
import torch

from tarsier_recipe import options
from tarsier_recipe.coco import COCO80
from tarsier_recipe.detector.data import Split, training
from tarsier_recipe.detector.prompts import PromptBank
from tarsier_recipe.text.sentence_encoder import SentenceEncoder

FORMS = (
    "{a}",
    "the {n}",
    "a photo of {a}",
    "a picture of the {n}",
    "{a} in the background",
    "is there {a}",
    "the {n} on the left",
    "the {n} on the right",
    "the {n} in the middle",
    "the {size} {n}",
    "a {size} {n}",
    "the {colour} {n}",
    "{a} that is {colour}",
    "the {n} next to the {other}",
    "the {n} in front of the {other}",
    "{a} without {b}",
    "a {look} {n}",
    "{a} in {colour}",
)
WORDS = {
    "look": (
        "smiling",
        "happy",
        "old",
        "young",
        "new",
        "beautiful",
        "dirty",
        "standing",
        "sitting",
        "moving",
        "broken",
        "nearby",
        "single",
    ),
    "size": ("small", "large", "biggest", "smallest", "first", "second"),
    "colour": ("red", "orange", "yellow", "green", "blue", "purple", "pink", "black", "white", "grey", "brown"),
}


def with_article(name):
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"


def said(name, others, rng):
    """Each of FORMS about a name; `others`: names that stand beside it."""
    other = rng.choice([o for o in others if o != name])
    draw = lambda: {k: rng.choice(v) for k, v in WORDS.items()}  # noqa: E731
    return [form.format(n=name, a=with_article(name), other=other, b=with_article(other), **draw()) for form in FORMS]


def main():
    p = options.parser(__doc__)
    p.add_argument("--stuff-regions", action="store_true", help="for a training with that option, which has more names")
    a = options.parse(p)
    split, rng = Split(training(a.shared), COCO80, stuff=a.stuff_regions), random.Random(0)
    bank, encode = PromptBank(a.build.prompts, split.names), SentenceEncoder(a.build)
    texts, owner, photo = [], [], []
    for k, (synonyms, _) in enumerate(bank.ways):
        for name in dict.fromkeys([split.names[k], *(bank.texts[r] for r in synonyms)]):
            sentences = said(name, COCO80, rng)
            texts += sentences
            owner += [k] * len(sentences)
            photo += [-1] * len(sentences)
    for i, im in enumerate(split.images):
        captions = im.get("captions") or []
        texts += captions
        owner += [-1] * len(captions)
        photo += [i] * len(captions)
    rows = []
    for first in range(0, len(texts), 512):
        rows.append(encode(texts[first : first + 512]))
        print(f"{min(first + 512, len(texts))} of {len(texts)} sentences", end="\r", flush=True)
    print()
    records = [c for c in json.load(open(a.build.categories)) if c["kind"] == "thing" and c["kind_known"]]
    things = sorted({n for c in records for n in (c["name"], *c["synonyms"])})
    np.savez_compressed(
        a.build.sentences,
        texts=np.array(texts),
        owner=np.array(owner),
        photo=np.array(photo),
        embedding=torch.cat(rows).half().numpy(),
        things=np.array(things),
        names=np.array(split.names),
        files=np.array([im["file_name"] for im in split.images]),
    )


if __name__ == "__main__":
    main()
