"""Writes boards/ESTIMATES.md: what the measured instruction mixes should cost on cores that nobody here has.

    python tests/bench/estimates.py

A core is a handful of limits (how many instructions of a kind it starts in a cycle), from Arm's software optimisation guides; the
longest of them bounds the cycles of a frame from below. What real code loses on top is a guess, and stated as one.
"""

import argparse

import aarch64
import common

# share of the bound that tuned code keeps: caches, branches, instructions that wait for one another
KEPT = (0.90, 0.65)

TEXT = """# Estimates: predicted, not measured

Nobody has run Tarsier on these boards. The numbers below are **predictions** for one thread and a whole frame (letterbox, network,
80 prompts, selection; no decoding), with the default pack and with tarsier-n; weights have 7 bits (with 8 the cores without dot products run some 20 M
instructions more). An owner replaces a row by sending the output of

```sh
tarsier bench --report --threads 1      # and once more without --threads
```

{table}

"At least" is a bound that the core cannot beat with these instructions. The range takes {kept} of the bound's speed for what real
code loses to caches, branches and waiting: a guess, from what well-tuned kernels usually keep. Heat and a weak supply throttle boards
further; the report says so.

## How a row is made

1. `tests/bench/aarch64.py` counts the instructions of one frame on an emulated core, by kind:

{mix}

2. Each core starts only so many of a kind in a cycle. The longest queue is the bound:

{limits}

3. Cycles / clock = milliseconds.

## Where the limits come from, and what is not in them

* **Cortex-A76** (Arm Cortex-A76 Software Optimization Guide): four instructions dispatched a cycle, two 128-bit ASIMD pipes that both
  take SDOT, two loads a cycle. Conversions between float and integer go to one pipe only; they are a small part of the vector
  instructions and are not told apart.
* **Cortex-A72** (Arm Cortex-A72 Software Optimization Guide): three dispatched a cycle, two ASIMD pipes. Widening multiplies (SMULL,
  SMLAL) go to F0 alone, one a cycle; pairwise accumulation (SADALP) to F1 alone. So the multiplies are the bound whatever else
  happens: only fewer of them would help.
* **Cortex-A53** has no such guide. It starts up to two instructions a cycle in order; what is published by people who tune for it (the
  convolution kernels of ncnn and onnxruntime): a 128-bit ASIMD instruction occupies both halves of the vector unit for a cycle, and a
  128-bit load or store blocks issue for two. Half of the scalar instructions are taken to hide beside vector ones. Here kinds add up
  instead of overlapping. A load of two registers (LDP) counts as one, though it takes as long as two: most loads of weights are such,
  about 18 M cycles that the bound leaves out.
* Weights (1.5 MB; of tarsier-n 1.3 MB) do not fit the second-level cache of the A53 and A72 boards and pass once a frame from memory: about 0.5 ms at
  3 GB/s. It is inside the range above.
"""

CORES = ("cortex-a53", "cortex-a72", "cortex-a76")
# board, core, GHz
BOARDS = (
    ("Raspberry Pi 5", "cortex-a76", 2.4), ("RK3588 boards, big core", "cortex-a76", 2.4), ("Raspberry Pi 4", "cortex-a72", 1.8),
    ("Raspberry Pi Zero 2 W", "cortex-a53", 1.0),
)


def limits(core, c):
    """{limit: cycles} for the counters of a frame, and how they combine."""
    vector = c["vector"] + c["float madd"]
    multiply = c["widening"] + c["pairwise"]
    everything = sum(c.values())
    if core == "cortex-a76":
        return max, {
            "all / 4": everything / 4, "(dot + vector + widening + pairwise) / 2": (c["dot"] + c["matrix"] + vector + multiply) / 2,
            "loads / 2": (c["vector load"] + c["load"]) / 2, "stores": c["vector store"] + c["store"],
        }
    if core == "cortex-a72":
        return max, {
            "all / 3": everything / 3, "widening, on F0": c["widening"], "pairwise, on F1": c["pairwise"],
            "(widening + pairwise + vector) / 2": (multiply + vector) / 2, "loads": c["vector load"] + c["load"],
        }
    scalar = c["load"] + c["store"] + c["branch"] + c["scalar"]
    return sum, {
        "widening + pairwise + vector": multiply + vector, "2 × (vector loads + stores)": 2 * (c["vector load"] + c["vector store"]),
        "scalar / 2": scalar / 2,
    }


def whole(result):
    """Counters of a whole frame by kind."""
    return dict(zip(aarch64.KINDS, map(sum, zip(*result["stages"].values()))))


def text(packs):
    """The page, from {pack: what aarch64.alone or aarch64.measure found}."""
    rows, queues, mix = [], [], []
    for pack, found in packs.items():
        for core in CORES:
            counters = whole(found[core])
            mix.append([f"{pack}, {core} ({found[core]['level']})", *(f"{v / 1e6:.1f}" for v in counters.values()), f"{sum(counters.values()) / 1e6:.1f}"])
            combine, parts = limits(core, counters)
            listed = "; ".join(f"{name} = {v / 1e6:.1f}" for name, v in parts.items())
            queues.append([f"{pack}, {core}", listed, f"{'sum' if combine is sum else 'longest'}: {combine(parts.values()) / 1e6:.1f} M cycles"])
    for board, core, ghz in BOARDS:
        for pack, found in packs.items():
            combine, parts = limits(core, whole(found[core]))
            ms = combine(parts.values()) / ghz / 1e6
            rows.append([board, core, f"{ghz:.1f} GHz", pack, f"{ms:.0f}", f"{ms / KEPT[0]:.0f}-{ms / KEPT[1]:.0f}", f"{1e3 * KEPT[1] / ms:.0f}-{1e3 * KEPT[0] / ms:.0f}"])
    head = ["board", "core", "clock", "pack", "at least, ms", "predicted, ms", "predicted frames a second, one thread"]
    return TEXT.format(
        table=common.table(head, rows), mix=common.table(["millions of instructions", *aarch64.KINDS, "all"], mix),
        limits=common.table(["pack, core", "queues, millions of cycles", "bound"], queues), kept=f"{KEPT[0]:.0%} to {KEPT[1]:.0%}",
    )


def write(found=None):
    """`found`: what is known of the default pack already."""
    packs = {"tarsier-s": found or aarch64.alone(common.PACK, CORES), "tarsier-n": aarch64.alone(common.SMALL_PACK, CORES)}
    (common.ROOT / "boards/ESTIMATES.md").write_text(text(packs))


def main():
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    write()


if __name__ == "__main__":
    main()
