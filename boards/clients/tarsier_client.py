#!/usr/bin/env python3
"""Reads Tarsier's reports over its Unix socket or a serial line, and gives it commands. Python 3.8 or later, nothing else.

    python3 tarsier_client.py /run/tarsier/tarsier.sock
    python3 tarsier_client.py /dev/ttyUSB0 921600
    python3 tarsier_client.py /run/tarsier/tarsier.sock --command '{"command":"set_prompts","prompts":["person","a red cup"]}'

In a program:

    from tarsier_client import connect
    with connect("/run/tarsier/tarsier.sock") as tarsier:
        tarsier.command("set_prompts", prompts=["person"])
        for message in tarsier:
            if message["type"] == "report":
                for detection in message["detections"]:
                    print(detection["results"][0]["class_id"], detection["bbox"]["center"])
            elif message.get("event") == "scene":  # with `presence` in the task
                print(message["class_id"], message["kind"])  # person appeared

Messages are dictionaries as on the socket (WIRE.md), whichever link they came over: a binary report of a serial line is given the same
fields, with names once `get_prompts` was answered (this module asks by itself). Directions come in the report over the socket and, over
a serial line with binary reports, as a message `sights` right behind it; presence likewise, as a message `presence`, and smoothed scores, as a message `smoothed`. A track's `id` of a binary report is the short one of two bytes.
"""

import argparse
import json
import os
import select
import socket
import stat
import struct
import sys
import termios
import time
import tty
import zlib

VERSION = 1
REPORT, HEARTBEAT, REPLY, EVENT, JSON_REPORT, SIGHTS, PRESENCE, HAPPENING, SMOOTHED, COMMAND = 1, 2, 3, 4, 5, 6, 7, 8, 9, 16
PRESENCES, CHANGES = (None, "there", "unsure", "not_there"), (None, "appeared", "gone")
STATES = (None, "starting", "running", "paused", "degraded", "stopping")
LONGEST = 66_200  # bytes of a frame between its zero bytes


class Refused(Exception):
    """A command was answered with an error."""

    def __init__(self, error):
        super().__init__("{name} ({code}): {text}".format(**error))
        self.code, self.name = error["code"], error["name"]


def cobs_encode(plain):
    out, group = bytearray(), bytearray()
    for byte in plain:
        if byte:
            group.append(byte)
        if not byte or len(group) == 254:
            out.append(len(group) + 1)
            out += group
            group.clear()
    out.append(len(group) + 1)
    return bytes(out + group)


def cobs_decode(encoded):
    """The bytes that were encoded, or None."""
    out, at = bytearray(), 0
    while at < len(encoded):
        n = encoded[at]
        if n == 0 or at + n > len(encoded):
            return None
        out += encoded[at + 1 : at + n]
        at += n
        if n < 255 and at < len(encoded):
            out.append(0)
    return bytes(out)


def frame(kind, sequence, payload):
    """A frame with its two zero bytes."""
    plain = struct.pack("<BBI", VERSION, kind, sequence) + payload
    return b"\0" + cobs_encode(plain + struct.pack("<I", zlib.crc32(plain))) + b"\0"


def unframe(encoded):
    """Kind, sequence and payload of what came between two zero bytes, or None if it is no whole frame."""
    plain = cobs_decode(encoded)
    if plain is None or len(plain) < 10 or struct.unpack("<I", plain[-4:])[0] != zlib.crc32(plain[:-4]):
        return None
    version, kind, sequence = struct.unpack_from("<BBI", plain)
    return (kind, sequence, plain[6:-4]) if version == VERSION else None


def read_report(payload, names=()):
    """A binary report as the socket would have said it; `class_id` is a number as text where the name is not known."""
    (run, seq, prompts_version, captured_ns, latency_us, late, damaged, failed, width, height, bits, _, crowded, n) = struct.unpack_from(
        "<IQIQI3I2H2B2H", payload
    )
    if len(payload) != 50 + 14 * n:
        raise ValueError(f"a report of {50 + 14 * n} bytes came in {len(payload)}")
    unit, detections = 1 / (1 << bits), []
    for prompt, track, score, x, y, w, h in struct.iter_unpack("<7H", payload[50:]):
        detection = {
            "bbox": {"center": {"x": x * unit, "y": y * unit}, "size_x": w * unit, "size_y": h * unit},
            "results": [{"class_id": names[prompt] if prompt < len(names) else str(prompt), "score": score / 65535}],
        }
        if track:
            detection["id"] = str(track)
        detections.append(detection)
    return {
        "type": "report",
        "header": {"seq": seq},
        "run": run,
        "prompts_version": prompts_version,
        "captured_ns": captured_ns,
        "latency_us": latency_us,
        "width": width,
        "height": height,
        "dropped": {"late": late, "damaged": damaged, "failed": failed},
        "crowded": crowded,
        "detections": detections,
    }


