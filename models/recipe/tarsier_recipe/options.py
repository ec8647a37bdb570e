"""The options that stages share: each is declared here once, with its default and what it means.

Every stage has --shared, --build and --threads; a stage names the others that it takes:

    p = options.parser(__doc__, "steps", "seed")
    p.add_argument("--batch", ...)                 # its own
    a = options.parse(p)
"""

import argparse
import sys
from pathlib import Path

from tarsier_recipe.folders import REPOSITORY, TARSIER, BuildFolder
from tarsier_recipe.shape import PACK

SHARED = REPOSITORY.parent / "shared"
COMMON = {
    "shared": dict(default=SHARED, type=Path, help="folder with data/, teachers/ and vocabulary/"),
    "build": dict(
        default=BuildFolder(REPOSITORY / "models/build"),
        type=BuildFolder,
        help="folder that stages write to and read from",
    ),
    "threads": dict(default=2, type=int, help="of the CPU"),
}
OPTIONAL = {
    "hours": dict(type=float, help="training time in all, over interruptions"),
    "pictures": dict(type=int, help="how many of them, over interruptions"),
    "steps": dict(type=int, help="stop after so many steps, for trials"),
    "seed": dict(type=int, default=0),
    "device": dict(help="default: cuda where there is one, else cpu"),
    "weights": dict(type=Path, help="start from these weights, in any precision, instead of random ones"),
    "batch": dict(type=int, help="pictures of a step"),
    "lr": dict(type=float, help="greatest learning rate"),
    "tarsier": dict(default=TARSIER, type=Path, help="the program"),
    "pack": dict(default=PACK, type=Path),
    "annotations": dict(type=Path, help="COCO-format JSON; default: data/val.json of --shared"),
    "images": dict(type=Path, help="folder of its photos; default: data/images of --shared"),
    "limit": dict(type=int, help="only the first photos"),
    "output": dict(type=Path, help="write the numbers as JSON"),
}

BINARY = ("annotations", "images", "pack", "tarsier", "limit")  # of every evaluation that asks the program


def parser(description, *names, **defaults):
    """A parser with the common options and those of OPTIONAL that are named; `defaults` names more of them, with
    other defaults."""
    p = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, facts in COMMON.items():
        p.add_argument(f"--{name}", **facts | ({"default": defaults.pop(name)} if name in defaults else {}))
    for name in (*names, *defaults):
        p.add_argument(f"--{name}", **OPTIONAL[name] | ({"default": defaults[name]} if name in defaults else {}))
    return p


def parse(p, arguments=None):
    """The options, those that depend on others filled in; PyTorch, where a stage uses it, gets its threads and its
    seed."""
    a = p.parse_args(arguments)
    if "annotations" in a:
        a.annotations = a.annotations or a.shared / "data/val.json"
    if "images" in a:
        a.images = a.images or a.shared / "data/images"
    torch = sys.modules.get("torch")  # stages that do without it are not made to load it
    if torch is not None:
        torch.set_num_threads(a.threads)
        if "seed" in a:
            torch.manual_seed(a.seed)
        if "device" in a:
            a.device = a.device or ("cuda" if torch.cuda.is_available() else "cpu")
    return a
