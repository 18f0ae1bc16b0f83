"""The look that all figures share: colours, names, fonts and sizes."""

from collections.abc import Iterable, Sequence
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

FULL_NAMES = {"bn": "BatchNorm", "gn": "GroupNorm", "ln": "LayerNorm"}
NAMES = {"bn": "BN", "gn": "GN", "ln": "LN", "none": "no norm"}
COLORS = {"bn": "#0173b2", "gn": "#de8f05", "ln": "#029e73", "none": "#6b6b6b"}  # colour-blind safe
RIGHT, WRONG, GREY = "#1a7f37", "#c0261c", "#555555"
WIDTH = 8.3  # inches; at 100 dots per inch as wide as GitHub shows a README
SKIPS = {True: "with skips", False: "without skips"}
LOOK: dict[bool, dict[str, Any]] = {  # of lines, with skips and without
    True: {"linestyle": "-", "marker": "o", "markersize": 5},
    False: {"linestyle": "--", "marker": "o", "markersize": 5, "markerfacecolor": "w"},
}

# From matplotlib's defaults on, and with the font that comes with it, so that a figure looks the
# same on every machine and under any style that the user has set. Used as a decorator.
style = plt.style.context(
    [
        sns.axes_style("whitegrid"),
        {"font.sans-serif": ["DejaVu Sans"], "grid.color": ".9", "axes.edgecolor": ".75"},
        {"axes.titlesize": 11, "figure.titlesize": 12, "axes.labelsize": 10.5},
        {"figure.constrained_layout.h_pad": 0.07, "figure.constrained_layout.w_pad": 0.07},
    ],
    after_reset=True,
)


def new_figure(rows: int, columns: int, width: float, height: float) -> tuple[Figure, list[Axes]]:
    """Make a figure with its axes row by row, in inches.

    Pyplot makes it, for Jupyter shows no other figures, and forgets it at once, so that Jupyter
    shows it only where it is the value of a cell.
    """
    figure, grid = plt.subplots(
        rows, columns, figsize=(width, height), layout="constrained", squeeze=False
    )
    plt.close(figure)
    return figure, list(grid.flat)


def finish(figure: Figure, title: str, data: Iterable[str]) -> Figure:
    """Return the figure with a title, which warns where any of the data is synthetic."""
    if "synthetic" in set(data):
        figure.suptitle(f"{title}\nsynthetic pictures, not CIFAR-10".strip(), color=WRONG)
        figure.set_figheight(figure.get_figheight() + 0.25)  # for the line that was added
    elif title:
        figure.suptitle(title)
    return figure


def norms_of(table: pd.DataFrame) -> list[str]:
    """Return the norms that a table of runs has, in the order of ``NAMES``."""
    return [norm for norm in NAMES if norm in set(table.norm)]


def share_limits(axes: Sequence[Axes]) -> None:
    """Give axes side by side the same limits of y."""
    limits = [ax.get_ylim() for ax in axes]
    for ax in axes:
        ax.set_ylim(min(low for low, _ in limits), max(high for _, high in limits))


def add_legend(
    figure: Figure, norms: Sequence[str], *more: Line2D, skips: bool = False, bars: bool = False
) -> None:
    """Add one legend below all axes: a line or a bar per norm, and what else is given."""
    thick: dict[str, Any] = {"linewidth": 8} if bars else {}
    handles = [Line2D([], [], color=COLORS[n], label=NAMES[n], **thick) for n in norms]
    if skips:
        handles += [Line2D([], [], color=GREY, **LOOK[s], label=name) for s, name in SKIPS.items()]
    handles += more
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False)
