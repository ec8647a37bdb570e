#!/usr/bin/env python3
"""Measures Rust trees line by line: `tests/tree.py [folder …]`, by default `src` and `src/kernels`.

One row a tree, tests cut off (files `tests.rs` and below `tests/`, and what follows `#[cfg(test)]` at the start of a line):

    files        and the median and greatest number of their lines, and how many have more than 600
    doc          lines that begin with /// or //!, in 100 lines of code
    comments     other lines that begin with //, and code lines with one behind them, in 100 lines of code
    wide         lines of more than 100 columns, in 1,000
    documented   `pub fn`s that a doc comment stands above
    unsafe       blocks and `unsafe impl`s, and how many have a SAFETY comment close above

`--list` also names the files that are too long and the lines that are too wide.
"""

import argparse
import re
import statistics
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LONGEST = 600  # lines of a file
WIDEST = 100  # columns
CLOSE = 6  # lines above an `unsafe` in which its reason has to begin


def sources(tree):
    """The tree's Rust files that are not tests."""
    for path in sorted(tree.rglob("*.rs")):
        parts = path.relative_to(tree).parts
        if path.name != "tests.rs" and not {"tests", "target"} & set(parts):
            yield path


def lines_of(path):
    """Its lines up to the tests inside."""
    lines = path.read_text().splitlines()
    return lines[: next((i for i, line in enumerate(lines) if line.startswith("#[cfg(test)]")), len(lines))]


def without_text(line):
    """A line of code without what stands in quotes, which may hold slashes."""
    return re.sub(r'"(\\.|[^"\\])*"', '""', line)


def has_doc(lines, at):
    """Whether a doc comment stands above the item of a line, with attributes in between."""
    for line in reversed(lines[:at]):
        line = line.strip()
        if line.startswith("///"):
            return True
        if not line.startswith(("#[", ")]", "//")) and not line.endswith((",", "]")):
            return False
    return False


def measure(tree, listed):
    lengths, doc, comments, code, wide, total = [], 0, 0, 0, 0, 0
    functions, documented, unsafes, reasons = 0, 0, 0, 0
    for path in sources(tree):
        lines = lines_of(path)
        lengths.append(len(lines))
        if listed and len(lines) > LONGEST:
            print(f"{path}: {len(lines)} lines")
        for i, line in enumerate(lines):
            total += 1
            if len(line) > WIDEST:
                wide += 1
                if listed:
                    print(f"{path}:{i + 1}: {len(line)} columns")
            text = line.strip()
            if text.startswith(("///", "//!")):
                doc += 1
            elif text.startswith("//"):
                comments += 1
            elif text:
                code += 1
                bare = without_text(text)
                comments += "// " in bare
                if re.match(r"pub (const |async |unsafe )*fn ", text):
                    functions += 1
                    documented += has_doc(lines, i)
                if re.search(r"\bunsafe (impl\b|\{)|\bunsafe$", bare.split("//")[0]):
                    unsafes += 1
                    reasons += any("SAFETY" in above for above in lines[max(0, i - CLOSE) : i + 2])
    share = lambda part, whole: f"{part / max(whole, 1):.1f}"  # noqa: E731
    return [
        tree.relative_to(ROOT) if tree.is_relative_to(ROOT) else tree.name, len(lengths), round(statistics.median(lengths or [0])), max(lengths, default=0),
        sum(n > LONGEST for n in lengths), share(100 * doc, code), share(100 * comments, code), share(1000 * wide, total),
        f"{100 * documented // max(functions, 1)} % ({functions})", f"{unsafes} : {reasons}",
    ]


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("trees", nargs="*", type=Path, default=[ROOT / "src", ROOT / "src/kernels"])
    p.add_argument("--list", action="store_true")
    a = p.parse_args()
    head = ["tree", "files", "median", "longest", f"> {LONGEST}", "doc / 100", "comments / 100", f"> {WIDEST} columns / 1,000", "`pub fn` documented", "`unsafe` : reasons"]
    print("| " + " | ".join(head) + " |\n|" + "---|" * len(head))
    for tree in a.trees:
        print("| " + " | ".join(map(str, measure(tree.resolve(), a.list))) + " |")


if __name__ == "__main__":
    main()
