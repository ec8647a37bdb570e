"""Stage 2: the tokenizer. WordPiece over words that `src/text.rs` finds in exactly the same way, with no Unicode
tables.

    python -m tarsier_recipe tokenizer             # trains, writes tokenizer.txt and tokenizer.json
    python -m tarsier_recipe tokenizer --golden    # rewrites tests/data/tokenizer.{txt,tsv}

Normalisation, per character of the text:
1. lower case (of the single character, so a final sigma is an ordinary one);
2. FOLD: accented Latin letters lose the accent, ligatures are spelt out; combining accents U+0300..U+036F vanish;
3. VANISH: apostrophes vanish ("man's" is "mans", as in the phrases);
4. everything in SEPARATORS ends a word and leaves nothing else: spaces, controls, punctuation, symbols below U+00C0.
   So a comma, a hyphen or a second space never changes what a prompt is, only where words end;
5. any other character belongs to the word.
A word of more than MAX_WORD_BYTES bytes in UTF-8 is one [UNK]. Otherwise the longest known piece is taken from the
left, continuations as `##piece`; characters at which no piece starts give one [UNK] per run.
At most MAX_TOKENS ids are kept. File: one token per line, id = line; [PAD], [UNK], then the rest in byte order.
"""

import json
import sys

from tarsier_recipe import options
from tarsier_recipe.folders import REPOSITORY, save_atomically
from tarsier_recipe.text.teacher import clean, english_words, held_out, held_synonyms

MAX_TOKENS = 32
MAX_WORD_BYTES = 64
PAD, UNK = "[PAD]", "[UNK]"
ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyz"

_GROUPS = {
    "a": "àáâãäåāăą", "c": "çćĉċč", "d": "ďđ", "e": "èéêëēĕėęě", "g": "ĝğġģ", "h": "ĥħ", "i": "ìíîïĩīĭįı",
    "j": "ĵ", "k": "ķ", "l": "ĺļľŀł", "n": "ñńņňŉ", "o": "òóôõöøōŏő", "r": "ŕŗř", "s": "śŝşš", "t": "ţťŧ",
    "u": "ùúûüũūŭůűų", "w": "ŵ", "y": "ýÿŷ", "z": "źżž", "ss": "ß", "ae": "æ", "oe": "œ",
}  # fmt: skip
FOLD = {c: plain for plain, accented in _GROUPS.items() for c in accented}
VANISH = "'\u2018\u2019\u00b4`"


def is_separator(c: str) -> bool:
    n = ord(c)
    if n < 0x80:
        return c not in ALPHABET  # already lower case
    return (
        n < 0xC0
        or n in (0xD7, 0xF7)
        or 0x2000 <= n <= 0x206F  # general punctuation, thin spaces, joiners
        or 0x3000 <= n <= 0x303F  # CJK punctuation
        or 0xFE00 <= n <= 0xFE0F  # variation selectors
        or n in (0x1680, 0xFEFF)
        or 0xFF00 <= n <= 0xFF0F  # full-width punctuation
        or 0xFF1A <= n <= 0xFF20
    )


def words(text: str):
    """The normalised words of a text."""
    word = ""
    for original in text:
        for c in original.lower():
            if c in VANISH or 0x300 <= ord(c) <= 0x36F:
                continue
            if c in FOLD:
                word += FOLD[c]
            elif not is_separator(c):
                word += c
            elif word:
                yield word
                word = ""
    if word:
        yield word


class Tokenizer:
    def __init__(self, lines: list[str]):
        assert lines[:2] == [PAD, UNK] and lines[2:] == sorted(set(lines[2:]), key=str.encode)
        self.lines = lines
        self.id_of = {token: i for i, token in enumerate(lines)}
        self.longest = max(len(line.removeprefix("##")) for line in lines[2:])

    @classmethod
    def read(cls, path) -> "Tokenizer":
        return cls(path.read_text(encoding="utf-8").splitlines())

    def word(self, word: str) -> list[int]:
        if len(word.encode()) > MAX_WORD_BYTES:
            return [1]
        ids, start = [], 0
        unknown = False  # the character before belongs to an [UNK] of this word
        while start < len(word):
            prefix = "##" if start else ""
            for end in range(min(len(word), start + self.longest), start, -1):
                piece = self.id_of.get(prefix + word[start:end])
                if piece is not None:
                    ids.append(piece)
                    start, unknown = end, False
                    break
            else:
                if not unknown:
                    ids.append(1)
                start, unknown = start + 1, True
        return ids

    def encode(self, text: str) -> list[int]:
        """Ids of a text, not truncated; empty if it has no word."""
        return [i for word in words(text) for i in self.word(word)]


