"""The look that all figures share: colours of two themes, names, fonts and sizes."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from era8.checks import one_of

FULL_NAMES = {"bn": "BatchNorm", "gn": "GroupNorm", "ln": "LayerNorm"}
NAMES = {"bn": "BN", "gn": "GN", "ln": "LN", "none": "no norm"}
WIDTH = 8.3  # inches; at 100 dots per inch as wide as GitHub shows a README
SKIPS = {True: "with skips", False: "without skips"}
# Colour-blind safe: the four kinds, and right and wrong, stay apart for deuteranopes, protanopes
# and tritanopes. The paper is that of GitHub's pages.
THEMES = {
    "light": {
        "bn": "#0169b0", "gn": "#c77700", "ln": "#059a75", "none": "#484f58",
        "right": "#0b7a6f", "wrong": "#c4380b",
        "ink": "#1f2328", "grey": "#59636e", "faint": "#d8dee4", "paper": "#ffffff",
    },
    "dark": {
        "bn": "#4c9fec", "gn": "#f2a93b", "ln": "#3fd6ae", "none": "#848d97",
        "right": "#4fd1c0", "wrong": "#ff8a5c",
        "ink": "#e6edf3", "grey": "#9198a1", "faint": "#30363d", "paper": "#0d1117",
    },
}  # fmt: skip
COLORS = dict(THEMES["light"])  # of the theme that is on: to be read when a figure is drawn


def use_theme(name: str) -> None:
    """Draw figures for ``dark`` or for ``light`` pages from here on."""
    one_of("theme", name, THEMES)
    COLORS.update(THEMES[name])


@contextmanager
def theme(name: str) -> Iterator[None]:
    """Draw figures for ``dark`` or for ``light`` pages, which is on where nothing is said."""
    before = dict(COLORS)
    use_theme(name)
    try:
        yield
    finally:
        COLORS.update(before)


@contextmanager
def style() -> Iterator[None]:
    """Draw a figure in the theme that is on, whatever the user has set; ``@style()`` of a function.

    It starts from matplotlib's defaults, with the font that comes with it, so that a figure looks
    the same on every machine. All is large, for a phone shows a figure 390 pixels wide.
    """
    roles = {
        "ink": "text.color axes.labelcolor xtick.color ytick.color patch.edgecolor",
        "paper": "figure.facecolor figure.edgecolor axes.facecolor",
        "faint": "grid.color axes.edgecolor legend.edgecolor",
    }
    look: dict[str, Any] = {
        **{name: COLORS[role] for role, names in roles.items() for name in names.split()},
        **{"font.size": 12, "axes.titlesize": 13, "figure.titlesize": 14},
        **{"axes.labelsize": 12, "font.sans-serif": ["DejaVu Sans"]},
        **{"lines.linewidth": 2.4, "lines.markersize": 7, "grid.linewidth": 1.0},
        **{f"figure.constrained_layout.{pad}_pad": 0.08 for pad in "hw"},
    }
    with plt.style.context([sns.axes_style("whitegrid"), look], after_reset=True):
        yield


def new_figure(
    height: float, rows: int = 1, columns: int = 1, width: float = WIDTH
) -> tuple[Figure, list[Axes]]:
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
        warning = f"{title}\nsynthetic images, not CIFAR-10".strip()
        figure.suptitle(warning, color=COLORS["wrong"])
        figure.set_figheight(figure.get_figheight() + 0.3)  # for the line that was added
    elif title:
        figure.suptitle(title)
    return figure


def norms_of(table: pd.DataFrame) -> list[str]:
    """Return the norms that a table of runs has, in the order of ``NAMES``, and then all others."""
    there = set(table.norm)
    return [norm for norm in [*NAMES, *sorted(there - NAMES.keys())] if norm in there]


def color_of(norm: str) -> str:
    """Return the colour of a norm; one that has none is drawn as no norm is."""
    return COLORS[norm if norm in NAMES else "none"]


def describe(settings: Mapping[str, Any]) -> str:
    """Return settings in the words of figures, such as ``BN, with skips, lr=0.1``."""
    words = []
    for name, value in settings.items():
        if name == "norm":
            words.append(NAMES.get(value, value.rpartition(":")[2]))
        else:
            words.append(SKIPS[value] if name == "skip" else f"{name}={value}")
    return ", ".join(filter(None, words))


def dot(skip: bool, color: str = "", size: float = 9) -> dict[str, Any]:
    """Return the style of a dot alone: filled with skips, hollow without; grey if not told."""
    color, paper = color or COLORS["grey"], COLORS["paper"]
    face, edge, width = (color, paper, 1.0) if skip else (paper, color, size / 5)
    fill = {"markerfacecolor": face, "markeredgecolor": edge, "markeredgewidth": width}
    return {"marker": "o", "markersize": size, "color": color, "linestyle": "", **fill}


def place_legend(figure: Figure, handles: Sequence[Artist], columns: int) -> None:
    """Put a legend of at most so many columns below all axes, filled row by row."""
    columns = min(columns, len(handles))
    by_column = [handle for i in range(columns) for handle in handles[i::columns]]
    figure.legend(handles=by_column, loc="outside lower center", ncols=columns, frameon=False)
