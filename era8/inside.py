"""What goes on inside a network, layer by layer: gradients and activations in training."""

import copy
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from era8.blocks import ConvBlock

if TYPE_CHECKING:
    import pandas as pd


def gradient_norms(model: nn.Module, images: Tensor, labels: Tensor) -> "pd.Series":
    """Return the norm of the loss's gradient by each convolution's weights, from input to output.

    The loss is the mean cross-entropy of a batch of normalised images (N, 3, 32, 32) with labels
    (N,). The model is left as it is.
    """
    import pandas as pd

    model = copy.deepcopy(model).train()
    F.cross_entropy(model(images), labels).backward()
    layers = {n: m for n, m in model.named_modules() if isinstance(m, nn.Conv2d)}
    norms = {n.removesuffix(".0"): m.weight.grad.norm().item() for n, m in layers.items()}  # type: ignore[union-attr]
    return pd.Series(norms, name="gradient_norm")


@torch.no_grad()
def activations(model: nn.Module, images: Tensor) -> "pd.DataFrame":
    """Return mean and standard deviation of what enters and what leaves the norm of each ConvBlock.

    They are over all images (N, 3, 32, 32), normalised, channels and pixels, with columns
    ``layer``, ``mean_before``, ``std_before``, ``mean_after``, ``std_after``. The model is left as
    it is.
    """
    import pandas as pd

    model, rows = copy.deepcopy(model).train(), []
    for name, block in model.named_modules():
        if isinstance(block, ConvBlock):

            def note(_: nn.Module, args: tuple[Tensor], out: Tensor, name: str = name) -> None:
                before, after = args[0].float(), out.float()
                rows.append((name, before.mean(), before.std(), after.mean(), after.std()))

            norm = next(part for part in block if not isinstance(part, nn.Conv2d | nn.ReLU))
            norm.register_forward_hook(note)
    model(images)
    columns = ["layer", "mean_before", "std_before", "mean_after", "std_after"]
    return pd.DataFrame([(n, *(v.item() for v in values)) for n, *values in rows], columns=columns)
