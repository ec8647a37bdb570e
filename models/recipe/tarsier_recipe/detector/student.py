"""The student: a convolutional detector whose regions are described by embeddings instead of classes.

    image [N,3,S,S] in 0..1
      -> stem, four ELAN stages (strides 4, 8, 16, 32)
      -> PAN neck, 64 channels (tarsier-n 48) at strides 8 to 64 = Backbone
      -> head, one set of weights for all levels                 = Head
           embedding [N,128,h,w]  what is here: alignment multiplies it with prompt rows
           geometry  [N, 16,h,w]  0..3 distances left, top, right, bottom in units of the stride from the grid point
                                  ((x+0.5)*stride, (y+0.5)*stride); 4 objectness logit; 5.. unused, zero

Chosen for int8 on small cores (DESIGN: the network is ours too):
* only dense convolutions, ReLU, concatenation and nearest upsampling: no addition, so that every int8 tensor is the
  output of one convolution and concatenation is a slice of memory;
* channel counts are multiples of 16, the width of a weight block;
* a fourth level (stride 64) because the dense teacher has one: it costs 2 MMAC and finds what fills the picture.

Beside the head, on the same features, each a graph of its own that runs only where it is asked for (trained after the
detector, which stays as it is: `masks`, `presence`, `stuff`):

      -> masks: prototypes [N,16,S/8,S/8], coefficients [N,160,h,w] per level: weights of an object's own network
      -> presence [N,128]: what is in the picture at all, compared with prompt rows like an object
      -> stuff [N,128,S/8,S/8]: what each cell is of, compared with prompt rows like an object
"""

import torch
import torch.nn as nn
import torch.nn.functional as F

from tarsier_recipe.detector.lite import TAPS, Lite
from tarsier_recipe.shape import SHAPE

STRIDES = (8, 16, 32, 64)
EMBEDDING = 128
GEOMETRY = 16