def corpus(a) -> dict[str, list[str]]:
    """The strings the vocabulary is made from, by kind, without the held-out ones. Captions: COCO's, training photos
    only."""
    import numpy as np

    with np.load(a.build.prompts) as prompts:
        texts, kinds = prompts["texts"].tolist(), prompts["kind"].tolist()
    result: dict[str, list[str]] = {}
    names = {text for text, kind in zip(texts, kinds) if kind == "name"}
    held = held_synonyms(texts, kinds)
    for text, kind in zip(texts, kinds):
        if text in names or not (text in held or held_out(text)):
            result.setdefault(kind, []).append(text)
    images = json.loads((a.shared / "data" / "train.json").read_text())["images"]
    captions = [clean(caption) for image in images for caption in image.get("captions") or []]
    result["caption"] = [caption for caption in captions if not held_out(caption)]
    result["word"] = [word for word in english_words() if word not in held and not held_out(word)]
    from tarsier_recipe.text.grammar import phrases

    result["grammar"] = phrases()
    return result


WEIGHTS = {"name": 20, "synonym": 10, "definition": 2, "phrase": 1, "caption": 1, "word": 1, "grammar": 50}


def train(strings: dict[str, list[str]], size: int) -> Tokenizer:
    """HF's WordPiece trainer on the normalised words; the whole alphabet is always in."""
    from tokenizers import Tokenizer as HfTokenizer
    from tokenizers.models import WordPiece
    from tokenizers.pre_tokenizers import WhitespaceSplit
    from tokenizers.trainers import WordPieceTrainer

    def lines():
        for kind, texts in strings.items():
            for text in texts:
                kept = [w for w in words(text) if all(c in ALPHABET for c in w)]
                for _ in range(WEIGHTS[kind]):
                    yield " ".join(kept)

    letters = {*ALPHABET, *("##" + c for c in ALPHABET)}
    model = HfTokenizer(WordPiece(unk_token=UNK))
    model.pre_tokenizer = WhitespaceSplit()
    model.train_from_iterator(
        lines(),
        WordPieceTrainer(
            vocab_size=size, special_tokens=[PAD, UNK], initial_alphabet=list(ALPHABET), show_progress=False
        ),
    )
    merged = sorted((set(model.get_vocab()) - letters - {PAD, UNK}), key=lambda t: model.token_to_id(t))
    kept = merged[: size - 2 - len(letters)]
    return Tokenizer([PAD, UNK, *sorted(letters.union(kept), key=str.encode)])


def measure(tokenizer: Tokenizer, strings: dict[str, list[str]]) -> dict:
    """Tokens per word, and the share of words that are one token, by kind."""
    report = {"size": len(tokenizer.lines), "bytes": sum(len(line.encode()) + 1 for line in tokenizer.lines)}
    for kind in ["name", "synonym", "phrase", "caption", "word"]:
        pieces = [tokenizer.word(w) for t in strings[kind] for w in words(t)]
        lengths = [len(tokenizer.encode(t)) for t in strings[kind]]
        report[kind] = {
            "tokens_per_word": round(sum(map(len, pieces)) / len(pieces), 3),
            "whole_words": round(sum(len(p) == 1 for p in pieces) / len(pieces), 3),
            "truncated": sum(n > MAX_TOKENS for n in lengths),
            "empty": sum(n == 0 for n in lengths),
        }
    return report


