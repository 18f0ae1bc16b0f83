"""What goes on inside a network, layer by layer: gradients and activations in training."""

import copy
import re
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

if TYPE_CHECKING:
    import pandas as pd


def _short(name: str) -> str:
    """Return the assignment's name of a layer: those of the block C1 are ``C1.0`` and ``C1.2``."""
    return re.sub(r"^(\w+\d+)\.\d$", r"\1", name)


def gradient_norms(model: nn.Module, images: Tensor, labels: Tensor) -> "pd.Series":
    """Return the norm of the loss's gradient by each convolution's weights, from input to output.

    The loss is the mean cross-entropy of a batch of normalised images (N, 3, 32, 32) with labels
    (N,). The model is left as it is.
    """
    import pandas as pd

    model = copy.deepcopy(model).train()
    F.cross_entropy(model(images), labels).backward()
    layers = {n: m for n, m in model.named_modules() if isinstance(m, nn.Conv2d)}
    norms = {_short(n): m.weight.grad.norm().item() for n, m in layers.items()}  # type: ignore[union-attr]
    return pd.Series(norms, name="gradient_norm")


@torch.no_grad()
def activations(model: nn.Module, images: Tensor) -> "pd.DataFrame":
    """Return mean and standard deviation of what enters and what leaves each norm.

    They are over all images (N, 3, 32, 32), normalised, channels and pixels, with columns
    ``layer``, ``mean_before``, ``std_before``, ``mean_after``, ``std_after``. The model is left as
    it is.
    """
    import pandas as pd

    model, rows = copy.deepcopy(model).train(), []
    for name, layer in model.named_modules():
        if isinstance(layer, nn.BatchNorm2d | nn.GroupNorm | nn.LayerNorm | nn.Identity):

            def note(
                _: nn.Module, args: tuple[Tensor], out: Tensor, name: str = _short(name)
            ) -> None:
                before, after = args[0].float(), out.float()
                rows.append((name, before.mean(), before.std(), after.mean(), after.std()))

            layer.register_forward_hook(note)
    model(images)
    columns = ["layer", "mean_before", "std_before", "mean_after", "std_after"]
    return pd.DataFrame([(n, *(v.item() for v in values)) for n, *values in rows], columns=columns)


def scales(model: nn.Module) -> "pd.DataFrame":
    """Return mean and spread over the channels of what each norm has learned.

    One row per norm: ``layer``, and of scale and shift ``gamma``, ``gamma_std``, ``beta``,
    ``beta_std``. Empty for a network without norms.
    """
    import pandas as pd

    rows = []
    for name, layer in model.named_modules():
        if isinstance(layer, nn.BatchNorm2d | nn.GroupNorm | nn.LayerNorm):
            gamma, beta = layer.weight.detach(), layer.bias.detach()
            values = (gamma.mean(), gamma.std(), beta.mean(), beta.std())
            rows.append((_short(name), *(value.item() for value in values)))
    columns = ["layer", "gamma", "gamma_std", "beta", "beta_std"]
    return pd.DataFrame(rows, columns=columns).set_index("layer")
