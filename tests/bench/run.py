"""All benches, one after the other; writes tests/bench/RESULTS.md and boards/ESTIMATES.md.

    cargo build --release
    python tests/bench/run.py [--network models/build/detector] [--rounds 12] [--frames 30]

Needs what the benches need, each says what in its first lines; about ten minutes on an idle machine. As root the measured processes
run with real-time priority, so that other programs disturb them less.
"""

import argparse
import subprocess
from pathlib import Path

import aarch64
import common
import estimates
import masks
import peers
import prompts
import size

HEAD = """# Results

{date}, commit {commit}, {machine}. {rust}, qemu {qemu}.
Written by `python tests/bench/run.py`; [the scripts](.) say how each number is measured.

## Bars

{bars}

[NOTES.md](NOTES.md) says what stands between us and the bars that are missed.

## Peers, on the same exported network

{peers}

## Instructions on emulated Arm cores

{aarch64}

## Prompts

{prompts}

## Masks

{masks}

## Size, start, memory

{size}

## Kernels

`cargo bench --bench kernels`, one thread:

```text
{kernels}
```
"""


def output(*command, **options):
    return subprocess.run(command, capture_output=True, text=True, check=True, cwd=common.ROOT, **options).stdout.strip()


def bars(ratios, medians, arm, prompt_ratios, mask_share, numbers):
    """One row per bar: what, bar, measured, whether it holds."""
    found = [
        ("our int8 / onnxruntime int8 at its best, 1 thread", 0.70, max(v for (n, t), v in ratios.items() if n in ("onnxruntime u8", "onnxruntime s8") and t == 1)),
        ("our int8 / OpenVINO int8 at its best, 1 thread", 0.60, max(v for (n, t), v in ratios.items() if n.startswith("OpenVINO") and t == 1)),
        ("our int8 / stock tract int8, 1 thread", 0.10, ratios.get(("stock tract int8", 1))),
        ("two threads / one thread", 0.56, medians["tarsier", 2] / medians["tarsier", 1]),
        ("aarch64 instructions / onnxruntime s8, cortex-a76", 0.65, arm["cortex-a76"]),
        ("aarch64 instructions / onnxruntime s8, cortex-a72", 0.70, arm["cortex-a72"]),
        *((f"10,000 prompts / 80 prompts, time per frame, {group}", 1.15, r[10000]) for group, r in prompt_ratios.items()),
        *((f"all 2,967 names / 80 names, time per frame, {group}", 1.05, r[2967]) for group, r in prompt_ratios.items()),
        ("masks of 20 objects / frame", 0.10, mask_share),
        ("start of the process to first detection, less one inference, ms", 25, numbers["outside"] - numbers["frame"]),
        ("peak RSS of `detect` at 320, MB", 48, numbers["rss"]),
        ("stripped aarch64 binary, MB", 14, numbers["arm"]),
    ]
    return [[what, f"≤ {bar:g}", f"{value:.3f}" if bar < 2 else f"{value:.1f}", "yes" if value <= bar else "**no**"] for what, bar, value in found if value]


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--network", default=common.NETWORK, type=Path)
    p.add_argument("--tarsier", default=common.TARSIER, type=Path)
    p.add_argument("--pack", default=common.PACK, type=Path, help="made from the same network")
    p.add_argument("--rounds", default=12, type=int)
    p.add_argument("--frames", default=30, type=int)
    a = p.parse_args()
    peer_text, ratios, medians = peers.section(a.network, a.tarsier, a.pack, a.rounds, a.frames)
    prompt_text, prompt_ratios = prompts.section(a.tarsier, a.pack, max(2, a.rounds // 4), a.frames)
    mask_text, mask_share = masks.section(a.tarsier, a.pack, max(2, a.rounds // 3), a.frames)
    found = aarch64.measure(a.network, a.pack, aarch64.CORES)
    arm_text, arm = aarch64.section(found)
    size_text, numbers = size.section(a.tarsier, a.pack, a.rounds)
    kernels = output("cargo", "bench", "--bench", "kernels", preexec_fn=common.prepare(common.cores(1)))
    estimates.write(found)
    (common.BENCH / "RESULTS.md").write_text(HEAD.format(
        date=common.today(), commit=common.commit(), machine=common.machine(), rust=output("rustc", "--version").split(" (")[0],
        qemu=output("qemu-aarch64", "--version").split()[2],
        bars=common.table(["what", "bar", "measured", "holds"], bars(ratios, medians, arm, prompt_ratios, mask_share, numbers)),
        peers=peer_text, aarch64=arm_text, prompts=prompt_text, masks=mask_text, size=size_text, kernels=kernels))


if __name__ == "__main__":
    main()
