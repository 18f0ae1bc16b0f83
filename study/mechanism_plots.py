"""The figures of what goes on inside networks, see :mod:`study.mechanisms`."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullFormatter, NullLocator

from era8.figures.style import (
    COLORS,
    GREY,
    LOOK,
    NAMES,
    WIDTH,
    add_legend,
    finish,
    new_figure,
    norms_of,
    share_limits,
    style,
)  # fmt: skip
from era8.tables import span
from study.tables import ZERO


@style
def plot_gradients(table: pd.DataFrame) -> Figure:
    """Draw the norm of the gradient of each convolution's weights, before and after training.

    Args:
        table: see :func:`study.mechanisms.measure_networks`; drawn is the seeds' median, and each.
    """
    panels = {"start_gradient": "before training", "end_gradient": "after training"}
    title = "How much of the loss's gradient reaches each convolution"
    return _plot_layers(table, panels, title, "norm of the gradient")


@style
def plot_activations(table: pd.DataFrame) -> Figure:
    """Draw the spread of what enters and of what leaves each norm, after training.

    Args:
        table: see :func:`study.mechanisms.measure_networks`; drawn is the seeds' median, and each.
    """
    panels = {"end_std_before": "before the norm", "end_std_after": "after the norm"}
    return _plot_layers(table, panels, "How far the activations spread", "standard deviation")


def _plot_layers(table: pd.DataFrame, panels: Mapping[str, str], title: str, label: str) -> Figure:
    """Draw measures of each layer, from input to output, side by side."""
    figure, axes = new_figure(1, len(panels), WIDTH, 3.9)
    for ax, (measure, name) in zip(axes, panels.items(), strict=True):
        chosen = table[table.measure == measure]
        layers = list(dict.fromkeys(chosen["at"]))
        values = chosen.set_index(["norm", "skip", "at", "seed"]).value.unstack()
        for norm in norms_of(chosen):
            for skip in (True, False):
                lines, x = values.loc[norm, skip].reindex(layers), range(len(layers))
                ax.plot(x, lines.median(axis=1), color=COLORS[norm], **LOOK[skip])
                thin = {**LOOK[skip], "marker": "", "linewidth": 0.8, "alpha": 0.5}
                ax.plot(x, lines, color=COLORS[norm], **thin)
        ax.set_yscale("symlog", linthresh=ZERO)  # what is smaller is drawn at zero
        ax.set_title(name)
        ax.set_xticks(range(len(layers)), layers, fontsize=9)
        ax.yaxis.set_minor_formatter(NullFormatter())
    share_limits(axes)
    axes[0].set_ylabel(label)
    add_legend(figure, norms_of(table), skips=True)
    return finish(figure, f"{title}: median of {_seeds(table)} seeds, each a thin line", [])


@style
def plot_cuts(table: pd.DataFrame) -> Figure:
    """Draw the accuracy of trained networks with skips as they are, and with skips cut.

    Args:
        table: see :func:`study.mechanisms.measure_networks`; drawn is the mean over the seeds, and
            a dot for each.
    """
    table = table[table.measure == "cut"]
    names = {"whole": "as trained", "first": "first skip cut", "second": "second skip cut"}
    names["both"] = "both cut"
    norms, means = norms_of(table), table.groupby(["norm", "at"]).value.mean()
    figure, (ax,) = new_figure(1, 1, WIDTH, 3.4)
    for i, norm in enumerate(norms):
        values = 100 * means[norm].reindex(list(names))
        spots = [j + 0.2 * (i - (len(norms) - 1) / 2) for j in range(len(names))]
        ax.bar(spots, values, width=0.18, color=COLORS[norm], label=NAMES[norm])
        for x, cut, value in zip(spots, names, values, strict=True):
            dots = 100 * table[(table.norm == norm) & (table["at"] == cut)].value
            ax.plot([x] * len(dots), dots, "o", color="w", markersize=4, markeredgecolor=GREY)
            ax.annotate(f"{value:.0f}", (x, dots.max()), (0, 3), textcoords="offset points",
                        ha="center", fontsize=9)  # fmt: skip
    ax.set_xticks(range(len(names)), list(names.values()), fontsize=11)
    ax.set(ylabel="validation accuracy (%)", xlim=(-0.5, len(names) - 0.3), ylim=(0, 100))
    ax.axhline(10, color=GREY, linestyle=":", linewidth=1)
    ax.annotate("chance", (1, 10), (-2, 2), xycoords=("axes fraction", "data"),
                textcoords="offset points", ha="right", color=GREY, fontsize=9)  # fmt: skip
    ax.grid(axis="x", visible=False)
    add_legend(figure, norms, bars=True)
    title = "What trained networks lose when a skip is cut"
    return finish(figure, f"{title}: mean of {_seeds(table)} seeds, a dot for each", [])


@style
def plot_batches(table: pd.DataFrame) -> Figure:
    """Draw accuracy in training mode against the size of the batches that a network sees.

    Args:
        table: see :func:`study.mechanisms.measure_networks`; drawn are mean and range of the
            seeds, of the networks with skips.
    """
    table = table[(table.measure == "batch") & table["skip"]]
    figure, (ax,) = new_figure(1, 1, WIDTH, 3.4)
    values = table.assign(at=table["at"].astype(int)).groupby(["norm", "at"]).value
    values = 100 * values.agg(["mean", "min", "max"])
    for norm in norms_of(table):
        line = values.loc[norm].drop(0)
        ax.plot(line.index, line["mean"], color=COLORS[norm], **LOOK[True])
        ax.fill_between(line.index, line["min"], line["max"], color=COLORS[norm], alpha=0.15, lw=0)
        ax.axhline(values["mean"][norm, 0], color=COLORS[norm], linestyle=":", linewidth=1.5)
    sizes = sorted(set(values.index.get_level_values("at")) - {0})
    ax.set(xscale="log", xlabel="images in a batch, when the network is used")
    ax.set_xticks(sizes, sizes)
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_ylabel("validation accuracy (%)")
    add_legend(
        figure, norms_of(table), Line2D([], [], color=GREY, linestyle=":", label="evaluation")
    )
    title = "Only BatchNorm minds who else is in the batch"
    return finish(figure, f"{title}: mean and range of {_seeds(table)} seeds", [])


def _seeds(table: pd.DataFrame) -> str:
    """Return how many networks there are of each kind."""
    return span(table.groupby(["norm", "skip"]).seed.nunique())
