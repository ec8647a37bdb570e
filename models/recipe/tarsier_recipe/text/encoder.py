"""The sentence encoder: token rows -> convolutions over the text -> one vector per token; their mean is the sentence.

    tokens [N, T, 256] -> stem 1×3 -> (block) × 2 -> join, pointwise -> pointwise -> words [N, T, 128]
    block: a = relu(1×3(x)); b = relu(1×3(a)); relu(pointwise(x ‖ a ‖ b)),  all 256 wide

Only convolutions, ReLU and concatenation, so the sentence encoder runs on the int8 kernels of the image network: no
softmax, no normalisation, no residual sum. A sentence is one vector, the mean over its n tokens, as in APE; the mean
and its unit length are the runtime's, over the first n positions of `words`.

On the device T is MAX_TOKENS and positions after the text hold the row of [PAD]. A token sees RADIUS tokens to either
side, so training pads a batch only to its longest text + RADIUS (at most MAX_TOKENS): what real tokens see is the same.
"""

import torch
from torch import nn
from torch.nn import functional as F

from tarsier_recipe.text.teacher import WIDTH
from tarsier_recipe.text.tokenizer import MAX_TOKENS

TABLE_WIDTH = 256
BLOCKS = 2
RADIUS = 1 + 2 * BLOCKS


class Conv(nn.Module):
    """A 1×k convolution over [N, T, C] as one matrix product; `weight` is [out, k, in]."""

    def __init__(self, inputs: int, outputs: int, taps: int, relu: bool = True):
        super().__init__()
        self.weight = nn.Parameter(
            torch.randn(outputs, taps, inputs) * ((2.0 if relu else 1.0) / (taps * inputs)) ** 0.5
        )
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.relu = relu

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        outputs, taps, inputs = self.weight.shape
        if taps == 3:
            padded = F.pad(x, (0, 0, 1, 1))
            x = torch.cat([padded[:, :-2], x, padded[:, 2:]], dim=2)
        y = F.linear(x, self.weight.reshape(outputs, taps * inputs), self.bias)
        return F.relu(y) if self.relu else y


class Block(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.first, self.second = Conv(width, width, 3), Conv(width, width, 3)
        self.join = Conv(3 * width, width, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a = self.first(x)
        return self.join(torch.cat([x, a, self.second(a)], dim=2))


class Encoder(nn.Module):
    def __init__(self, tokens: int, width: int = TABLE_WIDTH):
        super().__init__()
        self.table = nn.Parameter(torch.randn(tokens, width) * 0.5)
        self.stem = Conv(width, width, 3)
        self.blocks = nn.ModuleList(Block(width) for _ in range(BLOCKS))
        self.join = Conv((1 + BLOCKS) * width, width, 1)
        self.head = Conv(width, WIDTH, 1, relu=False)

    @torch.no_grad()
    def begin_with(self, rows: torch.Tensor) -> None:
        """Makes the network compute `rows` [V, 128] at first, so that learning starts where a bag of tokens ends.

        The stem splits a row into relu(row) ‖ relu(-row), `join` passes both, the head subtracts one from the other;
        everything else starts small beside that, and what `join` takes from the blocks starts at zero.
        """
        eye, half = torch.eye(WIDTH, device=self.table.device), TABLE_WIDTH // 2
        self.table[:, :WIDTH] = rows / rows.std() * 0.5
        self.stem.weight.mul_(0.02)
        self.stem.weight[:half, 1, :WIDTH] += eye
        self.stem.weight[half:, 1, :WIDTH] -= eye
        self.join.weight.zero_()
        self.join.weight[:, 0, :TABLE_WIDTH] += torch.eye(TABLE_WIDTH, device=self.table.device)
        self.head.weight.mul_(0.02)
        self.head.weight[:, 0, :half] += eye
        self.head.weight[:, 0, half:] -= eye

    def words(self, x: torch.Tensor) -> torch.Tensor:
        """Token rows [N, T, 256] to word vectors [N, T, 128]: what is exported."""
        x = self.stem(x)
        parts = [x]
        for block in self.blocks:
            parts.append(block(parts[-1]))
        return self.head(self.join(torch.cat(parts, dim=2)))

    def forward(self, ids: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Ids [N, T] and lengths [N] to unit vectors [N, 128]."""
        words = self.words(F.embedding(ids, self.table)).float()
        real = torch.arange(ids.shape[1], device=ids.device)[None, :] < lengths[:, None]
        mean = (words * real[:, :, None]).sum(dim=1) / lengths[:, None]
        return F.normalize(mean, dim=1)


def batch(lists: list[list[int]], full: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
    """Padded ids [N, T] and lengths [N]; `full` pads to MAX_TOKENS as the device does."""
    lists = [ids[:MAX_TOKENS] for ids in lists]
    lengths = [len(ids) for ids in lists]
    width = MAX_TOKENS if full else min(MAX_TOKENS, max(lengths) + RADIUS)
    padded = torch.zeros(len(lists), width, dtype=torch.long)
    for row, ids in zip(padded, lists):
        row[: len(ids)] = torch.tensor(ids)
    return padded, torch.tensor(lengths)