def read_sights(payload):
    """Where the detections of the report before it lie, in their order, with the fields of `sight` on the socket."""
    run, seq, n = struct.unpack_from("<IQH", payload)
    if len(payload) != 14 + 8 * n:
        raise ValueError(f"sights of {14 + 8 * n} bytes came in {len(payload)}")
    sights = []
    for bearing, elevation, metres, sd in struct.iter_unpack("<hhHH", payload[14:]):
        sight = {"bearing_deg": bearing / 100, "elevation_deg": elevation / 100}
        if metres != 65535:
            sight.update(range_m=metres / 100, range_sd_m=sd / 100)
        sights.append(sight)
    return {"type": "sights", "header": {"seq": seq}, "run": run, "sights": sights}


def read_presence(payload, names=()):
    """Whether names are in the picture of the report before it at all, with the fields of a report on the socket (but `best`)."""
    run, seq, there, unsure, not_there, n = struct.unpack_from("<IQ3IH", payload)
    if len(payload) != 26 + 6 * n:
        raise ValueError(f"presence of {26 + 6 * n} bytes came in {len(payload)}")
    presence = []
    for prompt, state, change, score in struct.iter_unpack("<HBBH", payload[26:]):
        name = names[prompt] if prompt < len(names) else str(prompt)
        presence.append({"class_id": name, "state": PRESENCES[state], "score": score / 65535})
        if change:
            presence[-1]["change"] = CHANGES[change]
    counts = {"there": there, "unsure": unsure, "not_there": not_there}
    return {"type": "presence", "header": {"seq": seq}, "run": run, "presence": presence, "presence_counts": counts}


def read_smoothed(payload):
    """What tracking says of the detections of the report before it, in their order, with the fields of a detection on the socket."""
    run, seq, n, continued = struct.unpack_from("<IQHH", payload)
    if len(payload) != 16 + 2 * n or continued > n:
        raise ValueError(f"smoothed scores of {16 + 2 * n} bytes came in {len(payload)}")
    smoothed = [{"smoothed_score": score / 65535} if score else {} for score, in struct.iter_unpack("<H", payload[16:])]
    for detection in smoothed[n - continued :]:
        detection["continued"] = True
    return {"type": "smoothed", "header": {"seq": seq}, "run": run, "smoothed": smoothed}


class Link:
    """What both links have in common: an iterator over messages that gives commands in between."""

    def __init__(self):
        self._id = 0
        self._kept = []  # came while a reply was waited for

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def __iter__(self):
        while True:
            message = self.read()
            if message is None:
                return
            yield message

    def read(self, timeout=None):
        """The next message; None at the end, or when none came in so many seconds."""
        return self._kept.pop(0) if self._kept else self._receive(timeout)

    def send(self, command, **fields):
        """Gives a command and does not wait; the id of its reply."""
        self._id += 1
        self._write(json.dumps({"id": self._id, "command": command, **fields}, ensure_ascii=False).encode())
        return self._id

    def command(self, command, timeout=10.0, **fields):
        """Gives a command and waits for its answer, which may be None. Messages that come meanwhile are read later."""
        number, end = self.send(command, **fields), time.monotonic() + timeout
        while True:
            message = self._receive(max(0.0, end - time.monotonic()))
            if message is None:
                raise TimeoutError(f"no reply to {command}")
            if message["type"] != "reply" or message["id"] != number:
                self._kept.append(message)
            elif message["ok"]:
                return message.get("answer")
            else:
                raise Refused(message["error"])


class SocketLink(Link):
    """Lines of JSON over a Unix socket."""

    def __init__(self, path):
        super().__init__()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.connect(path)
        self._bytes = bytearray()

    def close(self):
        self._socket.close()

    def _write(self, line):
        self._socket.settimeout(None)
        self._socket.sendall(line + b"\n")

    def _receive(self, timeout):
        end = None if timeout is None else time.monotonic() + timeout
        while b"\n" not in self._bytes:
            left = None if end is None else max(0.0, end - time.monotonic())
            if not select.select([self._socket], [], [], left)[0]:
                return None
            some = self._socket.recv(65536)
            if not some:
                return None
            self._bytes += some
        line, _, rest = self._bytes.partition(b"\n")
        self._bytes = bytearray(rest)
        return json.loads(line)


