"""Networks that were tried for the most accurate one, on held-out images.

The parts ``candidates`` and ``limit`` of study.yaml train them; docs/accuracy.md shows what came
of it.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from era8.models import DilatedNet, Network, SeparableNet

STEM = "conv3 norm relu"
HALVED = "conv1 pool norm"


class Candidate(Network):
    """Stem, three stages of residual blocks with a transition between, global average, head."""

    block = "dw3 norm relu conv1 norm"  # what a block adds to its input, layer by layer
    widths = (32, 56, 96)  # channels of each stage
    depths = (2, 4, 2)  # blocks of each stage
    passes = (1, 1, 1)  # how often a stage is gone through, with the same weights and other norms
    between = (HALVED, HALVED)

    def _build(self) -> None:
        size, before = 32, 3
        self.transitions, self.stages = nn.ModuleList(), nn.ModuleList()
        stages = zip(self.widths, self.depths, self.passes, strict=True)
        for words, (width, depth, passes) in zip((STEM, *self.between), stages, strict=True):
            size //= 1 + ("pool" in words)
            first = [self._layer(word, before, width, size) for word in words.split()]
            self.transitions.append(nn.Sequential(*first))
            blocks = (Block(self, width, size, passes) for _ in range(depth))
            self.stages.append(nn.ModuleList(blocks))
            before = width
        self.head = nn.Linear(before, 10)

    def _layer(self, word: str, before: int, width: int, size: int) -> nn.Module:
        if word == "norm":
            return self._norm(width, size)
        if word in ("relu", "silu", "pool"):
            return {"relu": nn.ReLU(), "silu": nn.SiLU(), "pool": nn.MaxPool2d(2)}[word]
        own = {"mixed": Mixed, "gate": Gate, "squeeze": Squeeze}
        return own[word](width) if word in own else conv(word, before, width)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, 10) of normalised images (N, 3, 32, 32)."""
        x = images
        layers = zip(self.transitions, self.stages, self.passes, strict=True)
        for transition, stage, passes in layers:
            x = transition(x)
            for turn in range(passes):
                for block in stage:  # type: ignore[attr-defined]
                    x = x + block(x, turn) if self.skip else block(x, turn)
        return self.head(F.relu(x).mean((2, 3)))


def conv(word: str, before: int, width: int) -> nn.Conv2d:
    """Make the convolution that a word such as conv3, conv1 or dw5 (depthwise) names."""
    kernel, groups = int(word[-1]), width if word.startswith("dw") else 1
    return nn.Conv2d(before, width, kernel, padding=kernel // 2, groups=groups, bias=False)


class Block(nn.Module):
    """The layers of a block: (N, width, H, W) to the same, with norms of their own in each pass."""

    def __init__(self, network: Candidate, width: int, size: int, passes: int) -> None:
        """Make the layers that the network's block names."""
        super().__init__()
        self.words = network.block.split()
        layers = [network._layer(word, width, width, size) for word in self.words]
        self.layers = nn.ModuleList(layers)
        self.more = nn.ModuleList(
            nn.ModuleList(network._norm(width, size) for _ in range(self.words.count("norm")))
            for _ in range(passes - 1)
        )

    def forward(self, x: Tensor, turn: int) -> Tensor:
        """Return what is to be added to the maps ``x`` in one of the passes."""
        norms = iter(self.more[turn - 1] if turn else ())  # type: ignore[arg-type]
        for word, layer in zip(self.words, self.layers, strict=True):
            x = next(norms)(x) if turn and word == "norm" else layer(x)
        return x


class Mixed(nn.Module):
    """Depthwise convolutions of 3x3, 5x5 and 7x7, each in a quarter of the channels."""

    def __init__(self, width: int) -> None:
        """Make the convolutions; the first quarter stays as it is."""
        super().__init__()
        self.part = width // 4
        self.kernels = nn.ModuleList(conv(f"dw{k}", self.part, self.part) for k in (3, 5, 7))

    def forward(self, x: Tensor) -> Tensor:
        """Return maps (N, width, H, W) of the shape of those given."""
        first, *parts = x.split([x.shape[1] - 3 * self.part, *[self.part] * 3], 1)
        return torch.cat([first, *map(lambda k, p: k(p), self.kernels, parts)], 1)


class Gate(nn.Module):
    """Two 1x1 convolutions, one of which multiplies the other after its ReLU, and a third."""

    def __init__(self, width: int) -> None:
        """Make the convolutions."""
        super().__init__()
        self.up = nn.Conv2d(width, 2 * width, 1, bias=False)
        self.down = conv("conv1", width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Return maps (N, width, H, W) of the shape of those given."""
        gate, value = self.up(x).chunk(2, 1)
        return self.down(F.relu(gate) * value)


class Squeeze(nn.Module):
    """Squeeze and excitation (Hu et al. 2018, arXiv 1709.01507): each channel times its weight."""

    def __init__(self, width: int) -> None:
        """Make the two layers that weigh the channels by their means."""
        super().__init__()
        self.squeeze, self.excite = nn.Conv2d(width, width // 8, 1), nn.Conv2d(width // 8, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return maps (N, width, H, W) of the shape of those given."""
        return x * self.excite(F.relu(self.squeeze(x.mean((2, 3), keepdim=True)))).sigmoid()


DESIGNS: dict[str, dict[str, Any]] = {  # what differs from SeparableNet, which is Candidate itself
    "ResNet": {"block": "conv3 norm relu conv3 norm", "widths": (20, 28, 36), "depths": (1, 1, 1)},
    "Kernels": {
        "block": "mixed norm relu conv1 norm", "widths": (32, 56, 92), "depths": (2, 3, 2)
    },
    "Smooth": {"block": "dw3 norm silu conv1 norm"},
    "Squeezed": {
        "block": "dw3 norm relu squeeze conv1 norm", "widths": (32, 56, 88), "depths": (2, 3, 2)
    },
    "Gated": {"block": "dw3 norm gate norm", "widths": (32, 48, 60), "depths": (1, 2, 2)},
    "Deep": {"widths": (24, 48, 70), "depths": (3, 6, 4)},
    "Shared": {"widths": (32, 56, 92), "passes": (1, 2, 2)},
    "SharedAll": {"widths": (32, 56, 92), "passes": (2, 2, 2)},
    "LargeMaps": {"between": ("conv1 norm", HALVED)},
}  # fmt: skip
Averaged = type("Averaged", (SeparableNet,), {"_transition": DilatedNet._transition})
Wide = type("Wide", (DilatedNet,), {"widths": (46, 80, 126)})  # twice the parameters
globals().update({name: type(name, (Candidate,), design) for name, design in DESIGNS.items()})
