"""Instructions per frame on emulated Arm cores, ours and onnxruntime's aarch64 build, the same network. Deterministic to 1e-5.

    python tests/bench/aarch64.py [--network models/build/detector] [--cores cortex-a53 cortex-a76 …]

Needs qemu-aarch64 (qemu-user), aarch64-linux-gnu-gcc, gcc, the Rust target aarch64-unknown-linux-gnu, and pip: onnxruntime's wheel for
aarch64 is downloaded (1.20.1, the newest that runs under qemu 7.2) and its libonnxruntime.so driven by ort_frames.c.

insn_count.c, a plugin of the emulator, writes its counters whenever the program makes a marking system call. `tarsier bench` asks for
the time before and after each stage and operator, and without a vDSO that is a system call; ort_frames.c calls getppid around a frame.
Instructions are no cycles: this says how much work is done, not how well a core overlaps it.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import common
import graphs
import peers

KINDS = ("dot", "matrix", "widening", "pairwise", "float madd", "vector", "vector load", "vector store", "load", "store", "branch", "scalar")
CORES = ("cortex-a53", "cortex-a72", "cortex-a76", "max")
SYSROOT = "/usr/aarch64-linux-gnu"
TARGET = "aarch64-unknown-linux-gnu"
VERSION = "1.20.1"
CLOCK_GETTIME, GETPPID = 113, 173


def build(profile="release"):
    """Our static binary, as tests/ci.sh builds it for Arm; `board` is the profile for deployment, many minutes slower to build."""
    name = TARGET.upper().replace("-", "_")
    settings = {f"CARGO_TARGET_{name}_LINKER": "aarch64-linux-gnu-gcc", f"CARGO_TARGET_{name}_RUSTFLAGS": "-C target-feature=+crt-static"}
    subprocess.run(["cargo", "build", "--locked", "--profile", profile, "--target", TARGET], cwd=common.ROOT, env={**os.environ, **settings}, check=True)
    return common.ROOT / "target" / TARGET / profile / "tarsier"


def run(core, plugin, mark, command, folder):
    """Runs a program on an emulated core; returns (stdout, stderr, the counters between each two marks)."""
    out = folder / "counts.txt"
    emulator = ["qemu-aarch64", "-L", SYSROOT, "-E", f"LD_LIBRARY_PATH={folder}", "-cpu", core, "-plugin", f"{plugin},mark={mark},out={out}"]
    done = subprocess.run([*emulator, *map(str, command)], capture_output=True, text=True, check=True)
    rows = [[int(v) for v in line.split()] for line in open(out)]
    return done.stdout, done.stderr, [[b - a for a, b in zip(*pair)] for pair in zip(rows, rows[1:])]


def ours(core, plugin, binary, pack, folder):
    """Level, counters of each stage, and (name, MAC, counters) of each operator; of the last of two frames."""
    frames = 2
    command = [binary, "bench", "--pack", pack, "--threads", 1, "--frames", frames, "--ops", "--format", "json"]
    stdout, _, spans = run(core, plugin, CLOCK_GETTIME, command, folder)
    found = json.loads(stdout)
    operators = found["operators"]
    # from the end: a run of a graph asks before the first operator, then twice at each, and spans 0, 2, 4 … are operators
    rest, measured = spans, []
    heads = sum(o["name"].startswith("/head") for o in operators)
    for count in (heads, len(operators) - heads):
        measured = rest[-2 * count :: 2] + measured
        # the span before a graph's first mark belongs to nobody
        rest = rest[: -frames * (2 * count + 1)]
    # a frame: letterbox, backbone, head, align, select, each between two marks, and a few marks behind them: where the operators make up two stages
    total = sum(sum(c) for c in measured)
    for at in range(len(rest) - 9, -1, -1):
        stages = dict(zip(common.STAGES, rest[at : at + 9 : 2]))
        if 0.9 < total / max(1, sum(sum(stages[s]) for s in ("backbone", "head"))) <= 1:
            break
    else:
        raise RuntimeError("no stages of a frame are among the marks")
    return found["level"], stages, [(o["name"], o["macs"], c) for o, c in zip(operators, measured)]


def driver(folder):
    """Downloads onnxruntime for aarch64, takes its library, builds the driver against it."""
    platforms = [p for v in ("2014", "_2_27", "_2_28") for p in ("--platform", f"manylinux{v}_aarch64")]
    subprocess.run([sys.executable, "-m", "pip", "download", f"onnxruntime=={VERSION}", *platforms, "--python-version", "311", "--only-binary=:all:",
                    "--no-deps", "--quiet", "--dest", folder], check=True)
    wheel = zipfile.ZipFile(next(folder.glob("onnxruntime-*.whl")))
    library = folder / "libonnxruntime.so.1"
    library.write_bytes(wheel.read(f"onnxruntime/capi/libonnxruntime.so.{VERSION}"))
    program = folder / "ort_frames"
    subprocess.run(["aarch64-linux-gnu-gcc", "-O2", common.BENCH / "ort_frames.c", "-o", program, library, "-Wl,--allow-shlib-undefined"], check=True)
    return program


def theirs(core, plugin, program, model, form, folder):
    """Counters of onnxruntime's third frame."""
    image = folder / f"{form}.bin"
    peers.inputs()[form].tofile(image)
    names = [f"{o}_QuantizeLinear_Output" for o in graphs.OUTPUTS]
    kind = {"u8": "uint8", "s8": "int8"}[form]
    command = [program, model, "image_QuantizeLinear_Output", kind, image, 3, *names]
    return run(core, plugin, GETPPID, command, folder)[2][-1]


