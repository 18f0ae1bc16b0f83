"""The figures of the benchmark, from its results alone."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from benchmarks.report import LABELS, compare
from benchmarks.results import describe_seconds, find_goal, find_rows
from era8.figures.style import COLORS, GREY, NAMES, WIDTH, finish, new_figure, style
from era8.recipe import ACCURACY_GOAL
from era8.tables import percent

LOOP_COLORS = {"course": "#949494", "tuned": "#ca9161", "airbench": "#cc78bc", "era8": COLORS["bn"]}
MARKERS = {"course": "s", "tuned": "D", "airbench": "^", "era8": "o"}


def draw_all(results: dict[str, Any]) -> dict[str, Figure]:
    """Return every figure that there are measurements for, by name."""
    figures = {
        "throughput": plot_throughput(results),
        "roofline": plot_roofline(results),
        "batch_size": plot_batch_size(results),
    }
    if len(find_rows(results, "race")):
        figures["race"] = plot_race(results)
    return figures


@style
def plot_throughput(results: dict[str, Any]) -> Figure:
    """Draw the images per second of each loop and norm, and how many times as fast era8 is."""
    table = compare(results)
    figure, (ax,) = new_figure(1, 1, WIDTH, 1.3 + 0.45 * len(table))
    spread = [table.images_per_second - table.slowest, table.fastest - table.images_per_second]
    colors = [_color(row) for row in table.itertuples()]
    ax.barh(range(len(table)), table.images_per_second, 0.7, xerr=spread, color=colors, ecolor=".2")
    for y, row in enumerate(table.itertuples()):
        text = f"{row.images_per_second:,.0f}"
        text += "" if row.loop == "era8" else f"   era8: {row.ratio:.1f} ×"
        ax.annotate(
            text, (row.fastest, y), (6, 0), textcoords="offset points", va="center", weight="bold",
            fontsize=11,
        )  # fmt: skip
    ax.set_yticks(range(len(table)), [_name(row) for row in table.itertuples()], fontsize=11)
    ax.set(xlabel="training images per second", xlim=(0, 1.35 * table.fastest.max()))
    ax.set_ylim(len(table) - 0.5, -0.5)
    ax.xaxis.set_major_formatter(FuncFormatter("{:,.0f}".format))
    ax.grid(axis="y", visible=False)
    ax.spines[["top", "right", "left"]].set_visible(False)
    title = "Training speed"
    for ratio in table[table.loop == "course"].ratio[:1]:
        title = f"era8 trains {ratio:.1f} times as fast as the usual course loop"
    return finish(figure, title, [])


@style
def plot_roofline(results: dict[str, Any]) -> Figure:
    """Draw the operations per second of each loop below what memory and arithmetic allow.

    After Williams, Waterman and Patterson 2009 (doi 10.1145/1498765.1498785).
    """
    table, peaks = compare(results), find_rows(results, "peaks")
    peaks = peaks.groupby("precision", sort=False)[["flops_per_second", "bytes_per_second"]]
    roofs = peaks.median() / 1e9
    figure, (ax,) = new_figure(1, 1, WIDTH, 4.6)
    ridges = roofs.flops_per_second / roofs.bytes_per_second
    low = min(table.intensity.min() / 4, ridges.min() / 8)
    high = 6 * max(table.intensity.max(), ridges.max())
    x = np.geomspace(low, high, 400)
    for roof in roofs.itertuples():
        ax.plot(x, np.minimum(x * roof.bytes_per_second, roof.flops_per_second), color=GREY)
        name = f"{roof.Index} peak: {roof.flops_per_second:,.0f} GFLOP/s"
        ax.annotate(name, (high, roof.flops_per_second), (0, 4), ha="right", **_OFFSET)
    middle, speed = low**0.35 * ridges.min() ** 0.65, roofs.bytes_per_second.iloc[0]
    name = f"memory: {speed:,.0f} GB/s"
    ax.annotate(name, (middle, middle * speed), (-8, 4), ha="right", **_OFFSET)
    for row in table.itertuples():
        ax.plot(
            row.intensity, row.performance / 1e9, MARKERS[row.loop], color=_color(row),
            markersize=10, markeredgecolor="w", linestyle="",
            label=f"{_name(row)}  {percent(row.share, 0)} of the roof",
        )  # fmt: skip
    ax.set(xscale="log", yscale="log", xlim=(low, high))
    ax.set(xlabel="operations per byte, if nothing stays in a cache", ylabel="GFLOP per second")
    ax.set_ylim(table.performance.min() / 4e9, 1.6 * roofs.flops_per_second.max())
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
        axis.set_minor_locator(NullLocator())
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    share = percent(table[table.loop == "era8"].share.iloc[0], 0)
    return finish(figure, f"era8 reaches {share} of what this machine allows", [])


@style
def plot_batch_size(results: dict[str, Any]) -> Figure:
    """Draw the images per second of era8 with BatchNorm against batch size and threads."""
    rows = find_rows(results, "speed")
    rows = rows[(rows.loop == "era8") & (rows.norm == "bn")]
    batch_sizes = rows[rows.threads == results["threads"]]
    threads = rows[rows.batch_size == results["batch_size"]]
    several = threads.threads.nunique() > 1  # not on a GPU
    figure, axes = new_figure(1, 2 if several else 1, WIDTH, 3.4)
    _draw_sweep(axes[0], batch_sizes, "batch_size", "batch size", results["batch_size"])
    if several:
        _draw_sweep(axes[1], threads, "threads", "threads", results["threads"])
    axes[0].set_ylabel("training images per second")
    return finish(figure, "era8 with BatchNorm (hollow: its default; bars: all rounds)", [])


def _draw_sweep(ax: Axes, rows: pd.DataFrame, column: str, label: str, default: int) -> None:
    """Draw median, lowest and highest images per second over the values of a column."""
    rates = rows.groupby(column).images_per_second.agg(["median", "min", "max"])
    x, spread = rates.index, [rates["median"] - rates["min"], rates["max"] - rates["median"]]
    ax.errorbar(x, rates["median"], spread, marker="o", color=COLORS["bn"], capsize=3)
    ax.plot(default, rates["median"][default], "o", **_HOLLOW)
    for value, rate in rates.iterrows():
        text = f"{rate['median']:,.0f}"
        ax.annotate(text, (value, rate["max"]), (0, 8), ha="center", **_OFFSET)
    ax.set(xscale="log", xlabel=label, ylim=(0, 1.2 * rates["max"].max()))
    ax.set_xticks(list(x), [f"{value:,}" for value in x])
    ax.xaxis.set_minor_locator(NullLocator())
    ax.margins(x=0.12)
    ax.yaxis.set_major_formatter(FuncFormatter("{:,.0f}".format))


@style
def plot_race(results: dict[str, Any]) -> Figure:
    """Draw the accuracy on held-out images against the seconds of training."""
    figure, (ax,) = new_figure(1, 1, WIDTH, 4.2)
    goal = 100 * ACCURACY_GOAL
    ax.axhline(goal, color=GREY, linestyle="--", linewidth=1)
    for row in find_rows(results, "race").itertuples():
        history, passed = pd.DataFrame(row.history), find_goal(row.history)
        reached = f"{goal:.0f} % after {describe_seconds(passed)}" if passed else "not there yet"
        look: dict[str, Any] = {"color": LOOP_COLORS[row.loop], "marker": MARKERS[row.loop]}
        ax.plot(
            history.seconds, 100 * history.accuracy, **look, markersize=5, linewidth=2,
            label=f"{LABELS[row.loop]}: {reached}",
        )  # fmt: skip
        if passed:
            at = history[history.seconds == passed].iloc[0]
            ax.plot(passed, 100 * at.accuracy, **look, markersize=13, markeredgecolor="k")
    ax.set(xlabel="seconds of training", ylabel="accuracy on held-out images (%)", xlim=(0, None))
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    return finish(figure, f"The race to {goal:.0f} % (a mark for each epoch; one seed)", [])


_OFFSET: dict[str, Any] = {"textcoords": "offset points", "fontsize": 9.5}
_HOLLOW: dict[str, Any] = {
    "markerfacecolor": "w", "markeredgecolor": COLORS["bn"], "markersize": 11,
    "markeredgewidth": 2.5, "zorder": 5,
}  # fmt: skip


def _name(row: Any) -> str:
    return f"{LABELS[row.loop]}, {NAMES[row.norm]}"


def _color(row: Any) -> str:
    return COLORS[row.norm] if row.loop == "era8" else LOOP_COLORS[row.loop]
