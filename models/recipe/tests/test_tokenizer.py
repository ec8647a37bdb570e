"""The tokenizer splits as the runtime does: both are held to tests/data/tokenizer.tsv."""

import re

from tarsier_recipe.folders import REPOSITORY
from tarsier_recipe.text.tokenizer import GOLDEN, MAX_TOKENS, Tokenizer

DATA = REPOSITORY / "tests/data"


def test_the_golden_texts_have_their_tokens():
    tokenizer = Tokenizer.read(DATA / "tokenizer.txt")
    lines = [line.split("\t") for line in (DATA / "tokenizer.tsv").read_text(encoding="utf-8").splitlines()]
    assert len(lines) == len(dict.fromkeys(GOLDEN))
    for escaped, ids in lines:
        text = re.sub(r"\\u\{([0-9a-f]+)\}", lambda m: chr(int(m[1], 16)), escaped)
        assert " ".join(map(str, tokenizer.encode(text)[:MAX_TOKENS])) == ids, text
