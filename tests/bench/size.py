"""How large the binary is, how long from starting the process to the first detection, how much memory `detect` takes.

    python tests/bench/size.py [--starts 15]

Start is measured from outside: from before the process is made to the end of its output on one photo, and the process's end with it.
"One inference" is the median frame of `tarsier bench` in the same minute. Sizes are of stripped copies; the aarch64 one is static and of the profile `board`.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import aarch64
import common


def stripped_mb(binary, strip):
    """Bytes of a stripped copy, in MB."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "stripped"
        subprocess.run([strip, binary, "-o", out], check=True)
        return out.stat().st_size / 1e6


def start(binary, pack, photo):
    """Milliseconds from before the fork to the end of the output of one `tarsier detect` on one thread."""
    begin = time.perf_counter()
    process = subprocess.Popen([binary, "detect", photo, "--pack", pack, "--threads", "1"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                               preexec_fn=common.prepare(common.cores(1)))
    process.stdout.read()
    ms = 1e3 * (time.perf_counter() - begin)
    if process.wait():
        raise RuntimeError(f"tarsier detect ended with status {process.returncode}")
    return ms


# a fork inherits its parent's peak: so a small parent, and the peak of its one child
CHILD = "import resource, subprocess, sys; subprocess.run(sys.argv[1:], stdout=-3, check=True); print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"


def peak_rss_mb(binary, pack, photo):
    """The largest resident set of one `tarsier detect` on one thread."""
    command = [sys.executable, "-S", "-E", "-c", CHILD, binary, "detect", photo, "--pack", pack, "--threads", "1"]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout) * 1024 / 1e6


def section(binary, pack, starts, arm=None):
    """The Markdown of this bench and its numbers by name."""
    photo = common.ROOT / "models/golden/frame.png"
    runs, first, frame, rss = [], [], [], []
    start(binary, pack, photo)
    for _ in range(starts):
        runs.append(start(binary, pack, photo))
        rss.append(peak_rss_mb(binary, pack, photo))
        found = common.tarsier("--pack", pack, frames=20, binary=binary)
        first.append(found["start_to_first_detection_ms"])
        frame.append(statistics.median(common.frame_times(found)))
    arm = arm or aarch64.build("board")
    numbers = {
        "outside": statistics.median(runs), "inside": statistics.median(first), "frame": statistics.median(frame),
        "rss": max(rss), "x86": stripped_mb(binary, "strip"), "arm": stripped_mb(arm, "aarch64-linux-gnu-strip"),
    }
    rows = [
        ["stripped binary, this machine's", f"{numbers['x86']:.1f} MB"],
        ["stripped binary, aarch64, static, profile `board`", f"{numbers['arm']:.1f} MB"],
        ["the pack", f"{Path(pack).stat().st_size / 1e6:.1f} MB"],
        ["start of the process to the end of its output, one 320×320 photo", f"{numbers['outside']:.1f} ms"],
        ["main to first detection, as `bench` says", f"{numbers['inside']:.1f} ms"],
        ["one inference (a whole frame, decoded already)", f"{numbers['frame']:.1f} ms"],
        ["start less one inference", f"{numbers['outside'] - numbers['frame']:.1f} ms"],
        ["peak RSS of `detect`, pack included", f"{numbers['rss']:.1f} MB"],
    ]
    return f"One thread, {starts} starts, files cached, medians (RSS: the most):\n\n{common.table(['what', 'measured'], rows)}", numbers


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--tarsier", default=common.TARSIER, type=Path)
    p.add_argument("--pack", default=common.PACK, type=Path)
    p.add_argument("--starts", default=15, type=int)
    a = p.parse_args()
    print(section(a.tarsier, a.pack, a.starts)[0])


if __name__ == "__main__":
    main()
