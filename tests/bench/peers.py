"""Our network against other engines on the very same exported network, alternating, on 1 and 2 threads.

    python tests/bench/peers.py [--network models/build/detector] [--rounds 12] [--frames 30] [--only NAME …]

The network comes from the recipe (`make` in models/recipe writes models/build/detector). Needs onnxruntime, openvino, ncnn, pnnx, onnx,
Pillow; an engine that is missing is left out, with a word. Every engine is a process of its own that loads once, then answers "run N
frames" in turns: A B C A B C …, one at a time, on the same cores. Load is not in the times. All get the golden frame as they want it:
quantised already (u8, s8), or float where the name says so. Ours is `tarsier bench`, which runs whole frames; counted are backbone and
head. A ratio is the median over rounds of (our median in this round / theirs in this round).

"Outputs": whether the eight int8 outputs on the golden frame have the digests of models/golden/tarsier-s.tsv, which are ours.
Peak RSS is of the whole process: for Python peers with Python, NumPy and Pillow in it, for ours with decoding and prompts.
"""

import argparse
import hashlib
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import common
import graphs

GOLDEN = common.ROOT / "models/golden/frame.png"


def inputs():
    """The golden frame, 320x320, as each form of the network wants it."""
    import numpy as np
    from PIL import Image

    bytes_ = np.ascontiguousarray(np.asarray(Image.open(GOLDEN).convert("RGB")).transpose(2, 0, 1)[None])
    return {"u8": bytes_, "s8": (bytes_ ^ np.uint8(128)).view(np.int8), "float": bytes_.astype(np.float32) / np.float32(255)}


# ---- workers: load(path, threads) -> (version, function that runs one frame on an array)


def load_onnxruntime(path, threads, given):
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return ort.__version__, lambda: session.run(None, {name: given})


def load_openvino(path, threads, given):
    import openvino as ov

    settings = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    request = ov.Core().compile_model(path, "CPU", settings).create_infer_request()
    request.set_input_tensor(ov.Tensor(given, shared_memory=True))
    return ov.get_version().split("-")[0], request.infer


def load_ncnn(path, threads, given):
    import ncnn

    net = ncnn.Net()
    net.opt.num_threads = threads
    net.load_param(path)
    net.load_model(path.removesuffix(".param") + ".bin")
    x, outputs = ncnn.Mat(given[0]).clone(), net.output_names()

    def run():
        extractor = net.create_extractor()
        extractor.input("in0", x)
        return [extractor.extract(o)[1] for o in outputs]

    return ncnn.__version__, run


def digests(outputs):
    """SHA-256 of each int8 output as s8 [H, W, C], as in models/golden/tarsier-s.tsv; nothing for float outputs."""
    import numpy as np

    found = []
    for y in outputs.values() if hasattr(outputs, "values") else outputs:
        y = np.asarray(y)
        if y.dtype == np.uint8:
            y = (y ^ np.uint8(128)).view(np.int8)
        if y.dtype == np.int8:
            found.append(hashlib.sha256(np.ascontiguousarray(y[0].transpose(1, 2, 0)).tobytes()).hexdigest())
    return found


def worker(engine, path, form, threads):
    """Loads, then runs as many frames as each line of stdin says and answers with their times."""
    given = inputs()[form]
    started = time.perf_counter()
    version, run = globals()[f"load_{engine}"](path, threads, given)
    outputs = run()
    load_ms = 1e3 * (time.perf_counter() - started)
    print(json.dumps({"version": version, "load_ms": load_ms, "digests": digests(outputs)}), flush=True)
    for line in sys.stdin:
        times = []
        for _ in range(int(line)):
            begin = time.perf_counter()
            run()
            times.append(1e3 * (time.perf_counter() - begin))
        print(json.dumps({"ms": times, "rss_mb": common.peak_rss_mb()}), flush=True)


# ---- the driver's side


