"""Gives a network's normalisations the statistics of whole training photos, for the size at which it is used.

    MODEL=lite python -m tarsier_recipe renormalise ../build/detector/final.pt --output ../build/detector/final.pt

What training leaves is a fading average over blended windows of many sizes, of weights that have changed since, and,
where a head's levels shared a normalisation, over levels. The weights of 173,000 pictures have AP 10.3 with those
statistics at 320 pixels and 9.5 at 256; with these, and each level's own, 10.8 and 10.5. No weight changes.
"""

from pathlib import Path

import torch

from tarsier_recipe import options
from tarsier_recipe.coco import COCO80
from tarsier_recipe.detector.data import DEPLOYED, PhotoStore, Split, training
from tarsier_recipe.detector.export import calibration_photos
from tarsier_recipe.detector.student import Student
from tarsier_recipe.precision import autocast, whole
from tarsier_recipe.training import save

PHOTOS, BATCH = 320, 32  # that the statistics are of, and so many at a time


@torch.no_grad()
def renormalise(network, batches):
    """Replaces the statistics of every normalisation by the mean over `batches` of pictures [B,3,S,S] in 0..1."""
    norms = [m for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    fading = [m.momentum for m in norms]
    for m in norms:
        m.reset_running_stats()
        m.momentum = None  # a plain mean
        m.train()
    for x in batches:
        with autocast(x.device):
            network(x.contiguous(memory_format=torch.channels_last))
    for m, momentum in zip(norms, fading):
        m.momentum = momentum
        m.eval()


def main():
    p = options.parser(__doc__)
    p.add_argument("from_", metavar="WEIGHTS", type=Path)
    p.add_argument("--output", type=Path, help="where the weights go; default: in place of those that were read")
    p.add_argument("--size", type=int, default=DEPLOYED, help="of the picture")
    a = options.parse(p)
    split = Split(training(a.shared), COCO80)
    store = PhotoStore(split, a.shared / "data/images", a.build.photos)
    student = Student().to(memory_format=torch.channels_last).eval()
    given = torch.load(a.from_, weights_only=True, map_location="cpu")
    student.load_state_dict(whole(given))
    photos = torch.from_numpy(calibration_photos(split, store, a.size, PHOTOS, ("coco",)))
    renormalise(student, (some.float() / 255 for some in photos.split(BATCH)))
    kind = next(v.dtype for v in given.values() if v.is_floating_point())
    state = student.state_dict()
    save(a.output or a.from_, {k: v.to(kind) if v.is_floating_point() else v for k, v in state.items()})


if __name__ == "__main__":
    main()
