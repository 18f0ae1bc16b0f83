"""Networks of under 50,000 parameters, tried for the most accurate one on held-out images.

``python -m study.candidates`` trains those that results/candidates.csv lacks, each for a few
epochs; docs/accuracy.md shows the table.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchinfo import summary

from era8 import Recipe, Session8Net, fit, load_data, make_norm
from era8.data import Data
from era8.records import whole
from study.runs import ROOT

RESULTS = ROOT / "results" / "candidates.csv"
EPOCHS, HELD_OUT = 4, 5_000


def _conv(in_channels: int, out_channels: int, kernel: int, groups: int = 1) -> nn.Conv2d:
    return nn.Conv2d(
        in_channels, out_channels, kernel, padding=kernel // 2, groups=groups, bias=False
    )


LAYERS = {  # from the width of a stage
    "conv3": lambda width: _conv(width, width, 3),
    "conv1": lambda width: _conv(width, width, 1),
    "dw3": lambda width: _conv(width, width, 3, width),  # depthwise
    "dw5": lambda width: _conv(width, width, 5, width),
}


@dataclass(frozen=True)
class Design:
    """A network: stem, three stages of residual blocks with pools between, global average.

    Attributes:
        block: what a block adds to its input, layer by layer.
        widths: channels of each stage.
        depths: blocks of each stage.
        passes: how often the blocks of a stage are gone through, with the same convolutions and
            other norms.
        between: two stages: a 1x1 convolution and a pool, in this order or the other.
    """

    block: str
    widths: Sequence[int]
    depths: Sequence[int] = (1, 1, 1)
    passes: Sequence[int] = (1, 1, 1)
    between: str = "conv1 pool"


POOLED = "pool conv1"
CLASSIC, SEPARABLE = "conv3 norm relu conv3 norm", "dw3 norm relu conv1 norm"
CANDIDATES = {
    "ResNet": Design(CLASSIC, (20, 28, 36)),
    "ResNet, shared": Design(CLASSIC, (20, 28, 36), passes=(1, 2, 2)),
    "3x3 and 1x1": Design("conv3 norm relu conv1 norm", (24, 36, 50)),
    "3x3 and 1x1, deep": Design("conv3 norm relu conv1 norm", (16, 24, 38), (2, 2, 2)),
    "separable": Design(SEPARABLE, (32, 56, 96), (2, 4, 2)),
    "separable, one norm": Design("dw3 relu conv1 norm", (32, 56, 96), (2, 4, 2), between=POOLED),
    "separable, ReLU last": Design(
        "dw3 norm conv1 relu norm", (32, 56, 96), (2, 4, 2), between=POOLED
    ),
    "separable, 5x5": Design("dw5 norm relu conv1 norm", (24, 56, 88), (1, 4, 2), between=POOLED),
    "separable, pooled early": Design(SEPARABLE, (24, 56, 96), (1, 5, 2), between=POOLED),
}


class Block(nn.Module):
    """The layers of a block: (N, width, H, W) to the same, with norms of their own in each pass."""

    def __init__(self, words: Sequence[str], width: int, passes: int, norm: str) -> None:
        """Make the layers that the words name."""
        super().__init__()
        self.words = words
        self.layers = nn.ModuleDict(
            {str(i): LAYERS[word](width) for i, word in enumerate(words) if word in LAYERS}
        )
        self.norms = nn.ModuleList(
            nn.ModuleDict(
                {str(i): make_norm(norm, width) for i, word in enumerate(words) if word == "norm"}
            )
            for _ in range(passes)
        )

    def forward(self, x: Tensor, turn: int = 0) -> Tensor:
        """Return what is to be added to the maps ``x`` in one of the passes."""
        norms = self.norms[turn]
        for i, word in enumerate(self.words):
            if word == "relu":
                x = F.relu(x)
            else:
                x = (norms if word == "norm" else self.layers)[str(i)](x)  # type: ignore[index]
        return x


class Candidate(nn.Module):
    """The network of a design: images (N, 3, 32, 32) to logits (N, 10)."""

    def __init__(self, design: Design, norm: str = "bn") -> None:
        """Make the network with freshly drawn weights."""
        super().__init__()
        self.norm, self.skip, self.groups, self.passes = norm, True, 2, design.passes
        words, width = design.block.split(), design.widths[0]
        self.stem = nn.Sequential(_conv(3, width, 3), make_norm(norm, width), nn.ReLU())
        self.transitions, self.stages = nn.ModuleList(), nn.ModuleList()
        for after, depth, passes in zip(design.widths, design.depths, design.passes, strict=True):
            if self.stages:
                mix = [_conv(width, after, 1), nn.MaxPool2d(2)]
                if design.between == POOLED:
                    mix.reverse()
                self.transitions.append(nn.Sequential(*mix, make_norm(norm, after)))
            width = after
            self.stages.append(
                nn.ModuleList(Block(words, width, passes, norm) for _ in range(depth))
            )
        self.head = nn.Linear(width, 10)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, 10) of normalised images (N, 3, 32, 32)."""
        x = self.stem(images)
        for i, (stage, passes) in enumerate(zip(self.stages, self.passes, strict=True)):
            x = self.transitions[i - 1](x) if i else x
            for turn in range(passes):
                for block in stage:  # type: ignore[attr-defined]
                    x = x + block(x, turn)
        return self.head(F.relu(x).mean((2, 3)))


def make_candidate(name: str, norm: str = "bn") -> nn.Module:
    """Make a candidate with freshly drawn weights; Session8Net is what they are to beat."""
    return Candidate(CANDIDATES[name], norm) if name in CANDIDATES else Session8Net(norm)


def train(name: str, data: Data) -> dict[str, Any]:
    """Train one candidate, and return its row of the table."""
    torch.manual_seed(0)
    model, design = make_candidate(name), CANDIDATES.get(name)
    record = fit(model, data, Recipe(epochs=EPOCHS))
    counted = summary(model, (1, 3, 32, 32), mode="eval", device="cpu", verbose=0)
    of_design = {
        field: "-".join(map(str, getattr(design, field))) if design else ""
        for field in ("widths", "depths", "passes")
    }
    return {
        "name": name,
        "block": design.block if design else "",
        **of_design,
        "between": design.between if design else "",
        "parameters": record.n_parameters,
        "multiply_adds": counted.total_mult_adds,
        **{n: getattr(record, n) for n in ("norm", "optimizer", "lr", "epochs", "seed")},
        **{n: getattr(record, n) for n in ("train_accuracy", "val_accuracy")},
        "commit": record.versions["commit"],
    }


def main() -> None:
    """Train the candidates that the table lacks, one after the other."""
    rows = pd.read_csv(RESULTS).to_dict("records") if RESULTS.exists() else []
    data = load_data().hold_out(HELD_OUT)
    for name in ("Session8Net", *CANDIDATES):
        if name not in {row["name"] for row in rows}:
            print(name)
            rows.append(train(name, data))
            with whole(RESULTS) as path:
                pd.DataFrame(rows).to_csv(path, index=False)


if __name__ == "__main__":
    main()
