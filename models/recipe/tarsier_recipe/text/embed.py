"""Stage 1: every name, synonym, definition and phrase through the teacher, and into the 128-wide prompt space.

    python -m tarsier_recipe embed

The space: teacher vectors are centred, rotated onto their principal components (fitted on names, synonyms and
phrases), component i is divided by eigenvalue^(a/2), and the row is scaled to unit length. a = 0 is plain PCA,
a = 1 is full whitening. Sentence encoders use a narrow cone of their space, so names look alike; partial whitening
spreads them, which is what an object embedding has to be told apart by. `a` is chosen by measurement (see `choose`).

Writes prompts.npz (texts, kind, owner, embedding f16 [N,128]; mean [384], matrix [384,128]: `unit((t - mean) @
matrix)`), categories.json (one record per category: name, synonyms, definition, kind, sets, row of its name in
prompts.npz), embed.json (the measurements).
"""

import json

import numpy as np

from tarsier_recipe import options
from tarsier_recipe.folders import save_atomically
from tarsier_recipe.text.teacher import WIDTH, Teacher, clean, read_jsonl, unit

EXPONENTS = [0.0, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 1.0]


def categories(shared) -> list[dict]:
    """The vocabulary's records, then the data set's names that are not among them."""
    records = []
    for record in read_jsonl(shared / "vocabulary" / "categories.jsonl"):
        name = clean(record["name"])
        synonyms = [clean(s) for s in record.get("synonyms", [])]
        if "/" in name:  # "wallet/purse" answers to either
            synonyms += [clean(part) for part in name.split("/")]
        thing = record.get("thing")
        records.append(
            {
                "name": name,
                "synonyms": [s for s in dict.fromkeys(synonyms) if s and s != name],
                "definition": clean(record.get("definition", "")),
                "kind": "stuff" if thing is False else "thing",
                "kind_known": thing is not None,
                "sets": record["sets"],
            }
        )
    known = {record["name"]: record for record in records}
    with open(shared / "data" / "categories.tsv", encoding="utf-8") as file:
        header = next(file).rstrip("\n").split("\t")
        for line in file:
            row = dict(zip(header, line.rstrip("\n").split("\t")))
            name = clean(row["category"])
            if name in known:
                known[name]["sets"] = known[name]["sets"] + ["training"]
                continue
            known[name] = {
                "name": name,
                "synonyms": [],
                "definition": "",
                "kind": "thing" if row["isthing"] == "1" else "stuff",
                "kind_known": True,
                "sets": ["training"],
            }
            records.append(known[name])
    return records


def fit(rows: np.ndarray, exponent: float) -> tuple[np.ndarray, np.ndarray]:
    """Mean [384] and matrix [384, 128] of the space."""
    mean = rows.mean(axis=0)
    values, vectors = np.linalg.eigh(np.cov((rows - mean).T))
    values, vectors = values[::-1][:WIDTH], vectors[:, ::-1][:, :WIDTH]
    return mean, vectors / np.maximum(values, 1e-9) ** (exponent / 2)


def retrieval(queries: np.ndarray, table: np.ndarray, answers: np.ndarray) -> tuple[float, float]:
    """R@1 and R@10 of the right row among all rows of the table, in percent."""
    scores = queries @ table.T
    right = scores[np.arange(len(queries)), answers]
    rank = (scores > right[:, None]).sum(axis=1)
    return float((rank < 1).mean() * 100), float((rank < 10).mean() * 100)