def counter(folder):
    """The emulator's plugin, built."""
    plugin = folder / "insn_count.so"
    subprocess.run(["gcc", "-O2", "-shared", "-fPIC", common.BENCH / "insn_count.c", "-o", plugin], check=True)
    return plugin


def alone(pack, cores):
    """{core: {"level", "stages"}} of our program alone, counters as lists in the order of KINDS."""
    binary = build()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        plugin = counter(folder)
        return {core: dict(zip(("level", "stages"), ours(core, plugin, binary, pack, folder))) for core in cores}


def measure(network, pack, cores):
    """{core: {"level", "stages", "operators", "u8", "s8"}}, counters as lists in the order of KINDS."""
    binary = build()
    found = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        plugin = counter(folder)
        program = driver(folder)
        forms = graphs.write(network, folder)
        for core in cores:
            level, stages, operators = ours(core, plugin, binary, pack, folder)
            found[core] = {"level": level, "stages": stages, "operators": operators}
            for form in ("u8", "s8"):
                found[core][form] = theirs(core, plugin, program, forms[form], form, folder)
    return found


def network_of(result):
    """Counters of backbone and head together."""
    return [a + b for a, b in zip(result["stages"]["backbone"], result["stages"]["head"])]


def section(found):
    """The Markdown of what `measure` found, and ratios to onnxruntime s8 by core."""
    millions = lambda counters: f"{sum(counters) / 1e6:.1f}"
    rows, ratios, mix = [], {}, []
    for core, r in found.items():
        total, best = sum(network_of(r)), min(sum(r["u8"]), sum(r["s8"]))
        ratios[core] = total / sum(r["s8"])
        macs = sum(m for _, m, _ in r["operators"])
        rows.append([core, r["level"], millions(network_of(r)), millions(r["s8"]), millions(r["u8"]), f"{ratios[core]:.2f}", f"{total / best:.2f}",
                     f"{macs / total:.1f}", *(millions(r["stages"][s]) for s in ("backbone", "head", "letterbox", "align", "select"))])
        for who, counters in (("tarsier", network_of(r)), ("onnxruntime s8", r["s8"])):
            mix.append([f"{core}, {who}", *(f"{c / 1e6:.1f}" for c in counters)])
    text = ["Millions of instructions a frame, network alone (backbone and head); then our other stages:\n\n" + common.table(
        ["core", "our level", "tarsier", f"onnxruntime {VERSION} s8", "u8", "ours / s8", "ours / better", "MAC an instruction", "backbone", "head",
         "letterbox", "align", "select"], rows)]
    text.append("Kinds of instructions, millions:\n\n" + common.table(["core", *KINDS], mix))
    operators = [list(row) for row in zip(*(r["operators"] for r in found.values()))]
    rows = []
    for row in operators:
        name, macs, _ = row[0]
        rows.append([name, f"{macs / 1e6:.2f}", *(f"{sum(c) / 1e6:.2f} ({macs / sum(c):.1f})" if macs else f"{sum(c) / 1e6:.2f}" for _, _, c in row)])
    for part in ("backbone", "head"):
        inside = [[c for n, _, c in r["operators"] if n.startswith(f"/{part}")] for r in found.values()]
        around = [sum(r["stages"][part]) - sum(map(sum, i)) for r, i in zip(found.values(), inside)]
        rows.append([f"{part}: around its operators", "", *(f"{v / 1e6:.2f}" for v in around)])
    text.append("Our operators, millions of instructions (MAC an instruction):\n\n" + common.table(["operator", "MMAC", *found], rows))
    text.append("onnxruntime's operators are not told apart here: under emulation its profiler sees times, not instructions.")
    return "\n\n".join(text), ratios


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--network", default=common.NETWORK, type=Path)
    p.add_argument("--pack", default=common.PACK, type=Path)
    p.add_argument("--cores", nargs="*", default=CORES)
    a = p.parse_args()
    print(section(measure(a.network, a.pack, a.cores))[0])


if __name__ == "__main__":
    main()
