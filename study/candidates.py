"""Networks that were tried for the most accurate one, on held-out images.

The parts ``candidates`` and ``limit`` of study.yaml train them; docs/accuracy.md shows what came
of it.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import SqueezeExcitation

from era8.blocks import Residual
from era8.models import DilatedNet, SeparableNet


class Candidate(SeparableNet):
    """SeparableNet, of which a design changes the blocks, their number or their channels."""

    block = "dw3 norm relu conv1 norm"  # what a block adds to its input, layer by layer
    repeated: tuple[int, ...] = ()  # the channels of stages that are gone through twice

    def _stage(self, blocks: int, channels: int, size: int) -> nn.Sequential:
        words = self.block.split()
        stage = [[self._layer(word, channels, size) for word in words] for _ in range(blocks)]
        if channels in self.repeated:  # with the same weights, and norms of their own
            stage += [
                [self._norm(channels, size) if word == "norm" else layer
                 for word, layer in zip(words, block, strict=True)]
                for block in stage
            ]  # fmt: skip
        return nn.Sequential(*(Residual(self.skip, *block) for block in stage))

    def _layer(self, word: str, channels: int, size: int) -> nn.Module:
        if word == "norm":
            return self._norm(channels, size)
        if word in ("relu", "silu"):
            return nn.ReLU() if word == "relu" else nn.SiLU()
        if word == "mixed":
            return Mixed(channels)
        if word == "squeeze":  # each channel times its weight (Hu et al. 2018, arXiv 1709.01507)
            return SqueezeExcitation(channels, channels // 8)
        if word == "gate":
            up = nn.Conv2d(channels, 2 * channels, 1, bias=False)
            return nn.Sequential(up, Gate(), conv("conv1", channels))
        return conv(word, channels)


class LargeMaps(SeparableNet):
    """SeparableNet with one pool instead of two."""

    def _transition(self, in_channels: int, out_channels: int, size: int) -> nn.Sequential:
        layers = super()._transition(in_channels, out_channels, size)
        return layers if size == 8 else nn.Sequential(layers[0], layers[2])


def conv(word: str, channels: int) -> nn.Conv2d:
    """Make the convolution that a word such as conv3, conv1 or dw5 (depthwise) names."""
    kernel, groups = int(word[-1]), channels if word.startswith("dw") else 1
    return nn.Conv2d(channels, channels, kernel, padding=kernel // 2, groups=groups, bias=False)


class Mixed(nn.Module):
    """Depthwise convolutions of 3x3, 5x5 and 7x7, each in a quarter of the channels."""

    def __init__(self, width: int) -> None:
        """Make the convolutions; the first quarter stays as it is."""
        super().__init__()
        self.part = width // 4
        self.kernels = nn.ModuleList(conv(f"dw{k}", self.part) for k in (3, 5, 7))

    def forward(self, x: Tensor) -> Tensor:
        """Return maps (N, width, H, W) of the shape of those given."""
        first, *parts = x.split([x.shape[1] - 3 * self.part, *[self.part] * 3], 1)
        return torch.cat([first, *map(lambda k, p: k(p), self.kernels, parts)], 1)


class Gate(nn.Module):
    """The second half of the channels, times the first after its ReLU."""

    def forward(self, x: Tensor) -> Tensor:
        """Return maps (N, channels, H, W) of (N, 2 channels, H, W)."""
        gate, value = x.chunk(2, 1)
        return F.relu(gate) * value


DESIGNS: dict[str, dict[str, Any]] = {  # what differs from SeparableNet
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
    "Shared": {"widths": (32, 56, 92), "repeated": (56, 92)},
    "SharedAll": {"widths": (32, 56, 92), "repeated": (32, 56, 92)},
}  # fmt: skip
Averaged = type("Averaged", (SeparableNet,), {"_transition": DilatedNet._transition})
Wide = type("Wide", (DilatedNet,), {"widths": (46, 80, 126)})  # twice the parameters
globals().update({name: type(name, (Candidate,), design) for name, design in DESIGNS.items()})
