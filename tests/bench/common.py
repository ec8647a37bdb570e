"""What the benches share: where things are, a quiet process, medians, the machine's description."""

import datetime
import json
import os
import platform
import statistics
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BENCH = Path(__file__).resolve().parent
PACK = ROOT / "models/tarsier-s.tarsier"
SMALL_PACK = ROOT / "models/tarsier-n.tarsier"
NETWORK = ROOT / "models/build/detector"
TARSIER = ROOT / "target/release/tarsier"
# a frame without decoding
STAGES = ("letterbox", "backbone", "head", "align", "select")


def prepare(cores):
    """Returns what a measured process does first: keep to these cores, and go before everything else where that is allowed.

    Real-time scheduling, because a nice value does not help a thread that wakes: it waits until the running slice is over, 3 ms.
    """

    def first():
        os.sched_setaffinity(0, cores)
        try:
            os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
        except PermissionError:
            pass

    return first


def cores(count):
    """The last `count` cores we may use: interrupts tend to live on the first."""
    return set(sorted(os.sched_getaffinity(0))[-count:])


def quartiles(values):
    """(median, p25, p75)"""
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return middle, low, high


def peak_rss_mb():
    """This process's largest resident set in MB (10^6 bytes)."""
    line = next(line for line in open("/proc/self/status") if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024 / 1e6


def tarsier(*arguments, threads=1, frames=None, binary=TARSIER):
    """One run of `tarsier bench --format json`, as an object."""
    command = [binary, "bench", "--format", "json", "--threads", str(threads), *map(str, arguments)]
    command += ["--frames", str(frames)] if frames else []
    environment = {"TARSIER_PACK": str(PACK), **os.environ}
    out = subprocess.run(command, preexec_fn=prepare(cores(threads)), env=environment, capture_output=True, text=True, check=True, cwd=ROOT)
    return json.loads(out.stdout)


def frame_times(found):
    """Milliseconds of each frame, without decoding, of what `tarsier` returned."""
    return [sum(frame) for frame in zip(*(found["ms"][name] for name in STAGES))]


def machine():
    """CPU, cores and system in one line."""
    cpu = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), platform.machine())
    flags = next((line for line in open("/proc/cpuinfo") if line.startswith("flags")), "").split()
    levels = (("avx2", "AVX2"), ("avx_vnni", "AVX-VNNI"), ("avx512f", "AVX-512"), ("avx512_vnni", "AVX-512 VNNI"))
    level = [name for flag, name in levels if flag in flags]
    virtual = ", virtual" if "hypervisor" in flags else ""
    return f"{cpu} ({', '.join(level)}{virtual}), {os.cpu_count()} cores, {platform.system()} {'.'.join(platform.release().split('.')[:2])}"


def commit():
    """Which commit this is, and whether sources differ from it."""
    out = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True)
    return out.stdout.strip() or "unknown"


def today():
    return datetime.date.today().isoformat()


def table(head, rows):
    """A Markdown table; the first column to the left, the others to the right."""
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "\n".join("| " + " | ".join(str(c) for c in line) + " |" for line in lines)
