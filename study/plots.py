"""The figures of the study's runs; colours and lines are those of :mod:`era8.figures.training`."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import NullLocator

from era8.figures.style import (
    COLORS,
    GREY,
    LOOK,
    NAMES,
    SKIPS,
    WIDTH,
    add_legend,
    finish,
    new_figure,
    norms_of,
    share_limits,
    style,
)  # fmt: skip
from era8.tables import span
from study.effects import UNTRAINED
from study.runs import norm_effects, skip_effects


@style
def plot_accuracies(runs: pd.DataFrame) -> Figure:
    """Draw the test accuracy of each run: a row per norm, with and without skips.

    Args:
        runs: one row per run, as :func:`era8.load_runs` returns them.
    """
    figure, (ax,) = new_figure(1, 1, WIDTH, 3.2)
    norms = norms_of(runs)
    for y, norm in enumerate(norms):
        for skip, shift in ((True, -0.16), (False, 0.16)):
            values = runs[(runs.norm == norm) & (runs["skip"] == skip)].test_accuracy
            learnt = 100 * values[values >= UNTRAINED]
            look = {**LOOK[skip], "linestyle": "", "color": COLORS[norm], "markersize": 8}
            ax.plot(learnt, [y + shift] * len(learnt), **look, alpha=0.8)
            if len(learnt) < len(values):
                stuck = f"{len(values) - len(learnt)} of {len(values)} learn nothing"
                ax.annotate(stuck, (0.01, y + shift), xycoords=("axes fraction", "data"),
                            va="center", color=COLORS[norm], fontsize=11)  # fmt: skip
    ax.set_yticks(range(len(norms)), [NAMES[norm] for norm in norms], fontsize=12)
    ax.set(ylim=(len(norms) - 0.5, -0.5), xlabel="test accuracy (%)")
    learnt = 100 * runs.test_accuracy[runs.test_accuracy >= UNTRAINED]
    if len(learnt):  # a point more on both sides, so that tiny differences do not look large
        low, high = learnt.min() - 1, learnt.max() + 1
        ax.set_xlim(low - 0.3 * (high - low) * (len(learnt) < len(runs)), high)  # room for words
    ax.grid(axis="y", visible=False)
    add_legend(figure, [], skips=True)
    seeds, epochs = span(runs.groupby(["norm", "skip"]).seed.nunique()), runs.epochs.iloc[0]
    title = f"{runs.model.iloc[0]}: a dot for each of {seeds} seeds, after {epochs} epochs"
    return finish(figure, title, runs.data)


@style
def plot_effects(runs: pd.DataFrame) -> Figure:
    """Draw mean paired differences with their 95 % intervals: what skips do, and what norms do.

    Args:
        runs: one row per run, as :func:`era8.load_runs` returns them.
    """
    skips = skip_effects(runs)
    tables = {"with skips minus without": skips, "one norm minus another": norm_effects(runs)}
    rows = max(map(len, tables.values()))
    figure, axes = new_figure(1, len(tables), WIDTH, 1.7 + 0.5 * rows)
    for ax, (title, table) in zip(axes, tables.items(), strict=True):
        ax.axvline(0, color=GREY, linewidth=1)
        labels = []
        for y, row in enumerate(table.itertuples()):
            kind = row.norm if table is skips else row.one
            labels.append(NAMES[kind] + ("" if table is skips else f" − {NAMES[row.other]}"))
            middle, low, high = 100 * row.difference, 100 * row.low, 100 * row.high
            ax.plot([low, high], [y, y], color=COLORS[kind], linewidth=3, solid_capstyle="butt")
            ax.plot(middle, y, "o", color=COLORS[kind], markersize=8)
            ax.annotate(
                f"{middle:+z.1f}", (middle, y), (0, 7), textcoords="offset points", ha="center",
                weight="bold", path_effects=[withStroke(linewidth=3, foreground="w")],
            )  # fmt: skip
        ax.set_yticks(range(len(table)), labels, fontsize=11)
        ax.set(ylim=(len(table) - 0.5, -0.7), title=title, xlabel="test accuracy (points)")
        ax.margins(x=0.1)
        ax.grid(axis="y", visible=False)
    seeds = span(pd.concat([table.seeds for table in tables.values()]))
    title = (
        f"After {runs.epochs.iloc[0]} epochs: mean of {seeds} paired seeds, and its 95 % interval"
    )
    return finish(figure, title, runs.data)


@style
def plot_learning_rates(runs: pd.DataFrame) -> Figure:
    """Draw validation accuracy against the learning rate: a line per norm, with and without skips.

    Args:
        runs: one row per run, as :func:`era8.load_runs` returns them, with ``val_accuracy``.
    """
    figure, axes = new_figure(1, 2, WIDTH, 3.7)
    for ax, skip in zip(axes, (True, False), strict=True):
        for norm in norms_of(runs):
            line = runs[(runs.norm == norm) & (runs["skip"] == skip)].sort_values("lr")
            ax.plot(
                line.lr, 100 * line.val_accuracy.astype(float), color=COLORS[norm], **LOOK[skip]
            )
        _label(ax, runs, "lr", "learning rate")
        ax.set(title=SKIPS[skip], ylabel="", ylim=(0, None))
    share_limits(axes)
    axes[0].set_ylabel("validation accuracy (%)")
    if runs.groupby(["norm", "skip"]).size().nunique() > 1:
        axes[0].annotate(
            "a line that ends: the loss was not finite", (0.03, 0.03), xycoords="axes fraction",
            fontsize=9, color=GREY,
        )  # fmt: skip
    epochs = runs.epochs.iloc[0]
    add_legend(figure, norms_of(runs))
    return finish(figure, f"Accuracy after {epochs} epochs, by learning rate", runs.data)


@style
def plot_groups(runs: pd.DataFrame) -> Figure:
    """Draw the accuracy of GroupNorm by its number of groups; LayerNorm has one.

    Args:
        runs: of GN and LN, one row per run, as :func:`era8.load_runs` returns them.
    """
    figure, (ax,) = new_figure(1, 1, WIDTH, 3.4)
    runs = runs.assign(groups=runs.groups.where(runs.norm == "gn", 1))
    ax.plot(*_means(runs[runs["skip"]], "groups"), color=COLORS["gn"])
    for skip in (True, False):
        some = runs[runs["skip"] == skip]
        for norm in norms_of(some):
            _draw_seeds(ax, some[some.norm == norm], "groups", skip)
    _label(ax, runs, "groups", "groups of channels")
    seeds = runs.groupby(["skip", "groups"]).seed.nunique().min()
    add_legend(figure, norms_of(runs), skips=True)
    return finish(figure, f"Accuracy by groups: mean of {seeds} seeds, a dot for each", runs.data)


@style
def plot_batch_sizes(runs: pd.DataFrame) -> Figure:
    """Draw the accuracy of each norm by the number of images in a batch of training.

    Args:
        runs: one row per run, as :func:`era8.load_runs` returns them.
    """
    figure, (ax,) = new_figure(1, 1, WIDTH, 3.4)
    norms = norms_of(runs)
    for i, norm in enumerate(norms):
        line = runs[runs.norm == norm]
        side = 1.05 ** (i - (len(norms) - 1) / 2)  # so that the dots are side by side
        line = line.assign(batch_size=side * line.batch_size)
        ax.plot(*_means(line, "batch_size"), color=COLORS[norm])
        _draw_seeds(ax, line, "batch_size")
    _label(ax, runs, "batch_size", "images in a batch, in training")
    seeds = span(runs.groupby(["norm", "batch_size"]).seed.nunique())
    add_legend(figure, norms)
    title = (
        f"Accuracy after {runs.epochs.iloc[0]} epochs by size of batch: mean of {seeds} seeds, "
        "a dot for each"
    )
    return finish(figure, title, runs.data)


def _means(runs: pd.DataFrame, setting: str) -> tuple[pd.Index, pd.Series]:
    """Return the values of a setting and the mean test accuracy at each, in percent."""
    means = 100 * runs.groupby(setting).test_accuracy.mean()
    return means.index, means


def _draw_seeds(ax: Axes, runs: pd.DataFrame, setting: str, skip: bool = True) -> None:
    """Draw the accuracy of each run of one norm as a dot."""
    look = {**LOOK[skip], "linestyle": "", "color": COLORS[runs.norm.iloc[0]], "markersize": 6}
    ax.plot(runs[setting], 100 * runs.test_accuracy, **look, alpha=0.6)


def _label(ax: Axes, runs: pd.DataFrame, setting: str, label: str) -> None:
    """Label a logarithmic axis with the values that were tried."""
    values = sorted(set(runs[setting]))
    ax.set(xscale="log", xlabel=label, ylabel="test accuracy (%)")
    ax.set_xticks(values, [f"{value:g}" for value in values])
    ax.xaxis.set_minor_locator(NullLocator())
