"""Time per frame with 1, 80, 1,203, 2,967 (all names) and 10,000 prompts, alternating; the vocabulary's names first, each in a colour after them.

    python tests/bench/prompts.py [--rounds 4] [--frames 30]

The network does not see the prompts; what grows is the alignment product (objects × prompts) and the selection. How many objects that are depends on
the picture: only what is object-like enough for a prompt's threshold is compared with it. So there are two groups of pictures: the photos in
models/sample/, and the pack's golden frame, a collage that is fuller than photos are.
"""

import argparse
import statistics
import tempfile
import zipfile
from pathlib import Path

import common

COUNTS = (1, 80, 1203, 2967, 10000)
PICTURES = {"photos": sorted((common.ROOT / "models/sample").glob("*.jpg")), "collage": [common.ROOT / "models/golden/frame.png"]}
COLOURS = "red green blue white black yellow orange brown grey pink purple golden silver dark bright".split()


def names(pack, count):
    """Distinct prompts: the vocabulary's names (a hyphen is a space there), then each of them in a colour."""
    lines = zipfile.ZipFile(pack).read("vocabulary.tsv").decode().splitlines()
    known = list(dict.fromkeys(line.split("\t")[0].lower().replace("-", " ") for line in lines if line))
    return [*known, *(f"a {colour} {name}" for colour in COLOURS for name in known)][:count]


def section(binary, pack, rounds, frames):
    """The Markdown of this bench, and of each group of pictures the ratios of 10,000 and of all names to 80 prompts."""
    lines, ratios = [], {}
    with tempfile.TemporaryDirectory() as folder:
        for count in COUNTS:
            (Path(folder) / str(count)).write_text("\n".join(names(pack, count)))
        for group, pictures in PICTURES.items():
            times, parts, facts = {c: [] for c in COUNTS}, {c: {} for c in COUNTS}, {}
            for _ in range(rounds):
                for picture in pictures:
                    for count in COUNTS:
                        prompts = ["--prompts", Path(folder) / str(count), "--encode-unknown", "--image", picture]
                        found = common.tarsier("--pack", pack, *prompts, frames=frames, binary=binary)
                        times[count] += common.frame_times(found)
                        for name in common.STAGES:
                            parts[count].setdefault(name, []).extend(found["ms"][name])
                        facts[count] = found
            for count in COUNTS:
                middle, low, high = common.quartiles(times[count])
                lines.append([group, f"{facts[count]['prompts']:,}", f"{middle:.2f}", f"{low:.2f}-{high:.2f}", *(f"{statistics.median(v):.2f}" for v in parts[count].values()),
                              f"{facts[count]['start_to_prompts_ms']:.0f}", f"{facts[count]['peak_rss_kb'] * 1024 / 1e6:.0f}"])
            # stage by stage: a guest of the machine that takes a part of some frames' time moves a median of parts less than one of wholes
            whole = {c: sum(statistics.median(v) for v in parts[c].values()) for c in COUNTS}
            ratios[group] = {c: whole[c] / whole[80] for c in (2967, 10000)}
    head = ["pictures", "prompts", "frame, median ms", "p25-p75", *common.STAGES, "start to prompts ready ms", "peak RSS MB"]
    said = "; ".join(f"{group}: all 2,967 names / 80 prompts {r[2967]:.3f}, 10,000 / 80 prompts {r[10000]:.2f}" for group, r in ratios.items())
    return f"One thread, whole frames without decoding:\n\n{common.table(head, lines)}\n\nOf the sums of the stages' medians: {said}.", ratios


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--tarsier", default=common.TARSIER, type=Path)
    p.add_argument("--pack", default=common.PACK, type=Path)
    p.add_argument("--rounds", default=4, type=int)
    p.add_argument("--frames", default=30, type=int)
    a = p.parse_args()
    print(section(a.tarsier, a.pack, a.rounds, a.frames)[0])


if __name__ == "__main__":
    main()
