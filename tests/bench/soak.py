"""A long run of the loop: does memory, the number of open files or latency grow?

    python tests/bench/soak.py --frames 100000        # target/release/tarsier run on sample photos, read over its socket

A reader takes every report; once in `--every` frames it asks for telemetry, and the process' resident memory and open files are read
from /proc. The first tenth is warm-up. Bars: memory within 1 MB, files constant, median latency of the last tenth within 10 % of that of
the first tenth after warm-up.
"""

import argparse
import json
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[2]


def rss_kb(pid):
    for line in open(f"/proc/{pid}/status"):
        if line.startswith("VmRSS"):
            return int(line.split()[1])


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--frames", type=int, default=100_000)
    p.add_argument("--every", type=int, default=1000)
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--source", default="models/sample/coffee.jpg")
    p.add_argument("--tarsier", default=ROOT / "target/release/tarsier", type=Path)
    a = p.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        config, path = Path(folder) / "soak.toml", Path(folder) / "socket"
        config.write_text(f'[source]\nkind = "files"\npath = "{a.source}"\nrepeat = true\n')
        command = [a.tarsier, "run", "--config", config, "--socket", path, "--threads", str(a.threads)]
        program = subprocess.Popen(list(map(str, command)), cwd=ROOT, stderr=subprocess.DEVNULL)
        try:
            while not path.exists():
                time.sleep(0.05)
            stream = socket.socket(socket.AF_UNIX)
            stream.connect(str(path))
            seen, missed, last, rows, latencies, began = 0, 0, None, [], [], time.time()
            for line in stream.makefile("rb"):
                message = json.loads(line)
                if message["type"] != "report":
                    continue
                sequence = message["header"]["seq"]
                missed += 0 if last is None else sequence - last - 1
                assert last is None or sequence > last, "a number twice or backwards"
                last, seen = sequence, seen + 1
                latencies.append(message["latency_us"])
                if seen % a.every == 0:
                    files = len(list(Path(f"/proc/{program.pid}/fd").iterdir()))
                    rows.append((seen, rss_kb(program.pid), files, median(latencies)))
                    latencies.clear()
                    if sys.stderr.isatty() or seen % (a.every * 10) == 0:
                        print(f"{seen}/{a.frames} frames, {seen / (time.time() - began):.0f}/s, RSS {rows[-1][1]} kB, {files} files, median {rows[-1][3]:.0f} µs", file=sys.stderr, flush=True)
                if seen >= a.frames:
                    break
        finally:
            program.terminate()
            code = program.wait(20)
    tenth = max(1, len(rows) // 10)
    steady = rows[tenth:]
    memory = [r[1] for r in steady]
    early, late = median(r[3] for r in steady[:tenth]), median(r[3] for r in steady[-tenth:])
    results = [
        ("resident memory, least to greatest, kB", f"{min(memory)} to {max(memory)}", max(memory) - min(memory) <= 1024),
        ("open files", f"{min(r[2] for r in steady)} to {max(r[2] for r in steady)}", len({r[2] for r in steady}) == 1),
        ("median latency, first and last tenth, µs", f"{early:.0f}, {late:.0f}", late <= 1.1 * early),
        ("exit code after SIGTERM", str(code), code == 0),
    ]
    print(f"{seen} frames reported, {missed} numbers not seen by the reader, {seen / (time.time() - began):.0f} frames/s\n")
    print("| over the run, without its first tenth | | holds |\n|---|---|---|")
    for name, value, holds in results:
        print(f"| {name} | {value} | {'yes' if holds else '**no**'} |")
    sys.exit(0 if all(r[2] for r in results) else 1)


if __name__ == "__main__":
    main()
