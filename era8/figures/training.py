"""Figures of runs: how they trained, and what their networks confuse.

A mapping of records is drawn in its order and labelled with its keys, of which ``bn``, ``gn``,
``ln`` and ``none`` are spelled out. Each norm has one colour everywhere; runs with skips are solid
and filled, those without are dashed and hollow. The accuracies are :attr:`Record.accuracy`.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean, stdev
from typing import Any

import pandas as pd
import seaborn as sns
import torch
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from era8.data import CLASSES
from era8.evaluate import per_class_accuracy
from era8.figures.style import (
    COLORS,
    NAMES,
    SKIPS,
    color_of,
    describe,
    dot,
    finish,
    new_figure,
    place_legend,
    style,
)
from era8.records import Record
from era8.tables import percent

SOURCES = {"train": "training", "val": "validation", "test": "test"}  # as histories call them


@style()
def plot_curves(records: Mapping[str, Record | Sequence[Record]], title: str = "") -> Figure:
    """Draw loss and accuracy over the epochs: thin on training images, thick on held-out ones.

    A dot is the accuracy that a record reports. Of several records under one name, which differ in
    their seeds, the lines are the mean, and behind it each run has a faint one.
    """
    groups = {n: [some] if isinstance(some, Record) else list(some) for n, some in records.items()}
    every = [record for group in groups.values() for record in group]
    columns = 2 if len(every) > len(groups) else 3
    figure, (left, right) = new_figure(4.0 + 0.26 * ((len(groups) - 1) // columns), 1, 2)
    last = max(record.epochs for record in every)
    step = 1 if last <= 10 else 5 * math.ceil(last / 25)
    epochs = sorted({1, *range(step, last - step // 2, step), last})  # no tick beyond the last
    handles, keys, grey = [], dict[str, Line2D](), COLORS["grey"]
    for i, (name, group) in enumerate(groups.items(), start=1):
        record, measured, many = group[0], _measured(group), len(group) > 1
        runs = [pd.DataFrame(one.history).set_index("epoch").dropna(axis=1) for one in group]
        history = pd.concat(runs, join="inner").groupby("epoch").mean()
        look: dict[str, Any] = {
            "color": color_of(record.norm),
            "linestyle": "-" if record.skip else "--",
        }
        label = f"{NAMES.get(name, name)}  {_say_accuracy(group)} {measured}"
        handles.append(Line2D([], [], **look, label=label))
        if len(history) == 1:  # a line of one point would be invisible
            look |= {"marker": "_", "markersize": 16, "markeredgewidth": 2}
        # Alone, the dots stand side by side: runs end close together.
        x, key = record.epochs + 0.035 * i * max(1, last - 1), Line2D([], [], **dot(True))
        for source, words in SOURCES.items():
            thin: dict[str, Any] = {"linewidth": 1.2, "alpha": 0.7} if source == "train" else {}
            for ax, column, unit in ((left, "loss", 1), (right, "accuracy", 100)):
                if (column := f"{source}_{column}") in history:
                    for run in runs if many else ():
                        ax.plot(unit * run[column], **look, linewidth=0.7, alpha=0.35)
                    ax.plot(unit * history[column], **look, **thin)
            if f"{source}_accuracy" in history:
                keys[words] = Line2D([], [], color=grey, **thin)
                if words == measured:
                    x, key = record.epochs, Line2D([], [], color=grey, marker="o")
        dots = dot(record.skip, color_of(record.norm), 5 if many else 9)
        right.plot([x] * len(group), [100 * one.accuracy for one in group], **dots)
        keys[measured] = key
    for ax, name in ((left, "loss"), (right, "accuracy (%)")):
        ax.set(title=name, xlabel="epoch", xticks=epochs)
        ax.yaxis.set_major_locator(_ticks())
        if last == 1:
            ax.set(xlim=(0.5, 1.5))
    right.legend(keys.values(), keys.keys(), loc="lower right")
    place_legend(figure, handles, columns)
    return finish(figure, title, (record.data for record in every))


@style()
def plot_confusion(record: Record) -> Figure:
    """Draw which class is confused with which, in percent of the true class."""
    counts = torch.tensor(record.confusion)
    shares = (100 * counts / counts.sum(1, keepdim=True).clamp(min=1)).numpy()
    figure, (ax,) = new_figure(6.2)
    sns.heatmap(
        shares, ax=ax, annot=True, fmt=".0f", annot_kws={"color": COLORS["ink"]}, cbar=False,
        cmap=sns.blend_palette([COLORS["paper"], color_of(record.norm)], as_cmap=True),
        # Bent so that mistakes of a few percent are seen; ends above 100 so that text is readable.
        norm=PowerNorm(0.6, 0, 150), linewidths=0.5, linecolor=COLORS["faint"],
        xticklabels=CLASSES, yticklabels=CLASSES,
    )  # fmt: skip
    for cell, text in enumerate(ax.texts):
        if cell % (len(CLASSES) + 1) == 0:
            text.set(weight="bold", fontsize=14)
        elif text.get_text() == "0":
            text.set_color(COLORS["faint"])
    ax.set_xticks(ax.get_xticks(), CLASSES, rotation=30, ha="right", rotation_mode="anchor")
    ax.set(xlabel="predicted class", ylabel="true class")
    name = f"{describe({'norm': record.norm}) or record.model} {SKIPS[record.skip]}"
    title = f"{name}: {percent(record.accuracy)} {_measured([record])} accuracy"
    return finish(figure, f"{title} (cells: % of the true class)", [record.data])


@style()
def plot_per_class(records: Mapping[str, Record]) -> Figure:
    """Draw the accuracy on each class, the classes sorted by their mean over the records."""
    confusions = {name: torch.tensor(record.confusion) for name, record in records.items()}
    table = 100 * pd.DataFrame({name: per_class_accuracy(c) for name, c in confusions.items()})
    table = table.loc[table.mean(axis=1).sort_values().index]
    figure, (ax,) = new_figure(4.6)
    handles = []
    for i, (name, record) in enumerate(records.items()):
        dodge = 0.36 * ((len(records) - 1) / 2 - i) / len(records)  # so that no dot hides another
        look = dot(record.skip, color_of(record.norm))
        ax.plot(table[name], [row + dodge for row in range(len(table))], **look)
        handles.append(Line2D([], [], **look, label=NAMES.get(name, name)))
    means = [f"{name}  {mean:.0f} %" for name, mean in table.mean(axis=1).items()]
    _set_rows(ax, means, records.values())
    place_legend(figure, handles, 3)
    title = "Accuracy by class" + (" (numbers: mean of the runs)" if len(records) > 1 else "")
    return finish(figure, title, (record.data for record in records.values()))


@style()
def plot_skips(records: Iterable[Record]) -> Figure:
    """Draw, for each norm, the accuracy without and with skips and the difference in points.

    Of several records with one norm and choice of ``skip``, which differ in their seeds, the large
    dot is the mean and a small one each run. One of the two choices may be missing.
    """
    cells: dict[str, dict[bool, list[Record]]] = {}
    for record in records:
        cells.setdefault(record.norm, {}).setdefault(record.skip, []).append(record)
    figure, (ax,) = new_figure(1.6 + 0.75 * len(cells))
    text: dict[str, Any] = {"textcoords": "offset points", "va": "center"}
    for row, (norm, pair) in enumerate(cells.items()):
        means = {skip: fmean(record.accuracy for record in some) for skip, some in pair.items()}
        order, color = sorted(pair, key=lambda skip: (means[skip], skip)), color_of(norm)
        bar = [100 * means[skip] for skip in order]
        ax.plot(bar, [row] * len(order), color=color, linewidth=3, alpha=0.5)
        for skip in order:
            values, look = [100 * record.accuracy for record in pair[skip]], dot(skip, color, 6)
            if len(values) > 1:
                ax.plot(values, [row] * len(values), **look, alpha=0.6)
            ax.plot(100 * means[skip], row, **dot(skip, color, 12))
            left = skip is order[0] and len(order) > 1  # numbers face outwards
            end, place = (min(values), (-11, 0)) if left else (max(values), (11, 0))
            align = "right" if left else "left"
            ax.annotate(percent(means[skip], 2), (end, row), place, ha=align, **text)
        if len(order) > 1:
            points = f"{100 * (means[True] - means[False]):+z.2f} points"
            middle = (50 * (means[True] + means[False]), row)
            ax.annotate(points, middle, (0, 16), ha="center", weight="bold", fontsize=13, **text)
    drawn = [record for pair in cells.values() for some in pair.values() for record in some]
    low, high = (100 * limit(record.accuracy for record in drawn) for limit in (min, max))
    margin = max(2.0, 0.25 * (high - low))  # so that a tiny difference does not look large
    _set_rows(ax, [describe({"norm": norm}) for norm in cells], drawn)
    ax.set(xlim=(low - margin, high + margin), ylim=(len(cells) - 0.5, -0.7))
    ax.grid(axis="y", visible=False)
    skips = sorted({record.skip for record in drawn})
    place_legend(figure, [Line2D([], [], **dot(skip), label=SKIPS[skip]) for skip in skips], 2)
    title = "What the skips change" if len(skips) == 2 else f"Accuracy {SKIPS[skips[0]]}"
    single = len(drawn) == sum(map(len, cells.values()))
    said = "one seed per dot" if single else "large dots: means, small dots: single seeds"
    return finish(figure, f"{title} ({said})", (record.data for record in drawn))


def _set_rows(ax: Axes, labels: Sequence[str], records: Iterable[Record]) -> None:
    """Let the axes have a row for each label, over the accuracy of the records."""
    ax.set_yticks(range(len(labels)), labels)
    ax.xaxis.set_major_locator(_ticks())
    ax.set_xlabel(f"{_measured(records)} accuracy (%)")
    ax.spines[["top", "right", "left"]].set_visible(False)


def _say_accuracy(records: Sequence[Record]) -> str:
    """Return the accuracy of runs in percent; of several their mean and standard deviation."""
    accuracies = [record.accuracy for record in records]
    if len(accuracies) == 1:
        return percent(accuracies[0])
    return f"{100 * fmean(accuracies):.1f} ± {percent(stdev(accuracies))}"


def _ticks() -> MaxNLocator:
    """Place ticks at round numbers; matplotlib's own choice depends on the user's font size."""
    return MaxNLocator(7, steps=[1, 2, 5, 10])


def _measured(records: Iterable[Record]) -> str:
    """Return on which images the accuracies of all records were measured."""
    kinds = {"validation" if record.test_accuracy is None else "test" for record in records}
    return " or ".join(sorted(kinds))
