"""Time per frame with 1, 80, 1,203 and 10,000 prompts, alternating; the vocabulary's names first, each in a colour after them.

    python tests/bench/prompts.py [--rounds 8] [--frames 30]

The network does not see the prompts; what grows is the alignment product (objects × prompts) and the selection, the more so the more
pairs pass their threshold. The last row has a threshold that no pair passes, to tell the two apart.
"""

import argparse
import statistics
import tempfile
import zipfile
from pathlib import Path

import common

# (prompts, further options)
CASES = ((1, ()), (80, ()), (1203, ()), (10000, ()), (10000, ("--threshold", 1)))
COLOURS = "red green blue white black yellow orange brown grey pink purple golden silver dark bright".split()


def names(pack, count):
    """Distinct prompts: the vocabulary's names (a hyphen is a space there), then each of them in a colour."""
    lines = zipfile.ZipFile(pack).read("vocabulary.tsv").decode().splitlines()
    known = list(dict.fromkeys(line.split("\t")[0].lower().replace("-", " ") for line in lines if line))
    return [*known, *(f"a {colour} {name}" for colour in COLOURS for name in known)][:count]


def section(binary, pack, rounds, frames):
    """The Markdown of this bench and the ratio of 10,000 prompts to 80."""
    times, parts, facts = {c: [] for c in CASES}, {c: {} for c in CASES}, {}
    with tempfile.TemporaryDirectory() as folder:
        for count, _ in CASES:
            (Path(folder) / str(count)).write_text("\n".join(names(pack, count)))
        for _ in range(rounds):
            for case in CASES:
                prompts = ["--prompts", Path(folder) / str(case[0]), "--encode-unknown", *case[1]]
                found = common.tarsier("--pack", pack, *prompts, frames=frames, binary=binary)
                stages = {name: found["ms"][name] for name in common.STAGES}
                times[case].append([sum(frame) for frame in zip(*stages.values())])
                for name, values in stages.items():
                    parts[case].setdefault(name, []).extend(values)
                facts[case] = found
    rows = []
    for case in CASES:
        middle, low, high = common.quartiles([ms for r in times[case] for ms in r])
        name = f"{facts[case]['prompts']:,}" + (", nothing passes" if case[1] else "")
        rows.append([name, f"{middle:.2f}", f"{low:.2f}-{high:.2f}", *(f"{statistics.median(v):.2f}" for v in parts[case].values()),
                     f"{facts[case]['start_to_prompts_ms']:.0f}", f"{facts[case]['peak_rss_kb'] * 1024 / 1e6:.0f}"])
    ratio = statistics.median(statistics.median(a) / statistics.median(b) for a, b in zip(times[CASES[3]], times[CASES[1]]))
    head = ["prompts", "frame, median ms", "p25-p75", *common.STAGES, "start to prompts ready ms", "peak RSS MB"]
    return f"One thread, whole frames without decoding:\n\n{common.table(head, rows)}\n\n10,000 / 80 prompts: {ratio:.2f}.", ratio


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--tarsier", default=common.TARSIER, type=Path)
    p.add_argument("--pack", default=common.PACK, type=Path)
    p.add_argument("--rounds", default=8, type=int)
    p.add_argument("--frames", default=30, type=int)
    a = p.parse_args()
    print(section(a.tarsier, a.pack, a.rounds, a.frames)[0])


if __name__ == "__main__":
    main()