GOLDEN = [
    "person", "Person", "PERSON", " person ", "\tperson\n", "red car", "red, car", "red  car", "red,car", "red-car", "red_car",
    "red/car", "red.car!", "(red) car", "a red car.", "a \"red\" car?", "t-shirt", "T-Shirt", "tshirt", "t shirt", "man's hat",
    "man’s hat", "mans hat", "man`s hat", "café", "cafe\u0301", "CAFÉ", "naïve", "jalapeño", "piñata", "crème brûlée",
    "Škoda", "straße", "STRASSE", "ẞ", "æon", "œuvre", "Łódź", "İstanbul", "ıssız", "Ålesund", "ŉ", "ǆ", "ΣΊΣΥΦΟΣ", "σίσυφος",
    "人", "一只猫", "红色的汽车", "red 汽车", "猫cat", "cat猫", "cat猫dog", "犬、猫", "日本語 text", "ひらがな", "カタカナ", "한국어",
    "кошка", "Москва", "قطة", "חתול", "हिन्दी", "ไทย", "🐱", "🐱 cat", "🐱cat", "cat🐱", "cat🐱dog", "👨‍👩‍👧‍👦", "❤️", "⚽ ball", "🇫🇷 flag",
    "", " ", "\t\n", ",", "...", "-", "'", "’’", "\u200b", "\ufeffdog", "dog\u00a0cat", "dog\u2003cat", "dog\u3000cat", "dog\u200dcat",
    "dog\u00adcat", "dog\u0000cat", "dog\u007fcat", "dog\u0085cat", "dog—cat", "dog…cat", "dog“cat”", "«dog»", "dog•cat", "dog→cat",
    "ｄｏｇ", "dog，cat", "dog！", "½ cup", "m²", "µm", "ª", "º", "129 kilo €", "$5", "50%", "c++", "c#", "@home", "#1", "a&b", "a=b", "a~b",
    "0", "00", "007", "1 2 3", "3.14", "1,000", "10:30", "2nd floor", "104 mph", "x1y2z3", "4x4", "a", "z", "q", "aa", "zzzzzz", "qqqqqqqqqqqqqqqqqq",
    "x" * 63, "x" * 64, "x" * 65, "x" * 200, "é" * 32, "é" * 64, "é" * 65, "人" * 21, "人" * 22, "ß" * 32, "ß" * 33,
    "antidisestablishmentarianism", "pneumonoultramicroscopicsilicovolcanoconiosis", "dog " * 31, "dog " * 32, "dog " * 33, "dog " * 100,
    "the person on the left of the red sofa who is holding a cup", "all of the wheels that are not touching the ground",
    "a dog, but no leash", "a dog but no leash", "person wearing a hard hat; not a helmet", "leftmost traffic light", "Wallet/Purse",
    "Bat (Animal)", "trafficLight-GreenLeft", "monitor (computer equipment) computer monitor", "doll's house", "Allen-key",
    "a man in a dark blue jacket and light trousers is standing next to the open back door of a white delivery van while another "
    "man carries two large cardboard boxes towards it across the wet street in the rain",
    "\u0301", "a\u0301\u0302\u0303", "e\u0301\u0301", "\u0301dog", "D̶o̶g̶", "dog\u20dd", "ﬁsh", "Ǆ", "Ω", "K", "Å", "ℵ", "𝐝𝐨𝐠", "𝟏",
    "fire hydrant", "stop sign", "potted plant", "dining table", "hair drier", "skis", "tv", "teddy bear", "sports ball", "wine glass",
    "cell phone", "baseball glove", "traffic cone", "forklift", "charging station", "door handle", "light switch", "power outlet",
    "stairs", "person with a walking stick", "zebra crossing", "exit sign", "pallet", "cable on the floor", "spilled water",
]  # fmt: skip


def escape(text: str) -> str:
    """Backslash and every unprintable character as Rust writes them, \\u{1f}: the test undoes only that."""
    return "".join(c if c.isprintable() and c != "\\" else f"\\u{{{ord(c):x}}}" for c in text)


def write_golden(tokenizer: Tokenizer) -> None:
    """tests/data/tokenizer.txt (the vocabulary) and tokenizer.tsv (escaped text, ids after truncation)."""
    folder = REPOSITORY / "tests/data"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.txt").write_text("".join(line + "\n" for line in tokenizer.lines), encoding="utf-8")
    with open(folder / "tokenizer.tsv", "w", encoding="utf-8", newline="\n") as file:
        for text in dict.fromkeys(GOLDEN):
            file.write(f"{escape(text)}\t{' '.join(map(str, tokenizer.encode(text)[:MAX_TOKENS]))}\n")


def main() -> None:
    p = options.parser(__doc__)
    p.add_argument("--size", type=int, default=8192, help="tokens")
    p.add_argument(
        "--golden", action="store_true", help="rewrite tests/data/tokenizer.* with the tokenizer that is there"
    )
    a = options.parse(p)
    path = a.build.tokenizer
    if a.golden:
        write_golden(Tokenizer.read(path))
        return
    if path.exists():
        print(f"{path.name} exists: nothing to do", file=sys.stderr)
        return
    strings = corpus(a)
    reports, chosen = [], None
    for size in sorted({2048, 4096, 6144, a.size, 12288, 16384}):
        tokenizer = train(strings, size)
        reports.append(measure(tokenizer, strings))
        print(json.dumps(reports[-1]), flush=True)
        chosen = tokenizer if size == a.size else chosen
    save_atomically(a.build.text / "tokenizer.json", lambda file: file.write(json.dumps(reports, indent=1).encode()))
    save_atomically(path, lambda file: file.write("".join(line + "\n" for line in chosen.lines).encode()))
    print(f"tokenizer.txt: {len(chosen.lines)} tokens", flush=True)


if __name__ == "__main__":
    main()
