"""The trained detector as the later stages see it: features, and the objects that the runtime would propose."""

import torch

from tarsier_recipe.coco import COCO80
from tarsier_recipe.detector.data import DEPLOYED, PhotoStore, Split, training
from tarsier_recipe.detector.export import load
from tarsier_recipe.detector.loss import boxes_from_geometry, by_location, grid
from tarsier_recipe.detector.student import STRIDES
from tarsier_recipe.precision import autocast

PROPOSALS = 300  # the runtime's default


class Frozen:
    """Detector, photos and their split. Everything runs without gradients."""

    def __init__(self, shared, build, split="train"):
        train = Split(training(shared), COCO80)
        store = PhotoStore(train, shared / "data/images", build.photos)
        self.student = load(build).to(memory_format=torch.channels_last)
        if split == "train":
            self.split, self.store = train, store
        else:
            self.split = Split(shared / f"data/{split}.json", COCO80)
            self.store = PhotoStore(self.split, shared / "data/images", build.photos_of(split))
        self.points, self.steps = grid(DEPLOYED, STRIDES)

    @torch.no_grad()
    def features(self, rgb):
        """uint8 [B,3,S,S] -> four features [B,64,h,w], fp32 whatever they were computed in."""
        x = rgb.float().div(255).contiguous(memory_format=torch.channels_last)
        with autocast():
            return [f.float() for f in self.student.backbone(x)]

    @torch.no_grad()
    def objects(self, features, count=PROPOSALS):
        """The `count` locations with the most objectness: embedding [B,K,128], boxes [B,K,4] in pixels, objectness
        [B,K] (0..8), location [B,K]."""
        with autocast():
            outputs = self.student.head(features)
        embedding, geometry = (by_location(maps) for maps in zip(*outputs))
        geometry = geometry.clamp(0, 8)
        objectness, at = geometry[..., 4].topk(count, dim=1)
        pick = lambda t: t.gather(1, at[..., None].expand(-1, -1, t.shape[-1]))  # noqa: E731
        boxes = boxes_from_geometry(geometry, self.points, self.steps)
        return pick(embedding), pick(boxes), objectness, at

    @torch.no_grad()
    def logits(self, embedding, prompts):
        """Alignment: [...,128] and unit rows [C,128] -> [...,C]."""
        return self.student.logits(embedding, prompts)