class SerialLink(Link):
    """Frames over a tty. `damaged` counts what was no whole frame, `missing` gaps between those that were."""

    def __init__(self, path, speed=115200):
        super().__init__()
        self._fd = os.open(path, os.O_RDWR | os.O_NOCTTY)
        tty.setraw(self._fd)
        attributes = termios.tcgetattr(self._fd)
        rate = getattr(termios, f"B{speed}", None)
        if rate is None:
            raise ValueError(f"{speed} baud is not one of this system's speeds")
        attributes[2] = (attributes[2] | termios.CLOCAL | termios.CREAD) & ~(termios.CSTOPB | termios.PARENB | termios.CRTSCTS)
        attributes[4] = attributes[5] = rate
        termios.tcsetattr(self._fd, termios.TCSANOW, attributes)
        self._encoded, self._frames = bytearray(), []
        self._sequence, self._last = 0, None
        self._names, self._version, self._asked, self._ask = (), None, None, 0
        self.damaged = self.missing = 0

    def close(self):
        os.close(self._fd)

    def _write(self, line):
        rest = frame(COMMAND, self._sequence, line)
        self._sequence = (self._sequence + 1) & 0xFFFF_FFFF
        while rest:
            rest = rest[os.write(self._fd, rest) :]

    def _receive(self, timeout):
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            while self._frames:
                message = self._message(*self._frames.pop(0))
                if message:
                    return message
            left = None if end is None else max(0.0, end - time.monotonic())
            if not select.select([self._fd], [], [], left)[0]:
                return None
            try:
                some = os.read(self._fd, 65536)
            except OSError:  # the adapter is gone
                return None
            if not some:
                return None
            self._split(some)

    def _split(self, some):
        *whole, rest = (self._encoded + some).split(b"\0")
        self._encoded = rest if len(rest) <= LONGEST else rest[:1] * (LONGEST + 1)
        for encoded in filter(None, whole):
            found = unframe(encoded)
            if found is None:
                self.damaged += 1
                continue
            kind, sequence, payload = found
            # after hello they may begin anew
            if self._last is not None and not (kind == EVENT and payload[:1] == b"\1"):
                self.missing += (sequence - self._last - 1) & 0xFFFF_FFFF
            self._last = sequence
            self._frames.append((kind, payload))

    def _message(self, kind, payload):
        if kind == REPORT:
            return self._report(payload)
        if kind == SIGHTS:
            return read_sights(payload)
        if kind == PRESENCE:
            return read_presence(payload, self._names)
        if kind == HAPPENING:
            return json.loads(payload[36:])
        if kind == SMOOTHED:
            return read_smoothed(payload)
        if kind == HEARTBEAT:
            run, state, sent, lost = struct.unpack("<IBII", payload)
            return {"type": "heartbeat", "run": run, "state": STATES[state], "sent": sent, "lost": lost}
        if kind in (REPLY, EVENT):
            message = json.loads(payload[5:])
            if kind == REPLY and message["id"] == self._ask and self._asked is not None:
                self._learn(message)
                return None
            return message
        return json.loads(payload) if kind == JSON_REPORT else None

    def _report(self, payload):
        version = struct.unpack_from("<I", payload, 12)[0]
        if version != self._version and version != self._asked:
            self._page(version, ())
        return read_report(payload, self._names if version == self._version else ())

    def _page(self, version, names):
        self._asked, self._coming = version, list(names)
        self._ask = self.send("get_prompts", **{"from": len(self._coming), "count": 100})

    def _learn(self, reply):
        page = reply.get("answer", {}).get("prompts")
        if not page or page["prompts_version"] != self._asked:
            self._asked = None  # the set changed in between: the next report asks again
            return
        names = self._coming + page["names"]
        if page["names"] and len(names) < page["count"]:
            self._page(self._asked, names)
        else:
            self._names, self._version, self._asked = names, self._asked, None


def connect(path, speed=115200):
    """The link at a path: a socket or a tty."""
    if stat.S_ISSOCK(os.stat(path).st_mode):
        return SocketLink(path)
    return SerialLink(path, speed)


def main():
    parser = argparse.ArgumentParser(description="Prints Tarsier's messages, one JSON object per line.")
    parser.add_argument("path", help="a Unix socket or a tty")
    parser.add_argument("speed", nargs="?", type=int, default=115200, help="of a tty, bits per second")
    parser.add_argument("--command", action="append", default=[], help="a command to give first, in JSON; its answer is printed")
    parser.add_argument("--count", type=int, help="end after so many reports")
    options = parser.parse_args()
    with connect(options.path, options.speed) as link:
        for command in options.command:
            fields = json.loads(command)
            fields.pop("id", None)
            print(json.dumps({"answer": link.command(fields.pop("command"), **fields)}, ensure_ascii=False), flush=True)
        left = options.count
        for message in link:
            print(json.dumps(message, ensure_ascii=False), flush=True)
            left = left - 1 if left is not None and message["type"] == "report" else left
            if left == 0:
                break
        if isinstance(link, SerialLink):
            print(f"damaged {link.damaged}, missing {link.missing}", file=sys.stderr)


if __name__ == "__main__":
    try:
        main()
    except (BrokenPipeError, KeyboardInterrupt):
        sys.exit(0)
    except (OSError, Refused, TimeoutError, ValueError) as e:
        sys.exit(str(e))
