"""Figures of what goes on inside a network, and of how they classify an image."""

import pandas as pd
from matplotlib.figure import Figure
from torch import Tensor

from era8.figures.style import COLORS, NAMES, finish, new_figure, place_legend, style


@style()
def plot_layers(activations: pd.DataFrame, gradients: pd.Series, norm: str) -> Figure:
    """Draw the standard deviation of activations around each norm, and the size of gradients.

    Args:
        activations: what :func:`era8.evaluate.activations` returns.
        gradients: what :func:`era8.evaluate.gradient_norms` returns.
        norm: the kind of norm, which gives the colour.
    """
    figure, (left, right) = new_figure(3.8, 1, 2)
    for name, color in (("before", "grey"), ("after", norm)):
        values = activations[f"std_{name}"]
        left.plot(activations.layer, values, "o-", color=COLORS[color], label=f"{name} the norm")
    right.bar(gradients.index, gradients, color=COLORS[norm], linewidth=0)
    left.set(title="standard deviation of activations", ylim=(0, None))
    right.set(title="gradient of each convolution")
    right.grid(axis="x", visible=False)
    for ax in (left, right):
        ax.tick_params(axis="x", labelsize=10, rotation=45)
    place_legend(figure, left.get_lines(), 2)
    return finish(figure, "", [])


@style()
def plot_guesses(image: Tensor, guesses: pd.DataFrame) -> Figure:
    """Draw an image as the networks see it, and each norm's best guesses of what it shows.

    Args:
        image: (3, 32, 32) uint8.
        guesses: what :func:`era8.pretrained.classify` returns.
    """
    norms = list(dict.fromkeys(guesses.norm))
    figure, (first, *panels) = new_figure(2.8, 1, 1 + len(norms))
    first.imshow(image.permute(1, 2, 0).numpy(force=True), interpolation="nearest")
    first.set_axis_off()
    for ax, norm in zip(panels, norms, strict=True):
        rows = guesses[guesses.norm == norm][::-1]
        bars = ax.barh(rows.guess, 100 * rows.probability, color=COLORS[norm], linewidth=0)
        ax.bar_label(bars, fmt="%.0f %%", padding=3)
        ax.set(title=NAMES[norm], xlim=(0, 160), xticks=[])
        ax.grid(False)
        ax.spines[:].set_visible(False)
    return finish(figure, "", [])