class Conv(nn.Sequential):
    """Convolution, batch normalisation, ReLU: one int8 operation after folding."""

    def __init__(self, c_in, c_out, k=1, stride=1):
        super().__init__(
            nn.Conv2d(c_in, c_out, k, stride, k // 2, bias=False),
            nn.BatchNorm2d(c_out, momentum=0.03, eps=1e-3),
            nn.ReLU(inplace=True),
        )


class Elan(nn.Module):
    """Two pointwise branches, a chain of 3x3 convolutions on one of them, everything concatenated and mixed."""

    def __init__(self, c, width, depth):
        super().__init__()
        self.left, self.right = Conv(c, width), Conv(c, width)
        self.chain = nn.ModuleList(nn.Sequential(Conv(width, width, 3), Conv(width, width, 3)) for _ in range(depth))
        self.mix = Conv(width * (2 + depth), c)

    def forward(self, x):
        parts = [self.left(x), self.right(x)]
        for pair in self.chain:
            parts.append(pair(parts[-1]))
        return self.mix(torch.cat(parts, 1))


class Backbone(nn.Module):
    """Image -> four features of `neck` channels at STRIDES."""

    def __init__(self, widths=(32, 64, 128, 256), depths=SHAPE.depths, neck=SHAPE.neck):
        super().__init__()
        if depths:
            c1, c2, c3, c4 = widths
            self.stem = Conv(3, 16, 3, 2)
            self.stage1 = nn.Sequential(Conv(16, c1, 3, 2), Elan(c1, c1 // 2, depths[0]))
            self.stage2 = nn.Sequential(Conv(c1, c2, 3, 2), Elan(c2, c2 // 2, depths[1]))
            self.stage3 = nn.Sequential(Conv(c2, c3, 3, 2), Elan(c3, c3 // 2, depths[2]))
            self.stage4 = nn.Sequential(Conv(c3, c4, 3, 2), Elan(c4, c4 // 2, depths[3]))
            tapped = (c2, c3, c4)
        else:
            self.lite, tapped = Lite(), TAPS.values()
        self.lateral = nn.ModuleList(Conv(c, neck) for c in tapped)
        self.down_mix = nn.ModuleList(nn.Sequential(Conv(2 * neck, neck), Conv(neck, neck, 3)) for _ in range(2))
        self.up_step = nn.ModuleList(Conv(neck, neck, 3, 2) for _ in range(2))
        self.up_mix = nn.ModuleList(nn.Sequential(Conv(2 * neck, neck), Conv(neck, neck, 3)) for _ in range(2))
        self.last_step = Conv(neck, neck, 3, 2)

    def trunk(self, x):
        """Features of strides 8, 16, 32."""
        if hasattr(self, "lite"):
            return self.lite(x)
        c3 = self.stage2(self.stage1(self.stem(x)))
        c4 = self.stage3(c3)
        return c3, c4, self.stage4(c4)

    def forward(self, x):
        return self.neck(self.trunk(x))

    def neck(self, features):
        p3, p4, p5 = (lateral(c) for lateral, c in zip(self.lateral, features))
        p4 = self.down_mix[0](torch.cat([F.interpolate(p5, scale_factor=2.0, mode="nearest"), p4], 1))
        p3 = self.down_mix[1](torch.cat([F.interpolate(p4, scale_factor=2.0, mode="nearest"), p3], 1))
        p4 = self.up_mix[0](torch.cat([self.up_step[0](p3), p4], 1))
        p5 = self.up_mix[1](torch.cat([self.up_step[1](p4), p5], 1))
        return p3, p4, p5, self.last_step(p5)


class LevelNorm(nn.ModuleList):
    """A normalisation of its own for each level, behind a convolution that they share (as in RTMDet, Lyu et al. 2022):
    levels differ in mean and variance, and what is learnt with each one's own does not hold with their average. Folded
    into the convolution, as for every other; `level` is the one that is computed. Reads weights of a normalisation
    that the levels shared."""

    level = 0

    def __init__(self, channels):
        super().__init__(nn.BatchNorm2d(channels, momentum=0.03, eps=1e-3) for _ in STRIDES)

    def forward(self, x):
        return self[self.level](x)

    def _load_from_state_dict(self, state, prefix, *rest):
        for name in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"):
            shared = state.pop(prefix + name, None)
            if shared is not None:
                state.update({f"{prefix}{i}.{name}": shared.clone() for i in range(len(self))})
        super()._load_from_state_dict(state, prefix, *rest)


class Head(nn.Module):
    """Features -> (embedding, geometry) per level; the same weights at every level. `level_norms`: but each with its
    own normalisation."""

    def __init__(self, neck=SHAPE.neck, level_norms=SHAPE.depths is None):
        super().__init__()
        self.what = nn.Sequential(Conv(neck, neck, 3), Conv(neck, EMBEDDING), nn.Conv2d(EMBEDDING, EMBEDDING, 1))
        self.where = nn.Sequential(Conv(neck, 48, 3), nn.Conv2d(48, GEOMETRY, 1))
        for conv in (self.what[0], self.what[1], self.where[0]) if level_norms else ():
            conv[1] = LevelNorm(conv[0].out_channels)
        nn.init.normal_(self.what[-1].weight, std=0.02)
        nn.init.zeros_(self.what[-1].bias)
        nn.init.normal_(self.where[-1].weight, std=0.01)
        with torch.no_grad():
            self.where[-1].weight[5:] = 0
            self.where[-1].bias[:] = torch.tensor([2.0] * 4 + [-4.0] + [0.0] * (GEOMETRY - 5))

    def forward(self, features):
        return [(self.embeddings(f, level), self.geometry(f, level)) for level, f in enumerate(features)]

    def embeddings(self, feature, level):
        return self.on(self.what, level)(feature)

    def geometry(self, feature, level):
        return self.on(self.where, level)(feature)

    @staticmethod
    def on(branch, level):
        for module in branch.modules():
            if isinstance(module, LevelNorm):
                module.level = level
        return branch


class Masks(nn.Module):
    """Features -> prototypes at stride 8, and per level the weights of each object's own small network over them
    (CondInst, Tian et al. 2020).

    A network has `hidden` units; each sees the prototypes and where in the object's box a point lies, so that two
    neighbours of a kind need not differ in their prototypes. Coefficients [N,hidden*(count+4),h,w]: `count` weights
    of prototypes for each unit, then for each unit (across, down, constant, out), the first three in steps of
    `UNIT`, which makes all of them about as large: they share one int8 scale.
    """

    UNIT = 2.0

    def __init__(self, neck=SHAPE.neck, count=16, width=32, hidden=8):
        super().__init__()
        self.count, self.hidden = count, hidden
        self.prototypes = nn.Sequential(Conv(neck, width, 3), nn.Conv2d(width, count, 1))
        self.coefficients = nn.Sequential(Conv(neck, 2 * neck), nn.Conv2d(2 * neck, hidden * (count + 4), 1))
        nn.init.normal_(self.coefficients[-1].weight, std=0.02)

    def forward(self, features):
        return self.prototypes(features[0]), [self.coefficients(f) for f in features]

    @staticmethod
    def within(points, low, high, stride=STRIDES[0]):
        """Where the prototypes' points lie between [n] and [n], in input pixels: -1 at the one, 1 at the other,
        [n,points]; as the runtime has it."""
        place, low, high = (torch.arange(points, device=low.device) + 0.5) * stride, low[:, None], high[:, None]
        return ((place - (low + high) / 2) / ((high - low) / 2).clamp(min=stride / 2)).clamp(-2, 2)

    def logits(self, prototypes, coefficients, boxes):
        """[count,h,w], [n,hidden*(count+4)] and boxes [n,4] in input pixels -> mask logits [n,h,w] on the
        prototypes' grid, of which the sign is what counts: the runtime leaves the scales of both factors out."""
        n, (h, w) = len(coefficients), prototypes.shape[-2:]
        across, down = self.within(w, boxes[:, 0], boxes[:, 2]), self.within(h, boxes[:, 1], boxes[:, 3])
        weights, rest = coefficients.split((self.hidden * self.count, self.hidden * 4), 1)
        rest = rest.reshape(n, self.hidden, 4, 1, 1)
        x = torch.einsum("nkc,chw->nkhw", weights.reshape(n, self.hidden, self.count), prototypes)
        x = x + self.UNIT * (
            rest[:, :, 0] * across[:, None, None] + rest[:, :, 1] * down[:, None, :, None] + rest[:, :, 2]
        )
        return (rest[:, :, 3] * x.relu()).sum(1)


def pooled(features):
    """Mean and greatest value of every channel at strides 16, 32, 64: [N,6*64]."""
    return torch.cat([f(x, (2, 3)) for x in features[1:] for f in (torch.mean, torch.amax)], 1)


class Presence(nn.Module):
    """What is in the whole picture, as a vector that prompts are compared with: pooled features [N,384] -> [N,128]."""

    def __init__(self, inputs=6 * SHAPE.neck, width=256):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(inputs, width), nn.ReLU(), nn.Dropout(0.2), nn.Linear(width, EMBEDDING))
        self.log_scale = nn.Parameter(torch.tensor(0.0))
        self.bias = nn.Parameter(torch.tensor(-3.5))

    def forward(self, x):
        return self.layers(x)

    def convolutions(self):
        """The same from the features themselves, in operators that the runtime has: what is exported."""
        return PresenceExported(self.layers)

    def logits(self, vector, prompts):
        """[N,128] and unit rows [C,128] -> [N,C]."""
        return self.log_scale.exp() * vector @ prompts.T + self.bias


class PresenceExported(nn.Module):
    """Presence with pooling written as pooling operators and layers as pointwise convolutions: four features ->
    [N,128,1,1]."""

    def __init__(self, layers):
        super().__init__()
        self.layers = nn.Sequential()
        for layer in layers:
            if isinstance(layer, nn.Linear):
                c = nn.Conv2d(layer.in_features, layer.out_features, 1)
                c.weight.data, c.bias.data = layer.weight.data[:, :, None, None], layer.bias.data
                self.layers.append(c)
            elif isinstance(layer, nn.ReLU):
                self.layers.append(layer)

    def forward(self, features):
        return self.layers(
            torch.cat(
                [
                    f(x)
                    for x in features[1:]
                    for f in (lambda t: F.adaptive_avg_pool2d(t, 1), lambda t: F.max_pool2d(t, t.shape[-1]))
                ],
                1,
            )
        )


class Stuff(nn.Module):
    """A vector for every cell of stride 8, compared with prompt rows like an object: four features -> [N,128,S/8,S/8],
    50 MMAC at 320.

    From the coarsest feature down, each is mixed with the one above it, doubled: what a patch of grey is, road or
    wall or sky, only its surroundings tell.
    """

    def __init__(self, neck=SHAPE.neck):
        super().__init__()
        self.deepest = Conv(neck, neck, 3)
        self.mix = nn.ModuleList(nn.Sequential(Conv(2 * neck, neck), Conv(neck, neck, 3)) for _ in range(2))
        self.last = nn.Sequential(Conv(2 * neck, neck), nn.Conv2d(neck, EMBEDDING, 1))
        nn.init.normal_(self.last[-1].weight, std=0.02)
        self.log_scale = nn.Parameter(torch.tensor(0.0))
        self.bias = nn.Parameter(torch.tensor(-4.0))

    def forward(self, features):
        fine, middle, coarse, coarsest = features
        beside = lambda x, feature: torch.cat([F.interpolate(x, scale_factor=2.0, mode="nearest"), feature], 1)  # noqa: E731
        x = self.mix[0](beside(self.deepest(coarsest), coarse))
        x = self.mix[1](beside(x, middle))
        return self.last(beside(x, fine))

    def logits(self, vectors, prompts):
        """[N,128,h,w] and unit rows [C,128] -> [N,C,h,w]."""
        return self.log_scale.exp() * torch.einsum("cd,ndhw->nchw", prompts, vectors) + self.bias


class Student(nn.Module):
    """Backbone, head, and the learned temperature and bias of alignment (APE: `exp(log_scale)`, `bias0`)."""

    def __init__(self):
        super().__init__()
        self.backbone, self.head = Backbone(), Head()
        self.log_scale = nn.Parameter(torch.tensor(0.0))
        self.bias = nn.Parameter(torch.tensor(-4.6))

    def forward(self, image):
        return self.head(self.backbone(image))

    def logits(self, embedding, prompts):
        """Alignment: [...,128] and unit rows [C,128] -> [...,C]."""
        return embedding @ (self.log_scale.exp() * prompts).T + self.bias


def macs(module, size=SHAPE.size):
    """Multiply-accumulates of one image."""
    total, hooks = [0], []
    for m in module.modules():
        if isinstance(m, nn.Conv2d):
            hooks.append(
                m.register_forward_hook(
                    lambda m, i, o: total.__setitem__(
                        0, total[0] + o[0].numel() * m.in_channels // m.groups * m.kernel_size[0] * m.kernel_size[1]
                    )
                )
            )
    training = module.training
    module.eval()
    with torch.no_grad():
        module(torch.zeros(1, 3, size, size))
    module.train(training)
    for h in hooks:
        h.remove()
    return total[0]


if __name__ == "__main__":
    s = Student()
    print(
        f"backbone {macs(s.backbone) / 1e6:.0f} MMAC, whole {macs(s) / 1e6:.0f} MMAC at {SHAPE.size}, "
        f"{sum(p.numel() for p in s.parameters()) / 1e6:.2f} M parameters"
    )
