"""Stage 3: sentences to learn from, composed of names, phrases and small words, through the teacher.

    python -m tarsier_recipe compose

Names and phrases alone would teach the student words, not what "without", "left of" or "on" do to them. Writes
composed.npz (texts, kind, embedding f16 [M,128] in the space of prompts.npz). Kinds: frame, plural, adjective,
order, relation, action, place, phrase (two phrases joined), word (English words), caption, caption-held-out. Nothing
held out is a part of a sentence, except in caption-held-out (one in 32 captions of training photos and some of
validation photos).
"""

import json
import random

import numpy as np

from tarsier_recipe import options
from tarsier_recipe.folders import save_atomically
from tarsier_recipe.text.grammar import (
    ACTIONS,
    ADJECTIVES,
    ARTICLES,
    COUNTS,
    FRAMES,
    PLACES,
    PREDICATES,
    RELATIONS,
    SUBJECTS,
)
from tarsier_recipe.text.teacher import Teacher, clean, english_words, held_out, unit

SEED = 1


def plural(noun: str) -> str:
    if noun.endswith(("s", "x", "z", "ch", "sh")):
        return noun + "es" if not noun.endswith("s") else noun
    if noun.endswith("y") and noun[-2:-1] not in "aeiou":
        return noun[:-1] + "ies"
    if noun.endswith("man"):
        return noun[:-3] + "men"
    return noun + "s"


def article(noun: str, rng: random.Random) -> str:
    kind = rng.random()
    if kind < 0.35:
        return noun
    if kind < 0.65:
        return "the " + noun
    return ("an " if noun[0] in "aeiou" else "a ") + noun


def sentences(nouns: list[str], common: list[str], phrases: list[str]) -> list[tuple[str, str]]:
    """(text, kind) for about 110,000 strings. `common`: the names people use most (COCO, training data)."""
    rng = random.Random(SEED)
    noun = lambda: rng.choice(common if rng.random() < 0.4 else nouns)  # noqa: E731
    thing = lambda: noun() if rng.random() < 0.6 else rng.choice(phrases)  # noqa: E731
    out = []
    for name in nouns:  # every name at least once in each of these
        out.append((rng.choice(FRAMES).format(name), "frame"))
        out.append((rng.choice(FRAMES).format(name), "frame"))
        out.append((f"{rng.choice(ARTICLES)} {name}", "frame"))
        out.append((plural(name), "plural"))
        out.append((f"{rng.choice(ADJECTIVES)} {name}", "adjective"))
    for _ in range(3000):
        out.append((f"{rng.choice(COUNTS)} {plural(noun())}", "plural"))
    for _ in range(14000):
        a, b = rng.sample(ADJECTIVES, 2)
        n = noun()
        form = rng.choice(["{a} {n}", "{a} {b} {n}", "the {a} {n}", "the {a} {b} {n}", "a {a} {n}"])
        out.append((form.format(a=a, b=b, n=n), "adjective"))
    for _ in range(8000):
        a, b = rng.sample(ADJECTIVES, 2)
        n = noun()
        form = rng.choice(
            ["{n} " + rng.choice(PREDICATES), "{n} {a}", "{a} and {b} {n}", "not {a} {n}", "{n} which is {a} and {b}"]
        )
        out.append((form.format(a, a=a, b=b, n=n), "order"))
    for _ in range(26000):
        out.append((f"{article(thing(), rng)} {rng.choice(RELATIONS)} {article(thing(), rng)}", "relation"))
    for _ in range(10000):
        out.append((f"{article(rng.choice(SUBJECTS), rng)} {rng.choice(ACTIONS)} {article(thing(), rng)}", "action"))
    for _ in range(8000):
        out.append((f"{article(thing(), rng)} {rng.choice(PLACES)}", "place"))
    for _ in range(14000):
        out.append(
            (
                f"{rng.choice(phrases)} {rng.choice(['and', 'with', 'on', 'in', 'near', 'of'])} {rng.choice(phrases)}",
                "phrase",
            )
        )
    for _ in range(5000):
        a, b = rng.sample(ADJECTIVES, 2)
        out.append((f"the {a} {noun()} {rng.choice(RELATIONS)} the {b} {thing()} {rng.choice(PLACES)}", "relation"))
    return out


def captions(path) -> list[str]:
    images = json.loads(path.read_text())["images"]
    return [clean(c).rstrip(".").strip() for image in images for c in image.get("captions") or []]


def main() -> None:
    a = options.parse(options.parser(__doc__))
    path = a.build.composed
    if path.exists():
        print(f"{path.name} exists: nothing to do")
        return
    with np.load(a.build.prompts) as prompts:
        texts, kinds = prompts["texts"].tolist(), prompts["kind"].tolist()
        mean, matrix = prompts["mean"], prompts["matrix"]
    records = json.loads(a.build.categories.read_text())
    names = [r["name"] for r in records]
    known = set(names)
    nouns = list(dict.fromkeys(names + [t for t, k in zip(texts, kinds) if k == "synonym" and not held_out(t)]))
    nouns = [n for n in nouns if len(n) > 1 and "(" not in n and "/" not in n]
    common = [r["name"] for r in records if "coco" in r["sets"] or "training" in r["sets"]]
    phrases = [
        t
        for t, k in zip(texts, kinds)
        if k == "phrase" and (t in known or not held_out(t)) and not any(c.isdigit() for c in t)
    ]

    pairs = [(clean(text), kind) for text, kind in sentences(nouns, common, phrases)]
    train_captions = captions(a.shared / "data" / "train.json")
    pairs += [(c, "caption-held-out" if held_out(c) else "caption") for c in train_captions]
    pairs += [(c, "caption-held-out") for c in captions(a.shared / "data" / "val.json")[:1000]]
    pairs += [(word, "word") for word in english_words()]
    base = set(texts)  # already in prompts.npz
    unique = {text: kind for text, kind in reversed(pairs) if text and text not in base}
    strings = list(unique)
    print(f"{len(strings)} sentences", flush=True)
    rows = unit((Teacher(a.build.text, a.threads, bfloat16=True).encode(strings) - mean) @ matrix).astype(np.float16)
    save_atomically(
        path, lambda file: np.savez(file, texts=np.array(strings), kind=np.array(list(unique.values())), embedding=rows)
    )
    print(f"composed.npz {rows.shape}", flush=True)


if __name__ == "__main__":
    main()
