"""Our network against other engines on the very same exported network, alternating, on 1 and 2 threads.

    python tests/bench/peers.py [--network models/build/detector] [--rounds 12] [--frames 30] [--only NAME …]

The network comes from the recipe (`make` in models/recipe writes models/build/detector). Every engine is a process of its own that
loads once, then answers "run N frames" in turns: A B C A B C …, one at a time, on the same cores. Load is not in the times. All get
the golden frame as they want it: quantised already (u8, s8) or float. Ours is `tarsier bench`: backbone and head, the whole frame
around them being run as well. A ratio is the median over rounds of (our median in this round / theirs in this round).

Peak RSS is of the whole process: for Python peers with Python and NumPy in it ("of which" in the notes), for ours with decoding,
prompts and everything else.
"""

import argparse
import json
import platform
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
    x = ncnn.Mat(given[0])
    outputs = net.output_names()

    def run():
        extractor = net.create_extractor()
        extractor.input("in0", x)
        return [extractor.extract(o) for o in outputs]

    return ncnn.__version__, run


def worker(engine, path, form, threads):
    """Loads, then runs as many frames as each line of stdin says and answers with their times."""
    given = inputs()[form]
    base = common.peak_rss_mb()
    started = time.perf_counter()
    version, run = globals()[f"load_{engine}"](path, threads, given)
    run()
    print(json.dumps({"version": version, "load_ms": 1e3 * (time.perf_counter() - started), "base_mb": base}), flush=True)
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

    def __init__(self, threads, binary):
        self.threads, self.binary = threads, binary
        self.facts = {"version": common.commit(), "load_ms": None, "rss_mb": 0.0}

    def run(self, frames):
        found = common.tarsier(threads=self.threads, frames=frames, binary=self.binary)
        self.facts["load_ms"] = found["start_to_prompts_ms"]
        self.facts["rss_mb"] = max(self.facts["rss_mb"], found["peak_rss_kb"] * 1024 / 1e6)
        return [b + h for b, h in zip(found["ms"]["backbone"], found["ms"]["head"])]

    def stop(self):
        pass


def python_peer(engine, path, form):
    return lambda threads: Process([sys.executable, __file__, "--worker", engine, str(path), form, "--threads", str(threads)], threads)


def peers(network, folder, binary, tract):
    """What can run here, by name, and why the rest cannot."""
    forms = graphs.write(network, folder)
    found = {
        "tarsier": lambda threads: Ours(threads, binary),
        "onnxruntime u8": python_peer("onnxruntime", forms["u8"], "u8"),
        "onnxruntime u8, float edges": python_peer("onnxruntime", forms["u8-float"], "float"),
        "onnxruntime s8": python_peer("onnxruntime", forms["s8"], "s8"),
        "OpenVINO int8": python_peer("openvino", forms["u8"], "u8"),
        "OpenVINO int8, float edges": python_peer("openvino", forms["u8-float"], "float"),
        "OpenVINO int8, float edges, s8": python_peer("openvino", forms["s8-float"], "float"),
        "onnxruntime fp32": python_peer("onnxruntime", forms["fp32"], "float"),
    }
    return found


def measure(found, threads, rounds, frames, log):
    """{name: (facts, [[ms of a round's frames], …])} after `rounds` rounds in turn."""
    running, times = {}, {}
    for name, start in found.items():
        try:
            running[name] = start(threads)
            running[name].run(max(3, frames // 5))
            times[name] = []
        except (RuntimeError, OSError, subprocess.CalledProcessError) as e:
            running.pop(name, None)
            log(f"{name}: left out, {e}")
    try:
        for _ in range(rounds):
            for name, peer in running.items():
                times[name].append(peer.run(frames))
    finally:
        for peer in running.values():
            peer.stop()
    return {name: (running[name].facts, times[name]) for name in running}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--network", default=common.NETWORK, type=Path)
    p.add_argument("--tarsier", default=common.TARSIER, type=Path)
    p.add_argument("--rounds", default=12, type=int)
    p.add_argument("--frames", default=30, type=int)
    p.add_argument("--only", nargs="*", default=())
    p.add_argument("--worker", nargs=3, help=argparse.SUPPRESS)
    p.add_argument("--threads", type=int, nargs="*", default=[1, 2])
    a = p.parse_args()
    if a.worker:
        return worker(*a.worker, a.threads[0])
    with tempfile.TemporaryDirectory() as folder:
        found = peers(a.network, folder, a.tarsier, None)
        found = {n: f for n, f in found.items() if not a.only or n == "tarsier" or n in a.only}
        for threads in a.threads:
            result = measure(found, threads, a.rounds, a.frames, lambda text: print(text, file=sys.stderr))
            ours = [statistics.median(r) for r in result["tarsier"][1]]
            rows = []
            for name, (facts, rounds) in result.items():
                middle, low, high = common.quartiles([ms for r in rounds for ms in r])
                ratio = statistics.median(o / statistics.median(r) for o, r in zip(ours, rounds))
                rows.append([name, facts["version"], f"{middle:.2f}", f"{low:.2f}-{high:.2f}", f"{min(min(r) for r in rounds):.2f}", f"{ratio:.2f}",
                             f"{facts['load_ms']:.0f}", f"{facts['rss_mb']:.0f}"])
            print(f"\n{threads} thread(s)\n\n" + common.table(["engine", "version", "median ms", "p25-p75", "least", "ours/this", "load ms", "peak RSS MB"], rows))


if __name__ == "__main__":
    main()
