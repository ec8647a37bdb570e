"""Fine-tunes the detector for int8: final.pt and detector_qdq.onnx -> final.int8.pt, which `export` then takes.

    python -m tarsier_recipe int8 --pictures 12000      # after `export` and `quantise detector`; then both once more

Quantisation-aware: the detector computes with the weights and activations that the int8 graph would have (its
ranges; steps as in `quantise`), and learns to answer as the same detector does in floats, on training pictures
without their labels. Rounding lets gradients through, saturation stops them (straight-through estimator).
Normalisation is folded.
"""

import copy
import random

import onnx
import torch
import torch.nn as nn
import torch.nn.functional as F

from tarsier_recipe import options
from tarsier_recipe.detector.data import DEPLOYED, Pictures
from tarsier_recipe.detector.export import digest, objectness_as_logit
from tarsier_recipe.detector.frozen import Frozen
from tarsier_recipe.detector.lite import Depthwise, DepthwiseGradient, Inverted
from tarsier_recipe.detector.loss import boxes_from_geometry, by_location, detection_loss, quality_focal
from tarsier_recipe.detector.prompts import PromptBank
from tarsier_recipe.detector.student import STRIDES, Conv
from tarsier_recipe.pack_reader import module
from tarsier_recipe.quantise import steps
from tarsier_recipe.training import Trainer, linear, save

BANK = 128  # names of the vocabulary, beside the data's


class Rounded(nn.Module):
    """A sum that is rounded with its (scale, zero point)."""

    def __init__(self, outputs):
        super().__init__()
        ((self.scale, self.zero),) = outputs

    def forward(self, x):
        return torch.fake_quantize_per_tensor_affine(x, self.scale, self.zero, -128, 127)


class Int8Conv(nn.Module):
    """A convolution, its normalisation folded, on rounded weights; what comes out is rounded with its own (scale, zero
    point) in every call of a picture.

    Of depthwise ones the weights stay (`lite`).
    """

    def __init__(self, conv, norm, relu, outputs):
        super().__init__()
        self.stride, self.padding, self.relu, self.outputs, self.call = conv.stride, conv.padding, relu, outputs, 0
        self.depthwise = isinstance(conv, Depthwise)
        self.gain = (
            (norm.weight / (norm.running_var + norm.eps).sqrt()).detach() if norm else torch.ones(conv.out_channels)
        )
        self.centre = norm.running_mean.clone() if norm else torch.zeros(conv.out_channels)
        own = norm.bias - self.centre * self.gain if norm else conv.bias
        self.weight, self.bias = (
            nn.Parameter((conv.weight * self.gain[:, None, None, None]).detach()),
            nn.Parameter(own.detach().clone()),
        )
        self.weight.requires_grad_(not self.depthwise)

    def forward(self, x):
        size = torch.from_numpy(steps(self.weight.detach().numpy())).float()
        weight = torch.fake_quantize_per_channel_affine(
            self.weight, size, torch.zeros(len(size), dtype=torch.int32), 0, -63, 63
        )
        if self.depthwise:
            y = DepthwiseGradient.apply(x, weight, self.bias, self.stride[0])
        else:
            y = F.conv2d(x, weight, self.bias, self.stride, self.padding)
        scale, zero = self.outputs[self.call]
        self.call = (self.call + 1) % len(self.outputs)
        return torch.fake_quantize_per_tensor_affine(F.relu(y) if self.relu else y, scale, zero, -128, 127)

    def give(self, conv, norm):
        """Writes the learnt weights back where they were folded from."""
        with torch.no_grad():
            conv.weight.copy_(self.weight / self.gain[:, None, None, None])
            (norm if norm else conv).bias.copy_(self.bias + self.centre * self.gain)


def ranges(graph):
    """{module: [(scale, zero point) of each call's result]} of a QDQ graph's convolutions and sums."""
    constants = {t.name: onnx.numpy_helper.to_array(t) for t in graph.initializer}
    quantised = {
        n.input[0]: (float(constants[n.input[1]]), int(constants[n.input[2]]))
        for n in graph.node
        if n.op_type == "QuantizeLinear"
    }
    found = {}
    for n in graph.node:
        if n.op_type in ("Conv", "Add"):
            found.setdefault(module(n.name), {})[n.name] = quantised[n.output[0]]
    return {name: [calls[k] for k in sorted(calls)] for name, calls in found.items()}  # what.2, what.2_1, what.2_2, ...


