#!/usr/bin/env python3
"""Boots an emulated board with Tarsier and a camera of the kernel's `vivid` driver, and listens to its serial line.

Called by boot.sh, which gathers the pieces. Python 3.8 or later and nothing else. The board's PL011 is a pseudo-terminal here, read and
written by boards/clients/tarsier_client.py; a second UART, on the PCI bus, is the console, on which orders are given to tests/board/init.
Exits with 0 if everything came as expected, with 1 and a sentence if not.
"""

import argparse
import re
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "boards/clients"))
sys.dont_write_bytecode = True
from tarsier_client import SerialLink  # noqa: E402

SPEED = 115200
START = time.monotonic()


class Failed(Exception):
    """What did not come, or came wrong."""


def say(text):
    print(f"boot: {time.monotonic() - START:5.0f} s  {text}", flush=True)


# what the board's memory holds when it starts: a cpio archive of the form "newc"


class Archive:
    def __init__(self):
        self._parts, self._count, self._folders = [], 0, set()

    def add(self, name, mode, data=b"", device=(0, 0)):
        for parent in list(Path(name).parents)[-2::-1]:
            if str(parent) not in self._folders:
                self.folder(str(parent))
        self._count += 1
        fields = (self._count, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(name) + 1, 0)
        self._pad(b"070701" + b"".join(b"%08x" % f for f in fields) + name.encode() + b"\0")
        self._pad(data)

    def _pad(self, data):
        self._parts.append(data + b"\0" * (-len(data) % 4))

    def folder(self, name):
        self._folders.add(name)
        self.add(name, stat.S_IFDIR | 0o755)

    def file(self, name, data, mode=0o644):
        self.add(name, stat.S_IFREG | mode, data)

    def bytes(self):
        self.add("TRAILER!!!", 0)
        return b"".join(self._parts)


def initramfs(options):
    """The init, busybox, the kernel's modules, and the program as the README of a board installs it."""
    archive = Archive()
    for name in ("dev", "proc", "sys", "run", "tmp", "modules", "usr/share/tarsier"):
        archive.folder(name)
    archive.add("dev/console", stat.S_IFCHR | 0o600, device=(5, 1))
    archive.file("init", (ROOT / "tests/board/init").read_bytes(), 0o755)
    archive.file("bin/busybox", options.busybox.read_bytes(), 0o755)
    archive.file("bin/tarsier", options.program.read_bytes(), 0o755)
    archive.file("bin/control", options.control.read_bytes(), 0o755)
    archive.file("pack.tarsier", options.pack.read_bytes())
    for module in options.modules.iterdir():
        archive.file(f"modules/{module.name}", module.read_bytes())
    board = ROOT / "boards/generic-aarch64/board.toml"
    archive.file("etc/tarsier/board.toml", board.read_bytes())
    archive.file("etc/tarsier/tarsier.service", (ROOT / "boards/generic-aarch64/tarsier.service").read_bytes())
    archive.file("etc/tarsier/options", f"--serial /dev/ttyAMA0:{SPEED} --threads {options.cores} {options.more}".encode())
    archive.file("etc/passwd", b"root:x:0:0::/:/bin/sh\ntarsier:x:990:990::/:/bin/sh\n")
    archive.file("etc/group", b"root:x:0:\ntarsier:x:990:\nvideo:x:44:tarsier\ndialout:x:20:tarsier\n")
    return archive.bytes()


class Board:
    """The emulator: its console's lines, and the path of its UART."""

    def __init__(self, options, image, log):
        command = [
            *("qemu-system-aarch64", "-machine", "virt", "-cpu", options.cpu, "-smp", str(options.cores), "-m", "768"),
            *("-accel", "tcg,thread=multi", "-display", "none", "-monitor", "none", "-nic", "none", "-no-reboot", "-nodefaults"),
            *("-kernel", str(options.kernel), "-initrd", str(image), "-append", "console=ttyS0 loglevel=5 panic=-1 rdinit=/init"),
            *("-chardev", "pty,id=uart", "-serial", "chardev:uart"),
            *("-chardev", "stdio,id=console,signal=off", "-device", "pci-serial,chardev=console"),
        ]
        self._log, self._lines, self._news = log, [], threading.Condition()
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        threading.Thread(target=self._listen, daemon=True).start()
        self.uart = self.expect(r"redirected to (/dev/pts/\d+) \(label uart\)", 30).group(1)

    def _listen(self):
        with open(self._log, "wb") as log:
            for line in self.process.stdout:
                log.write(line)
                log.flush()
                with self._news:
                    self._lines.append(line.decode(errors="replace").rstrip())
                    self._news.notify_all()
        with self._news:
            self._lines.append(None)
            self._news.notify_all()

    def expect(self, pattern, seconds):
        """The first line from here on that has the pattern."""
        end = time.monotonic() + seconds
        with self._news:
            while True:
                while self._lines:
                    line = self._lines.pop(0)
                    if line is None:
                        raise Failed(f"the emulator ended before its console said {pattern!r}")
                    if "Kernel panic" in line:
                        raise Failed(line)
                    found = re.search(pattern, line)
                    if found:
                        return found
                if not self._news.wait(max(0.0, end - time.monotonic())):
                    raise Failed(f"no {pattern!r} on the console in {seconds} s")

    def order(self, word, seconds=60):
        """Gives an order to init and waits until it is done."""
        self.process.stdin.write(word.encode() + b"\n")
        self.process.stdin.flush()
        status = self.expect(rf"board: {word}: (\d+)", seconds).group(1)
        if status != "0":
            raise Failed(f"{word} ended with {status} on the board")


