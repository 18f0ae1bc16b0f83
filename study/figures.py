"""The forms that the study's figures have: dots of runs, lines over a setting."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from era8.figures.style import (
    COLORS,
    NAMES,
    SKIPS,
    dot,
    finish,
    new_figure,
    norms_of,
    place_legend,
    style,
)

MEAN: dict[str, Any] = {"marker": "|", "markersize": 22, "markeredgewidth": 2.5, "linestyle": ""}


@style()
def plot_dots(panels: Mapping[str, pd.DataFrame], title: str) -> Figure:
    """Draw the test accuracy of each run as a dot: a row per norm, with and without skips.

    A bar among them is their mean.

    Args:
        panels: runs, one row each, by the title of their panel; all have one axis.
        title: of the figure.
    """
    figure, axes = new_figure(3.9, 1, len(panels))
    every = pd.concat(list(panels.values()))
    norms = norms_of(every)
    low, high = 100 * every.test_accuracy.min() - 1, 100 * every.test_accuracy.max() + 1
    for ax, (name, runs) in zip(axes, panels.items(), strict=True):
        for y, norm in enumerate(norms):
            for skip, shift in ((True, -0.17), (False, 0.17)):
                values = 100 * runs[(runs.norm == norm) & (runs["skip"] == skip)].test_accuracy
                ax.plot(values, [y + shift] * len(values), **dot(skip, COLORS[norm]), alpha=0.8)
                ax.plot(values.mean(), y + shift, **MEAN, color=COLORS["ink"])
        count = say_range(runs.groupby(["norm", "skip"]).size())
        ax.set(xlim=(low, high), ylim=(len(norms) - 0.5, -0.5), title=f"{name}, {count} seeds")
        ax.set_yticks(range(len(norms)), [NAMES[norm] for norm in norms] if ax is axes[0] else [])
        ax.set_xlabel("test accuracy (%)")
        ax.locator_params(axis="x", nbins=5)
        ax.grid(axis="y", visible=False)
    keys = [Line2D([], [], **dot(skip), label=f"one run {label}") for skip, label in SKIPS.items()]
    keys += [Line2D([], [], **MEAN, color=COLORS["ink"], label="mean")]
    place_legend(figure, keys, len(keys))
    return finish(figure, title, every.data)


@style()
def plot_lines(
    panels: Mapping[str, pd.DataFrame],
    setting: str,
    label: str,
    title: str,
    measure: str = "test_accuracy",
) -> Figure:
    """Draw accuracy over the values of a setting: a line through the means, a dot for each run.

    Args:
        panels: runs, one row each, by the title of their panel.
        setting: the column that is varied, drawn on a logarithmic axis.
        label: of that axis.
        title: of the figure.
        measure: ``test_accuracy`` or ``val_accuracy``.
    """
    figure, axes = new_figure(3.9, 1, len(panels))
    every = pd.concat(list(panels.values()))
    for ax, (name, runs) in zip(axes, panels.items(), strict=True):
        norms = norms_of(runs)
        if ax is not axes[0]:
            ax.sharey(axes[0])
        for i, norm in enumerate(norms):
            some = runs[runs.norm == norm]
            means = 100 * some.groupby(setting)[measure].mean()
            side = 1.06 ** (i - (len(norms) - 1) / 2)  # so that no dot hides another
            ax.plot(side * means.index, means, color=COLORS[norm])
            dots = dot(True, COLORS[norm], 6) | {"alpha": 0.6}
            ax.plot(side * some[setting], 100 * some[measure].astype(float), **dots)
        values = sorted(set(every[setting]))
        ax.set(xscale="log", xlabel=label, title=name)
        ax.set_xticks(values, [f"{value:g}" for value in values])
        ax.xaxis.set_minor_locator(NullLocator())
    axes[0].set_ylabel(f"{'test' if measure == 'test_accuracy' else 'held-out'} accuracy (%)")
    names, grey = norms_of(every), COLORS["grey"]
    keys = [Line2D([], [], color=COLORS[norm], label=NAMES[norm]) for norm in names]
    count = say_range(every.groupby(["norm", "skip", setting]).size())
    if count != "1":  # else the line goes through the runs themselves
        keys += [Line2D([], [], color=grey, label=f"mean of {count} seeds")]
    keys += [Line2D([], [], **dot(True, grey, 6), label="one run")]
    place_legend(figure, keys[len(names) == 1 :], len(keys))
    return finish(figure, title, every.data)


def say_range(counts: pd.Series) -> str:
    """Return the lowest and the highest of some numbers, such as ``3 to 5``, or the only one."""
    return " to ".join(map(str, dict.fromkeys([counts.min(), counts.max()])))