def convolutions(network):
    """(path, path of the module it is in, convolution, normalisation or None) of every convolution."""
    modules = dict(network.named_modules())
    for path, m in modules.items():
        if isinstance(m, nn.Conv2d):
            parent = path.rpartition(".")[0]
            yield path, parent, m, modules[parent][1] if isinstance(modules[parent], Conv) else None


def bounded(modules, parent):
    """Whether what follows a convolution is a ReLU; a ReLU6 is one whose range ends at 6 or below (`quantise`)."""
    return isinstance(modules[parent], Conv) or (
        isinstance(modules[parent], nn.Sequential) and isinstance(modules[parent][1], nn.ReLU6)
    )


def as_int8(student, graph):
    """A copy of the student that computes as the graph does, and its Int8Convs by the path of the convolution."""
    copied, found, own = copy.deepcopy(student), ranges(graph), {}
    modules = dict(copied.named_modules())
    for path, m in modules.items():
        if isinstance(m, Inverted) and m.adds:
            m.sum = Rounded(found[path])
    for path, parent, conv, norm in list(convolutions(copied)):
        own[path] = Int8Conv(conv, norm, bounded(modules, parent), found[path])
        place, name = (parent if norm else path).rpartition(".")[::2]
        setattr(copied.get_submodule(place), name, own[path])
    return copied, own


def main():
    a = options.parse(options.parser(__doc__, "steps", "seed", pictures=12_000, batch=8, lr=1e-4))
    frozen = Frozen(a.shared, a.build)
    split, student = frozen.split, frozen.student.requires_grad_(False)
    int8, own = as_int8(student, onnx.load(a.build.detector_qdq).graph)
    optimiser = torch.optim.Adam([q for m in own.values() for q in (m.weight, m.bias) if q.requires_grad], lr=a.lr)
    trainer = Trainer(
        {"int8": int8, "optimiser": optimiser},
        a.build.branch_checkpoint("int8"),
        schedule=linear(500, 0.05),
        rate=a.lr,
        budget=a.pictures,
        report=50,
        limit=a.steps,
        table=a.build.table("int8"),
    )
    trainer.resume()
    bank, rng = PromptBank(a.build.prompts, split.names), random.Random(trainer.seen)
    pictures = Pictures(split, frozen.store, a.batch, (DEPLOYED,), 0.15, trainer.seen)
    everything = torch.ones(a.batch, 4, len(split.names) + BANK, dtype=torch.bool)

    def answers(network, x):
        """Features, and (embedding, geometry) of each level with objectness as a logit, as the loss has it."""
        features = network.backbone(x)
        return features, [
            (e, torch.cat([g[:, :4].clamp(0, 8), 2 * (g[:, 4:5].clamp(0, 8) - 5)], 1))
            for e, g in network.head(features)
        ]

    for rgb, _, _, seams in trainer.over(
        torch.utils.data.DataLoader(pictures, batch_size=None, num_workers=1, prefetch_factor=4)
    ):
        x = rgb.float().div(255).contiguous(memory_format=torch.channels_last)
        prompts = F.normalize(torch.cat([bank.names(), bank.embedding[rng.sample(bank.others, BANK)]]), dim=1)
        with torch.no_grad():
            exact, outputs = answers(student, x)
            embedding, geometry = (by_location(maps) for maps in zip(*outputs))
            objects = geometry[..., 4].sigmoid()
            scores = student.logits(embedding, prompts).sigmoid()
            boxes = boxes_from_geometry(geometry, frozen.points, frozen.steps)
        features, outputs = answers(int8, x)
        losses = detection_loss(
            outputs, prompts, int8, STRIDES, DEPLOYED, (scores, boxes), torch.zeros(len(rgb), 0, 6), everything, seams
        )
        # in training objectness follows the labels; without them it is the exact one that it must keep to
        losses["object"] = quality_focal(
            by_location(g for _, g in outputs)[..., 4], objects, None
        ) / objects.sum().clamp(min=1)
        losses["feature"] = torch.stack(
            [(f - e).square().mean() / e.square().mean() for f, e in zip(features, exact)]
        ).mean()
        optimiser.zero_grad(set_to_none=True)
        sum(losses.values()).backward()
        optimiser.step()
        if trainer.done(len(rgb), **losses):
            trainer.save()
    for path, _, conv, norm in convolutions(student):
        own[path].give(conv, norm)
    objectness_as_logit(student)
    save(a.build.int8_weights, {"key": digest(a.build.weights), "student": student.state_dict()})
    trainer.finish()


if __name__ == "__main__":
    main()