class Line:
    """The serial line's messages, and what must hold of all of them."""

    def __init__(self, link):
        self.link, self.reports, self.last = link, 0, None

    def next(self, what, seconds, found):
        """Reads until a message for which `found` holds."""
        end = time.monotonic() + seconds
        while True:
            message = self.link.read(max(0.0, end - time.monotonic()))
            if message is None:
                raise Failed(f"no {what} on the serial line in {seconds} s")
            if message["type"] == "report":
                self._check(message)
            if found(message):
                return message

    def _check(self, report):
        self.reports += 1
        now = (report["run"], report["header"]["seq"], report["captured_ns"])
        if self.last and self.last[0] == now[0] and not (self.last[1] < now[1] and self.last[2] < now[2]):
            raise Failed(f"run, number and time of a report are {now} after {self.last}")
        if (report["width"], report["height"]) != (640, 480):
            raise Failed(f"a report of a frame of {report['width']}x{report['height']}")
        self.last = now

    def report(self, seconds):
        return self.next("report", seconds, lambda m: m["type"] == "report")

    def state(self, to, seconds, why=""):
        def is_it(m):
            return m["type"] == "event" and m["event"] == "state" and m["to"] == to and why in m["why"]

        return self.next(f"state {to} {why}", seconds, is_it)


def scenario(board, line, limit):
    """What happens to the board, in order. `limit` is the longest that anything may take, in seconds."""
    up = board.expect(r"board: (up after .*)", limit).group(1)
    say(up)
    hello = line.next("hello", limit, lambda m: m["type"] == "event" and m["event"] == "hello")
    say(f"hello from version {hello['version']}, run {hello['run']}")
    line.state("running", limit)
    times = []
    for _ in range(4):
        report = line.report(limit)
        times.append(report["captured_ns"])
    found = [f"{d['results'][0]['class_id']} {d['results'][0]['score']:.2f}" for d in report["detections"]]
    say(f"reports, {(times[-1] - times[0]) / 3e9:.1f} s apart, the last of age {report['latency_us'] / 1e6:.1f} s; found {', '.join(found) or 'nothing'}")
    run = report["run"]

    line.link.command("set_prompts", timeout=limit, prompts=["person", "tie"])
    version = report["prompts_version"]
    line.next("report of the new prompts", limit, lambda m: m["type"] == "report" and m["prompts_version"] > version)
    say("a command over the UART holds")

    board.order("back")
    for _ in range(2):
        if not 0 < line.report(limit)["latency_us"] < 60e6:
            raise Failed("the age of a report follows the wall clock")
    say("the clock set back by an hour: numbers and times rise on")

    board.order("spoil")
    line.next("damaged frame", limit, lambda m: m["type"] == "report" and m["dropped"]["damaged"] > 0)
    say("a buffer that the driver marked as damaged is counted and left out")
    for fault, mend, what in (
        ("unbind", ("bind",), "vivid unbound and bound again"),
        ("unbind", ("remove", "plug"), "vivid removed and loaded again"),
        ("silent", ("loud",), "a camera that delivers nothing, and does again"),
    ):
        board.order(fault)
        why = line.state("degraded", limit, "camera lost")["why"]
        # it is opened again and again meanwhile
        for order in mend:
            time.sleep(3)
            board.order(order)
        line.state("running", limit)
        if line.report(limit)["run"] != run:
            raise Failed("the program was started again in between")
        say(f"{what}: degraded ({why}), then running, in the same process")

    # over sooner than it counts as a loss: the program opens the camera again at once
    board.order("break")
    board.expect(r"v4l2:/dev/video0: vivid", limit)
    since = line.last[1]
    if line.next("later report", limit, lambda m: m["type"] == "report" and m["header"]["seq"] > since + 2)["run"] != run:
        raise Failed("the program was started again in between")
    say("a fatal error of the stream: opened again, reports, in the same process")

    board.order("kill")
    line.next("report of another run", limit, lambda m: m["type"] == "report" and m["run"] != run)
    say("killed and started again: reports under another run number")

    board.order("memory")
    say("all of it within the MemoryMax of its unit: the kernel killed nothing for memory")

    board.order("term")
    line.state("stopping", limit)
    board.expect(r"board: the program left with 0$", limit)
    say("SIGTERM: stopping, exit code 0")
    if line.link.damaged:
        raise Failed(f"{line.link.damaged} frames on the serial line were damaged")
    say(f"{line.reports} reports, no frame damaged, {line.link.missing} missing")
    board.process.stdin.write(b"off\n")
    board.process.stdin.flush()
    if board.process.wait(60) != 0:
        raise Failed("the emulator ended with an error")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("kernel", "modules", "busybox", "control", "program", "pack", "work"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--cpu", default="cortex-a76")
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--limit", type=int, default=240, help="seconds for each step")
    parser.add_argument("--more", default="", help="further options of tarsier run")
    options = parser.parse_args()
    # what `timeout` sends: the emulator must not be left behind
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("boot: FAILED: out of time"))
    log = options.work / "console.log"
    image = options.work / "initramfs"
    image.write_bytes(initramfs(options))
    say(f"{image.stat().st_size / 1e6:.0f} MB of initramfs; starting qemu-system-aarch64 -machine virt -cpu {options.cpu}")
    board = Board(options, image, log)
    try:
        link = SerialLink(board.uart, SPEED)
        scenario(board, Line(link), options.limit)
    except (Failed, OSError, TimeoutError, subprocess.TimeoutExpired) as e:
        lines = log.read_text(errors="replace").splitlines() if log.exists() else []
        print("\n".join(["boot: the end of the console:", *("    " + l.rstrip() for l in lines[-40:])]))
        print(f"boot: FAILED after {time.monotonic() - START:.0f} s: {e}", flush=True)
        return 1
    finally:
        board.process.kill()
        board.process.wait()
    say("passed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
