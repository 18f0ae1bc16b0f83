"""Figures of many runs: dots of them all, lines over a setting, differences with intervals."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from era8.figures.style import (
    COLORS,
    SKIPS,
    WIDTH,
    color_of,
    describe,
    dot,
    finish,
    new_figure,
    norms_of,
    place_legend,
    style,
)
from era8.tables import MEASURES

MEAN: dict[str, Any] = {"marker": "|", "markersize": 22, "markeredgewidth": 2.5, "linestyle": ""}


@style()
def plot_dots(
    panels: Mapping[str, pd.DataFrame],
    title: str,
    by: Sequence[str] = ("norm",),
    measure: str = "test_accuracy",
) -> Figure:
    """Draw the accuracy of each run as a dot: a row per norm, with and without skips.

    A bar among them is their mean.

    Args:
        panels: runs, one row each, by the title of their panel; all have one axis.
        title: of the figure.
        by: the columns of which each combination has a row; the first is ``norm``.
        measure: ``test_accuracy`` or ``val_accuracy``.
    """
    every = pd.concat(list(panels.values()))
    order = every.assign(norm=pd.Categorical(every.norm, norms_of(every)))[[*by]]
    rows = order.drop_duplicates().sort_values([*by]).to_dict("records")
    labels = [describe(row) for row in rows]
    figure, axes = new_figure(2.4 + 0.5 * len(rows), 1, len(panels), fit_width(labels))
    low, high = 100 * every[measure].min() - 1, 100 * every[measure].max() + 1
    skips = [skip for skip in SKIPS if skip in set(every["skip"])]
    for ax, (name, runs) in zip(axes, panels.items(), strict=True):
        for y, row in enumerate(rows):
            here = runs[(runs[[*by]] == pd.Series(row)).all(axis=1)]
            for skip in skips:
                values = 100 * here[here["skip"] == skip][measure]
                level = y + (0 if len(skips) == 1 else -0.17 if skip else 0.17)
                look = dot(skip, color_of(row["norm"]))
                ax.plot(values, [level] * len(values), **look, alpha=0.8)
                ax.plot(values.mean(), level, **MEAN, color=COLORS["ink"])
        count = say_range(runs.groupby([*by, "skip"]).size())
        seeds = f"{count} seeds" if count != "1" else "one seed"
        ax.set(xlim=(low, high), ylim=(len(rows) - 0.5, -0.5))
        ax.set_title(", ".join(filter(None, [name, seeds])))
        ax.set_yticks(range(len(rows)), labels if ax is axes[0] else [])
        ax.set_xlabel(f"{MEASURES[measure]} accuracy (%)")
        ax.locator_params(axis="x", nbins=5)
        ax.grid(axis="y", visible=False)
    keys = [Line2D([], [], **dot(skip), label=f"one run {SKIPS[skip]}") for skip in skips]
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
            ax.tick_params(labelleft=False)
        for i, norm in enumerate(norms):
            some = runs[runs.norm == norm]
            means = 100 * some.groupby(setting)[measure].mean()
            side = 1.06 ** (i - (len(norms) - 1) / 2)  # so that no dot hides another
            ax.plot(side * means.index, means, color=color_of(norm))
            dots = dot(True, color_of(norm), 6) | {"alpha": 0.6}
            ax.plot(side * some[setting], 100 * some[measure], **dots)
        step = 2 if len(panels) > 2 else 1  # labels of all values would run into each other
        values = sorted(set(runs[setting]))
        values = values[(len(values) - 1) % step :: step]
        ax.set(xscale="log", xlabel=label, title=name)
        ax.set_xticks(values, [f"{value:g}" for value in values], size=11)
        ax.xaxis.set_minor_locator(NullLocator())
    axes[0].set_ylabel(f"{MEASURES[measure]} accuracy (%)")
    names, grey = norms_of(every), COLORS["grey"]
    keys = [Line2D([], [], color=color_of(norm), label=describe({"norm": norm})) for norm in names]
    sizes = [runs.groupby(["norm", "skip", setting]).size() for runs in panels.values()]
    count = say_range(pd.concat(sizes))
    if count != "1":  # else the line goes through the runs themselves
        keys += [Line2D([], [], color=grey, label=f"mean of {count} seeds")]
    keys += [Line2D([], [], **dot(True, grey, 6), label="one run")]
    place_legend(figure, keys[len(names) == 1 :], len(keys))
    return finish(figure, title, every.data)


@style()
def plot_differences(
    parts: Mapping[str, pd.DataFrame],
    title: str,
    measure: str = "test_accuracy",
    data: Iterable[str] = (),
) -> Figure:
    """Draw differences of accuracy as dots on their 95 % intervals, in points.

    Args:
        parts: differences, a row each as :func:`era8.tables.differences` returns them, with what is
            compared as the index, by the title of their part; a column ``norm`` gives the colour.
        title: of the figure.
        measure: ``test_accuracy`` or ``val_accuracy``.
        data: what the runs were trained on.
    """
    height = 1.0 + 0.21 * sum(len(rows) + 1.3 for rows in parts.values())
    figure, (ax,) = new_figure(
        height, width=fit_width(map(str, pd.concat([*parts.values()]).index))
    )
    ax.axvline(0, color=COLORS["grey"], linewidth=1)
    place: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "va": "center", "size": 11}
    y, ticks = 0.0, dict[float, str]()
    for name, rows in parts.items():
        ax.annotate(name, (0.02, y), **place, weight="bold")
        for label, row in rows.iterrows():
            y += 1
            ticks[y], color = str(label), color_of(row.norm) if "norm" in row else COLORS["ink"]
            ax.plot([100 * row.low, 100 * row.high], [y, y], color=color, linewidth=1.8)
            ax.plot(100 * row.difference, y, "o", color=color, markersize=6)
            ax.annotate(row.runs, (1.01, y), **place)
        y += 1.3
    ax.set_yticks(list(ticks), list(ticks.values()), size=11)
    label = f"difference in {MEASURES[measure]} accuracy (points); lines: 95 % intervals"
    ax.set(ylim=(y, -1), xlabel=label)
    ax.grid(axis="y", visible=False)
    return finish(figure, f"{title} (right: runs of each side)", data)


def fit_width(labels: Iterable[str]) -> float:
    """Return how wide a figure is to be, in inches, for rows that have labels."""
    return max(WIDTH, 4 + 0.08 * max(map(len, labels)))


def say_range(counts: pd.Series) -> str:
    """Return the lowest and the highest of some numbers, such as ``3 to 5``, or the only one."""
    return " to ".join(map(str, dict.fromkeys([counts.min(), counts.max()])))
