"""What is known of each family of detectors beyond its graph: what it was trained to see, and what its last channels
mean.

| family | picture | boxes | location in its cell |
|---|---|---|---|
| `nanodet-plus` | stretched; BGR, mean and deviation | 4 distributions over 8 distances | corner |
| `yolox` | aspect kept, 114 around; BGR, 0 to 255 | centre, logarithms of size; objectness | corner |
| `yolox-legacy` | the same; RGB, ImageNet's mean and deviation (releases before 0.2, `--legacy` there) | the same | corner |
| `picodet` | stretched; RGB, ImageNet's mean and deviation | 4 distributions over 8 distances; perhaps a factor of all classes | middle |
| `rtmdet` | aspect kept, 114 around; BGR, mean and deviation | 4 distances | corner |
"""  # noqa: E501

from dataclasses import dataclass

IMAGENET = ((0.485 * 255, 0.456 * 255, 0.406 * 255), (0.229 * 255, 0.224 * 255, 0.225 * 255))
CAFFE = ((103.53, 116.28, 123.675), (57.375, 57.12, 58.395))  # BGR


@dataclass(frozen=True)
class Family:
    """`zero` is the byte that stands for zero in the picture: the padding of the first convolution, which is near
    the mean."""

    boxes: str
    grid: float
    objectness: str  # never, maybe, always
    fit: str
    mean: tuple
    std: tuple
    bgr: bool
    zero: int
    border: tuple

    def form(self, objectness):
        return {
            "boxes": {"distribution": 8} if self.boxes == "distribution" else self.boxes,
            "grid": self.grid,
            "objectness": "multiplies" if objectness else "best_class",
        }


FAMILIES = {
    "nanodet-plus": Family("distribution", 0.0, "never", "stretch", *CAFFE, True, 116, (124, 116, 104)),
    "yolox": Family("centre_and_size", 0.0, "always", "letterbox", (0.0,) * 3, (1.0,) * 3, True, 0, (114, 114, 114)),
    "yolox-legacy": Family("centre_and_size", 0.0, "always", "letterbox", *IMAGENET, False, 116, (124, 116, 104)),
    "picodet": Family("distribution", 0.5, "maybe", "stretch", *IMAGENET, False, 116, (124, 116, 104)),
    "rtmdet": Family("distances", 0.0, "never", "letterbox", *CAFFE, True, 116, (114, 114, 114)),
}