class Process:
    """A peer in a process of its own."""

    def __init__(self, command, threads):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                                        preexec_fn=common.prepare(common.cores(threads)))
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"did not start, exit code {self.process.wait()}")
        self.facts = json.loads(line)

    def run(self, frames):
        self.process.stdin.write(f"{frames}\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        self.facts["rss_mb"] = answer["rss_mb"]
        return answer["ms"]

    def stop(self):
        self.process.stdin.close()
        self.process.wait()


class Ours:
    """The binary; it starts anew in each round, and its warm-up frames are not counted."""

    def __init__(self, threads, binary, pack):
        self.threads, self.binary, self.pack = threads, binary, pack
        self.facts = {"version": common.commit(), "load_ms": None, "rss_mb": 0.0, "digests": golden()}

    def run(self, frames):
        found = common.tarsier("--pack", self.pack, threads=self.threads, frames=frames, binary=self.binary)
        self.facts["load_ms"] = found["start_to_prompts_ms"]
        self.facts["rss_mb"] = max(self.facts["rss_mb"], found["peak_rss_kb"] * 1024 / 1e6)
        return [b + h for b, h in zip(found["ms"]["backbone"], found["ms"]["head"])]

    def stop(self):
        pass


def golden():
    """Digests of our outputs, in the order of graphs.OUTPUTS."""
    rows = [line.split("\t") for line in open(common.ROOT / "models/golden/tarsier-s.tsv") if line.startswith("head")]
    sizes = {"embedding": "x128", "geometry": "x16"}
    side = {8: "40x40", 16: "20x20", 32: "10x10", 64: "5x5"}
    layer = {"embedding": "what.2", "geometry": "where.1"}
    found = []
    for kind, stride in (o.split("_") for o in graphs.OUTPUTS):
        shape = side[int(stride)] + sizes[kind]
        found.append(next(r[3] for r in rows if r[2] == shape and layer[kind] in r[1]))
    return found


def python_peer(engine, path, form):
    return lambda threads: Process([sys.executable, __file__, "--worker", engine, str(path), form, "--threads", str(threads)], threads)


def ncnn_peer(fp32, folder):
    """ncnn's own converter, from the fp32 ONNX; its int8 tools come in no package of PyPI or Debian."""
    model = Path(folder) / "ncnn.onnx"
    shutil.copy(fp32, model)
    converter = Path(sys.executable).with_name("pnnx")
    command = [converter if converter.exists() else "pnnx", model.name, "inputshape=[1,3,320,320]", "fp16=0"]
    subprocess.run(command, cwd=folder, capture_output=True, check=True)
    return python_peer("ncnn", Path(folder) / "ncnn.ncnn.param", "float")


def tract_binary():
    """Builds tract.rs and returns where cargo put it."""
    command = ["cargo", "bench", "--no-run", "--bench", "tract", "--message-format", "json"]
    out = subprocess.run(command, cwd=common.ROOT, capture_output=True, text=True, check=True).stdout
    return [json.loads(line)["executable"] for line in out.splitlines() if '"executable":"' in line][-1]


def peers(network, folder, binary, pack, only=()):
    """What can run here, by name; what is not among `only` is neither converted nor built."""
    asked = lambda name: not only or name in only
    forms = graphs.write(network, folder)
    found = {
        "tarsier": lambda threads: Ours(threads, binary, pack),
        "onnxruntime u8": python_peer("onnxruntime", forms["u8"], "u8"),
        "onnxruntime s8": python_peer("onnxruntime", forms["s8"], "s8"),
        "onnxruntime fp32": python_peer("onnxruntime", forms["fp32"], "float"),
        "OpenVINO int8": python_peer("openvino", forms["u8"], "u8"),
        "OpenVINO int8, float edges": python_peer("openvino", forms["u8-float"], "float"),
    }
    try:
        if asked("ncnn fp32"):
            found["ncnn fp32"] = ncnn_peer(forms["fp32"], folder)
    except (OSError, subprocess.CalledProcessError) as e:
        say(f"ncnn: left out, {e}")
    try:
        if asked("stock tract int8"):
            tract = tract_binary()
            found["stock tract int8"] = lambda threads: Process([tract, forms["s8-float"]], threads)
    except (OSError, subprocess.CalledProcessError, IndexError) as e:
        say(f"tract: left out, {e}")
    unknown = [n for n in only if n not in found]
    if unknown:
        say(f"not run: {', '.join(unknown)}; there are {', '.join(found)}")
    return {n: f for n, f in found.items() if n == "tarsier" or asked(n)}


def say(text):
    print(text, file=sys.stderr, flush=True)


def measure(found, threads, rounds, frames):
    """{name: (facts, [[ms of a round's frames], …])} after `rounds` rounds in turn."""
    running, times = {}, {}
    try:
        for name, start in found.items():
            if threads > 1 and name.startswith("stock tract"):
                continue  # built without threads
            try:
                running[name] = start(threads)
                running[name].run(max(3, frames // 5))
                times[name] = []
            except (RuntimeError, OSError, subprocess.CalledProcessError) as e:
                running.pop(name, None)
                say(f"{name}: left out, {e}")
        for i in range(rounds):
            for name, peer in running.items():
                # an engine ten times slower than ours runs fewer frames
                slow = times[name] and statistics.median(times[name][0]) > 30
                times[name].append(peer.run(max(3, frames // 6) if slow else frames))
    finally:
        for peer in running.values():
            peer.stop()
    return {name: (running[name].facts, times[name]) for name in running}


def section(network, binary, pack, rounds, frames, threads=(1, 2), only=()):
    """The Markdown of this bench, and ratios by (engine, threads) for the table of bars."""
    text, ratios, medians = [], {}, {}
    with tempfile.TemporaryDirectory() as folder:
        found = peers(network, folder, binary, pack, only)
        for count in threads:
            result = measure(found, count, rounds, frames)
            ours = [statistics.median(r) for r in result["tarsier"][1]]
            rows = []
            for name, (facts, times) in result.items():
                middle, low, high = common.quartiles([ms for r in times for ms in r])
                ratio = statistics.median(o / statistics.median(r) for o, r in zip(ours, times))
                ratios[name, count], medians[name, count] = ratio, middle
                same = sum(a == b for a, b in zip(facts.get("digests", ()), golden()))
                rows.append([name, facts["version"], f"{middle:.2f}", f"{low:.2f}-{high:.2f}", f"{min(map(min, times)):.2f}", f"{ratio:.2f}",
                             f"{same} of 8 equal" if facts.get("digests") else "", f"{facts['load_ms']:.0f}", f"{facts['rss_mb']:.0f}"])
            head = ["engine", "version", "median ms", "p25-p75", "least", "ours / this", "outputs", "load ms", "peak RSS MB"]
            text.append(f"{count} thread{'s' * (count > 1)}, {rounds} rounds of {frames} frames:\n\n" + common.table(head, rows))
    return "\n\n".join(text), ratios, medians


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--network", default=common.NETWORK, type=Path)
    p.add_argument("--tarsier", default=common.TARSIER, type=Path)
    p.add_argument("--pack", default=common.PACK, type=Path, help="made from the same network")
    p.add_argument("--rounds", default=12, type=int)
    p.add_argument("--frames", default=30, type=int)
    p.add_argument("--threads", type=int, nargs="*", default=[1, 2])
    p.add_argument("--only", nargs="*", default=())
    p.add_argument("--worker", nargs=3, help=argparse.SUPPRESS)
    a = p.parse_args()
    if a.worker:
        worker(*a.worker, a.threads[0])
    else:
        print(section(a.network, a.tarsier, a.pack, a.rounds, a.frames, a.threads, a.only)[0])


if __name__ == "__main__":
    main()