def choose(records, table_of) -> tuple[float, list[dict]]:
    """Measures every exponent with the synonyms kept out of the fit; best mean of the two R@1 and synonym R@10."""
    names = list(dict.fromkeys(r["name"] for r in records))
    place = {name: i for i, name in enumerate(names)}
    synonyms = [
        (s, place[r["name"]]) for r in records for s in r["synonyms"] if s not in place and "/" not in r["name"]
    ]
    definitions = [(r["definition"], place[r["name"]]) for r in records if r["definition"]]
    coco = [place[r["name"]] for r in records if "coco" in r["sets"]]
    name_rows = table_of(names)
    synonym_rows, definition_rows = table_of([s for s, _ in synonyms]), table_of([d for d, _ in definitions])
    rows = []
    for exponent in [None, *EXPONENTS]:
        if exponent is None:
            into = lambda x: x  # noqa: E731 (the teacher's own space)
        else:
            mean, matrix = fit(np.concatenate([name_rows, table_of("phrases")]), exponent)
            into = lambda x: unit((x - mean) @ matrix)  # noqa: E731
        table = into(name_rows)
        cosine = table[coco] @ table[coco].T
        apart = cosine[~np.eye(len(coco), dtype=bool)]
        one, ten = retrieval(into(synonym_rows), table, np.array([a for _, a in synonyms]))
        def_one, def_ten = retrieval(into(definition_rows), table, np.array([a for _, a in definitions]))
        rows.append(
            {
                "exponent": exponent,
                "synonym_r1": one,
                "synonym_r10": ten,
                "definition_r1": def_one,
                "definition_r10": def_ten,
                "coco_mean_cosine": float(apart.mean()),
                "coco_max_cosine": float(apart.max()),
                "coco_p99_cosine": float(np.quantile(apart, 0.99)),
            }
        )
        print(
            "  ".join(f"{k} {v:.3f}" if isinstance(v, float) else f"{k} {v}" for k, v in rows[-1].items()), flush=True
        )
    # The score; where it is flat (within 0.3 points) the larger exponent, since COCO's names lie further apart there.
    score = {
        r["exponent"]: (r["synonym_r1"] + r["synonym_r10"] + r["definition_r1"]) / 3
        for r in rows
        if r["exponent"] is not None
    }
    best = max(score.values())
    return max(e for e, s in score.items() if s >= best - 0.3), rows


def main() -> None:
    a = options.parse(options.parser(__doc__))
    records = categories(a.shared)
    with open(a.shared / "vocabulary" / "phrases.txt", encoding="utf-8") as file:
        phrases = list(dict.fromkeys(p for p in (clean(line) for line in file) if p))

    strings = []  # (text, kind, owner)
    for owner, record in enumerate(records):
        record["row"] = len(strings)
        strings.append((record["name"], "name", owner))
    for owner, record in enumerate(records):
        strings += [(s, "synonym", owner) for s in record["synonyms"]]
    for owner, record in enumerate(records):
        strings += [(record["definition"], "definition", owner)] if record["definition"] else []
    strings += [(p, "phrase", -1) for p in phrases]
    print(f"{len(records)} categories, {len(strings)} strings", flush=True)

    teacher = Teacher(a.build.text, a.threads)
    texts, kinds = [s[0] for s in strings], np.array([s[1] for s in strings])
    rows = teacher.encode(texts)
    row_of = {t: i for i, t in reversed(list(enumerate(texts)))}
    phrase_rows = rows[kinds == "phrase"]
    exponent, table = choose(records, lambda t: phrase_rows if isinstance(t, str) else rows[[row_of[x] for x in t]])

    mean, matrix = fit(rows[kinds != "definition"], exponent)
    embedding = unit((rows - mean) @ matrix).astype(np.float16)
    save_atomically(
        a.build.prompts,
        lambda file: np.savez(
            file,
            texts=np.array(texts),
            kind=kinds,
            owner=np.array([s[2] for s in strings], dtype=np.int32),
            embedding=embedding,
            mean=mean.astype(np.float32),
            matrix=matrix.astype(np.float32),
            exponent=np.float32(exponent),
        ),
    )
    dump = lambda value: lambda file: file.write(json.dumps(value, indent=1, ensure_ascii=False).encode())  # noqa: E731
    save_atomically(a.build.categories, dump(records))
    save_atomically(a.build.text / "embed.json", dump({"exponent": exponent, "strings": len(texts), "measured": table}))
    print(f"prompts.npz {embedding.shape}, categories.json {len(records)}, exponent {exponent}", flush=True)


if __name__ == "__main__":
    main()
