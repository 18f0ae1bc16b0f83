"""What norms and skips change: accuracies, epoch by epoch, without a norm, and single runs."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from era8 import figures
from era8.data import load_cifar10
from era8.figures.style import (
    COLORS,
    FULL_NAMES,
    NAMES,
    SKIPS,
    finish,
    new_figure,
    norms_of,
    place_legend,
    style,
)
from era8.records import Record, load_run
from era8.tables import differences, percent
from study.effects import measure
from study.runs import load_history, load_part
from study.statistics import UNTRAINED, holm, say_mean

LEADS = (  # of BatchNorm, where the runs also tell what they reach on the training images
    "lead_2", "lead_5", "lead", "lead_38", "lead_half", "lead_quarter", "dilated", "lead_adamw",
    "lead_plain_adamw", "lead_sgd", "lead_lower_sgd", "lead_plain_sgd", "lead_deep_sgd",
    "batch_lead_sgd",
)  # fmt: skip


def numbers() -> dict[str, Any]:
    """Return what the pages say of norms and skips, but for the effects."""
    long, bare = load_part("long"), load_bare()
    cells = long[long.norm != "none"].groupby(["norm", "skip"]).test_accuracy
    return {
        "results": tabulate(pd.concat([long[long.norm != "none"], bare])),
        "mean": cells.mean(),
        "std": cells.std().max(),
        "seeds_bare": bare.groupby("skip").size().min(),
        "seeds": cells.size().min(),
        "rates": {"bn": f"{long.lr.max():g}", "none": f"{bare.lr.max():g}"},
        "best": best_epochs().assign(gain=lambda table: table.best - table["last"]),
        "depth_other": load_part("depth_other").test_accuracy.mean(),
        "start": count_learning(),
        "gpu_seconds": long.groupby("norm").train_seconds.mean(),
    }


def tabulate(runs: pd.DataFrame) -> pd.DataFrame:
    """Return mean and standard deviation of the test accuracy in percent, a row per norm."""
    reached = runs.groupby(["norm", "skip"]).test_accuracy.agg(say_mean).unstack()
    names = {n: f"{FULL_NAMES[n]} ({NAMES[n]})" if n in FULL_NAMES else NAMES[n] for n in NAMES}
    columns = {"with skips": reached[True], "without": reached[False]}
    return pd.DataFrame(columns).loc[norms_of(runs)].rename(index=names).reset_index(names="")


def load_bare() -> pd.DataFrame:
    """Return the long runs without a norm, with torch's initialisation and no weight decay."""
    return load_part("bare").query("weight_decay == 0")


def tabulate_bare() -> pd.DataFrame:
    """Return the results without a norm, by initialisation and weight decay."""
    runs = load_part("long", "bare").query("norm == 'none'")
    kinds = runs.init.map({"he": "He et al.", "torch": "PyTorch's own"})
    kinds += runs.weight_decay.map(lambda decay: ", " + ("" if decay else "no ") + "weight decay")
    return pd.concat(tabulate(some).assign(**{"": kind}) for kind, some in runs.groupby(kinds))


def best_epochs() -> pd.DataFrame:
    """Return by norm the test accuracy of the last epoch, and of the best one by the test set.

    Column ``runs`` counts all runs, ``is_last`` those whose last epoch is the best one.
    """
    epochs = load_history("long").groupby(["norm", "folder"]).test_accuracy
    runs = pd.DataFrame({"last": epochs.last(), "best": epochs.max()})
    runs["is_last"] = runs.best == runs["last"]
    table = runs.groupby("norm").agg({"last": "mean", "best": "mean", "is_last": "sum"})
    return table.assign(runs=runs.groupby("norm").size()).loc[list(NAMES)]


def leads_by_epoch() -> pd.DataFrame:
    """Return what BN has over GN and LN after each epoch, with its interval: watched, not chosen.

    Columns as of :func:`era8.tables.differences`, ``epoch`` and ``p_holm``.
    """
    runs, pairs = load_history("long").query("norm != 'none'"), [("bn", "gn"), ("bn", "ln")]
    table = differences(runs, "norm", pairs, by="epoch", free=["skip"])
    return table.assign(p_holm=holm(table.p))


def count_learning() -> pd.Series:
    """Return how many networks without a norm and without skips learn, such as ``1 of 5``.

    By initialisation and weight decay, such as ``torch, decay``.
    """
    runs = load_part("start").query("not skip")
    kinds = runs.init + runs.weight_decay.map(lambda decay: ", decay" if decay else "")
    learns = (runs.val_accuracy >= UNTRAINED).groupby(kinds)
    return learns.sum().astype(str) + " of " + learns.size().astype(str)


