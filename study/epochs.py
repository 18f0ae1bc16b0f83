"""The study's long runs epoch by epoch: what each norm and skip changes, and when."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from era8.figures.style import (
    COLORS,
    GREY,
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
from era8.records import load_run
from era8.tables import span
from study.effects import points
from study.runs import norm_effects, skip_effects

EARLY = 2  # epochs after which a training is early


def load_epochs(runs: pd.DataFrame) -> pd.DataFrame:
    """Return one row per run and epoch: its history, and the settings of the run.

    Args:
        runs: one row per run, as :func:`era8.load_runs` returns them.
    """
    tables = [pd.DataFrame(load_run(name).history).assign(folder=name) for name in runs.folder]
    epochs = pd.concat(tables, ignore_index=True)
    settings = runs.drop(columns=epochs.columns.intersection(runs.columns).drop("folder"))
    return settings.merge(epochs, on="folder")


def describe_lead(epochs: pd.DataFrame) -> str:
    """Return what BN has over the other norms in training accuracy, early and in the end.

    Args:
        epochs: what :func:`load_epochs` returns.
    """
    some = epochs[epochs.epoch.isin([EARLY, epochs.epoch.max()])]
    effects = norm_effects(some, "train_accuracy", by=["epoch"])
    parts = []
    for epoch, rows in effects[effects.one == "bn"].groupby("epoch"):
        leads = [f"BN − {NAMES[row.other]} {points(row)}" for row in rows.itertuples()]
        parts.append(f"after epoch {epoch} {', '.join(leads)}")
    return f"In training accuracy, in points: {'; '.join(parts)}."


@style
def plot_epochs(epochs: pd.DataFrame) -> Figure:
    """Draw training loss and accuracy by epoch, with skips: mean and range of the seeds.

    Args:
        epochs: what :func:`load_epochs` returns.
    """
    epochs = epochs[epochs["skip"]]
    figure, axes = new_figure(1, 2, WIDTH, 3.4)
    measures = {
        "train_loss": (1, "training loss"),
        "train_accuracy": (100, "training accuracy (%)"),
    }
    for ax, (measure, (unit, title)) in zip(axes, measures.items(), strict=True):
        for norm in norms_of(epochs):
            values = epochs[epochs.norm == norm].groupby("epoch")[measure]
            _draw_band(ax, unit * values.agg(["mean", "min", "max"]), COLORS[norm])
        ax.set(title=title)
    add_legend(figure, norms_of(epochs))
    seeds = span(epochs.groupby("norm").seed.nunique())
    title = f"{SKIPS[True].capitalize()}: mean of {seeds} seeds, and the range of all"
    return finish(figure, title, epochs.data)


@style
def plot_differences(epochs: pd.DataFrame) -> Figure:
    """Draw by epoch what norms and skips change in training accuracy, with 95 % intervals.

    Args:
        epochs: what :func:`load_epochs` returns.
    """
    norms = norm_effects(epochs, "train_accuracy", by=["epoch"])
    skips = skip_effects(epochs, "train_accuracy", by=["norm", "epoch"])
    figure, axes = new_figure(1, 2, WIDTH, 3.4)
    leads = {other: norms[(norms.one == "bn") & (norms.other == other)] for other in ("gn", "ln")}
    gains = {norm: skips[skips.norm == norm] for norm in norms_of(skips)}
    titles = ("BN minus GN, and minus LN", "with skips minus without")
    for ax, title, lines in zip(axes, titles, (leads, gains), strict=True):
        ax.axhline(0, color=GREY, linewidth=1)
        for norm, line in lines.items():
            columns = line.set_index("epoch")[["difference", "low", "high"]]
            _draw_band(ax, 100 * columns, COLORS[norm])
        ax.set(title=title)
    share_limits(axes)
    axes[0].set_ylabel("training accuracy (points)")
    add_legend(figure, list(gains))
    seeds = span(pd.concat([norms.seeds, skips.seeds]))
    title = f"Mean of {seeds} paired seeds, and its 95 % interval"
    return finish(figure, title, epochs.data)


def _draw_band(ax: Axes, columns: pd.DataFrame, color: str) -> None:
    """Draw a line in a band over the epochs, its index.

    Args:
        ax: where.
        columns: the line, and the lower and the upper end of the band.
        color: of both.
    """
    middle, low, high = (columns[name] for name in columns)
    ax.fill_between(columns.index, low, high, color=color, alpha=0.2, linewidth=0)
    ax.plot(columns.index, middle, color=color)
    last = columns.index.max()
    ax.set(xlabel="epoch", xticks=[1, *range(5, last, 5), last])
