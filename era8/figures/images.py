"""Figures of images and what networks make of them: mistakes, guesses, activations."""

from collections.abc import Iterable

import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from era8.data import CLASSES, Split
from era8.figures.style import COLORS, NAMES, finish, new_figure, place_legend, style
from era8.tables import percent


@style()
def plot_images(split: Split, title: str = "", data: str = "cifar10") -> Figure:
    """Draw the first 16 images with the names of their classes.

    ``data`` is the name of :class:`era8.data.Data`, ``cifar10`` or ``synthetic``.
    """
    figure, panels = new_figure(2.8, 2, 8)
    _draw_images(panels, split.images)
    for ax, label in zip(panels, split.labels.tolist(), strict=False):
        ax.set_title(CLASSES[label], fontsize=11)
    return finish(figure, title, [data])


@style()
def plot_misclassified(split: Split, table: pd.DataFrame, data: str = "cifar10") -> Figure:
    """Draw the first ten misclassified images, five in a row, with true and predicted classes.

    The table is what :func:`era8.evaluate.misclassified` returned for the images; it may be empty.
    """
    mistakes = table.head(10).to_dict("records")
    if not mistakes:
        figure, panels = new_figure(1.0)
        _draw_images(panels, [])
        panels[0].set_title(f"All {len(split):,} images were classified correctly", y=0.3)
        return finish(figure, "", [data])
    rows = 1 if len(mistakes) <= 5 else 2
    figure, panels = new_figure(0.4 + 2.5 * rows, rows, 5)
    _draw_images(panels, [split.images[mistake["index"]] for mistake in mistakes])
    for ax, mistake in zip(panels, mistakes, strict=False):
        ax.set_title(mistake["label"], color=COLORS["right"])
        text = f"{mistake['predicted']}?\n{percent(mistake['confidence'], 0)} sure"
        ax.set_xlabel(text, color=COLORS["wrong"])
    title = "The most costly mistakes of one run: true class above, predicted class below"
    return finish(figure, title, [data])


@style()
def plot_guesses(image: Tensor, guesses: pd.DataFrame) -> Figure:
    """Draw an image, (3, 32, 32) uint8, and what :func:`era8.pretrained.classify` says of it."""
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
    return figure


@style()
def plot_contrast(image: Tensor, values: pd.DataFrame, label: str, title: str = "") -> Figure:
    """Draw an image as its contrast falls, and below each of them a bar for each norm.

    Args:
        image: (3, 32, 32) uint8.
        values: of the bars, in percent: a row per norm, a column per contrast from 0 to 1.
        label: of the bars' axis.
        title: of the figure.
    """
    n = len(values.columns)
    figure, axes = new_figure(4.4, 2, n)
    names = [NAMES[norm].replace(" ", "\n") for norm in values.index]
    colors = [COLORS[norm] for norm in values.index]
    for (part, column), top, bottom in zip(values.items(), axes[:n], axes[n:], strict=True):
        top.imshow(fade(image, part).permute(1, 2, 0).numpy(), interpolation="bicubic")
        top.set_title(f"contrast × {part:g}")
        top.set_axis_off()
        bars = bottom.bar(names, column, color=colors, linewidth=0)
        bottom.bar_label(bars, fmt="%.0f", padding=2, weight="bold")
        bottom.set(ylim=(0, 115), yticks=[])
        bottom.grid(False)
        bottom.spines[["left", "top", "right"]].set_visible(False)
    axes[n].set_ylabel(label)
    return finish(figure, title, [])


def fade(images: Tensor, contrast: float) -> Tensor:
    """Return uint8 images (..., 3, H, W), each drawn towards its mean: 0 leaves that alone."""
    grey = images.float().mean((-3, -2, -1), keepdim=True)
    return (grey + contrast * (images - grey)).round().clamp(0, 255).to(torch.uint8)


@style()
def plot_layers(activations: pd.DataFrame, gradients: pd.Series, norm: str) -> Figure:
    """Draw the standard deviation of activations around each norm, and the size of gradients.

    They are what :func:`era8.evaluate.activations` and :func:`era8.evaluate.gradient_norms` return;
    the kind of norm gives the colour.
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
    return figure


def _draw_images(panels: Iterable[Axes], images: Iterable[Tensor]) -> None:
    """Draw uint8 images (3, 32, 32), one in each of the first panels."""
    for ax in panels:
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
    for ax, image in zip(panels, images, strict=False):
        ax.imshow(image.permute(1, 2, 0).numpy(force=True), interpolation="bicubic")