def draw_skips() -> Figure:
    """Draw every long run, and beside them those of a network twice as deep."""
    panels = {
        "11, Muon": load_part("long").query("norm != 'none'"),
        "20, Muon": load_part("depth"),
        "20, SGD": load_part("sgd_depth"),
    }
    return figures.plot_dots(panels, "20 convolutions need skips more than 11, above all with SGD")


@style()
def draw_lead() -> Figure:
    """Draw what BN has over the others after each epoch."""
    table = leads_by_epoch()
    figure, (ax,) = new_figure(3.8)
    ax.axhline(0, color=COLORS["grey"], linewidth=1)
    for norm in ("gn", "ln"):
        some, color = table[table.other == norm], COLORS[norm]
        ax.plot(some.epoch, 100 * some.difference, color=color, label=f"over {NAMES[norm]}")
        band = ax.fill_between(some.epoch, 100 * some.low, 100 * some.high, color=color, alpha=0.2)
    band.set_label(f"95 % interval ({table.runs[0].split(', ')[0]} runs of each norm)")
    ax.set(xlabel="epoch", ylabel="BN's lead (points)", xticks=range(1, 20, 3))
    place_legend(figure, [*ax.get_lines()[1:], band], 3)
    return finish(figure, "BatchNorm's lead in test accuracy after each epoch", [])


@style()
def draw_fit() -> Figure:
    """Draw each of BN's leads on the test images against that on the training images."""
    sides = "train_accuracy_eval", "test_accuracy"
    tables = [pd.concat(measure(name, of) for name in LEADS) for of in sides]
    figure, (ax,) = new_figure(4.6)
    ax.axline((0, 0), slope=1, linestyle=":", color=COLORS["grey"])
    for norm in ("gn", "ln"):
        some = (100 * table.loc[table.other == norm, ["difference", "low"]] for table in tables)
        (x, x_low), (y, y_low) = (table.to_numpy().T for table in some)
        color, label = COLORS[norm], f"over {NAMES[norm]}"
        ax.errorbar(x, y, y - y_low, x - x_low, "o", color=color, elinewidth=1, label=label)
    ax.set(xlabel="BN's lead on the training images (points)", ylabel="on the test images (points)")
    place_legend(figure, ax.get_legend_handles_labels()[0], 2)
    return finish(figure, "Where BatchNorm leads, it fits the training images better", [])


def list_examples() -> dict[str, Callable[[], Figure]]:
    """Return what draws each norm's curves, mistakes and confusion, from its notebook's runs."""
    kinds = {"curves": draw_curves, "misclassified": draw_mistakes, "confusion": draw_confusion}
    return {f"{n}_{kind}": partial(draw, n) for n in FULL_NAMES for kind, draw in kinds.items()}


def load_example(norm: str, skip: bool = True) -> Record:
    """Return the record of a run that is shown in a norm's notebook."""
    runs = load_part("notebooks").query("norm == @norm and skip == @skip")
    return load_run(runs.folder.item())


def draw_curves(norm: str) -> Figure:
    """Draw loss and accuracy over the epochs, with and without skips, and the mean of all seeds."""
    one, other = (load_example(norm, skip) for skip in SKIPS)
    figure = figures.plot_curves({"with skips": one, "without": other})
    here, mean = one.accuracy - other.accuracy, measure("skips").difference[NAMES[norm]]
    many = load_history("long").query("norm == @norm").groupby(["skip", "epoch"])
    losses, accuracies = many.test_loss.mean(), 100 * many.test_accuracy.mean()
    for ax, curves in zip(figure.axes, (losses, accuracies), strict=True):
        for skip, line in ((True, "-"), (False, "--")):
            ax.plot(curves[skip], line, color=COLORS["ink"], linewidth=1, zorder=5)
    seeds = many.size().max()
    title = f"{FULL_NAMES[norm]}, one seed: skips add {100 * here:+z.1f} points"
    title += f"; mean of {seeds} (thin, dark): {100 * mean:+z.1f}"
    figure.suptitle(title, color=COLORS["ink"])
    return figure


def draw_mistakes(norm: str) -> Figure:
    """Draw the ten most costly mistakes on the test images."""
    mistakes = pd.DataFrame(load_example(norm).misclassified)
    return figures.plot_misclassified(load_cifar10(device="cpu").test, mistakes)


def draw_confusion(norm: str) -> Figure:
    """Draw which class is confused with which."""
    record = load_example(norm)
    figure = figures.plot_confusion(record)
    runs = load_part("long").query("norm == @norm and skip").test_accuracy
    title = f"{NAMES[norm]} with skips, one seed: {percent(record.accuracy)} test accuracy"
    title += f" (mean of {len(runs)}: {percent(runs.mean())})"
    figure.suptitle(title + "\ncells: % of the true class", color=COLORS["ink"])
    return figure
