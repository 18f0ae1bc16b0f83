"""The most accurate network under the limits: what was tried, and what the winner reaches."""

import pandas as pd
from matplotlib.figure import Figure

from era8.data import TRAIN_IMAGES
from era8.figures.style import (
    COLORS,
    FULL_NAMES,
    GREY,
    NAMES,
    WIDTH,
    finish,
    new_figure,
    norms_of,
    style,
)
from era8.recipe import PARAMETER_LIMIT
from era8.tables import load_runs, percent
from study.runs import RESULTS
from study.tables import describe_time

CANDIDATES = RESULTS / "candidates.csv"  # written by python -m study.candidates
FOLDER = RESULTS / "accurate"  # the records of the winner's runs
LIMIT = RESULTS / "limit"  # and of one that was trained for longer than is allowed
GITHUB = "https://github.com"
PEERS = (  # what they say of themselves: parameters, epochs, BN, GN, LN; one run each
    f"[woncoh1/era1a8]({GITHUB}/woncoh1/era1a8) | 48,136 | ≤ 20 | 81.67 | 74.97 | 73.70",
    f"[amitdoda1983/ERA-S8]({GITHUB}/amitdoda1983/ERA-S8) | 48,552 | ≤ 20 | 80.66 | 77.53 | 77.58",
    f"[gharshit/ERA_V2]({GITHUB}/gharshit/ERA_V2) | 48,448 | ≤ 20 | 78.86 | 77.88 | 76.94",
    "[ThriftyNet](https://arxiv.org/abs/2007.10106) | under 40,000 | many | over 91 | | ",
    f"ResNet-8 of [MLPerf Tiny]({GITHUB}/mlcommons/tiny) | 78,666 | 500 | about 87.2 | | ",
    f"[cifar10-tiniest]({GITHUB}/xvel/cifar10-tiniest), LN per pixel | 97,530 | 200 | | | 94.4",
)
SEPARABLE = "dw"  # in the name of each depthwise convolution


def load_candidates() -> pd.DataFrame:
    """Return one row per network that was tried, the most accurate one first.

    Columns: those of the file, and ``number``, from 1, by which the figure names them.
    """
    table = pd.read_csv(CANDIDATES, keep_default_na=False)
    table = table.sort_values("val_accuracy", ascending=False, ignore_index=True)
    return table.assign(number=table.index + 1)


def load_accurate() -> pd.DataFrame:
    """Return the winner's runs of all 19 epochs, one row per run."""
    return load_runs(FOLDER)


def load_limit() -> pd.DataFrame:
    """Return the winner's runs with images held out: of 19 epochs, and of more than is allowed."""
    return load_runs(LIMIT)


def tabulate_accurate(runs: pd.DataFrame, assignment: pd.DataFrame) -> str:
    """Return what the winner reached beside Session8Net and what others published, as a table.

    Args:
        runs: of the winner, one row per run.
        assignment: of Session8Net with skips, likewise.
    """
    lines = ["| | parameters | epochs | BN | GN | LN |", "|---|---:|---:|---:|---:|---:|"]
    for table, bold in ((runs, "**"), (assignment, "")):
        cells = [_spread(table[table.norm == norm], bold) for norm in FULL_NAMES]
        first = table.iloc[0]
        lines.append(
            f"| {bold}{first.model}{bold} | {first.n_parameters:,} | {first.epochs} | "
            f"{' | '.join(cells)} |"
        )
    lines += [f"| {peer} |" for peer in PEERS]
    seeds = runs.groupby("norm").seed.nunique()
    counts = ", ".join(f"{NAMES[norm]} {seeds[norm]}" for norm in norms_of(runs))
    trained = runs[runs.norm == "bn"].train_accuracy.mean()
    note = (
        f"Test accuracy in percent, after the last epoch. Seeds of {runs.model.iloc[0]}: {counts}; "
        f"its training accuracy with BN is {percent(trained)}. {describe_time(runs)}"
    )
    return "\n".join([*lines, "", note])


def describe_limit(runs: pd.DataFrame) -> str:
    """Return what more epochs than are allowed would bring, in words.

    Args:
        runs: what :func:`load_limit` returns.
    """
    parts = [
        f"after {row.epochs} epochs {percent(row.val_accuracy)} of them, and "
        f"{percent(row.train_accuracy)} of the augmented images that it is trained on"
        for row in runs.sort_values("epochs").itertuples()
    ]
    return (
        f"With {NAMES[runs.norm.iloc[0]]}, and {TRAIN_IMAGES - runs.train_images.iloc[0]:,} of the "
        f"training images held out, it recognises {'; '.join(parts)} (one seed)."
    )


def _spread(runs: pd.DataFrame, bold: str) -> str:
    """Return the mean of the seeds, with the standard deviation where there are several."""
    if runs.empty:
        return ""
    spread = f" ± {100 * runs.test_accuracy.std():.2f}" if len(runs) > 1 else ""
    return f"{bold}{100 * runs.test_accuracy.mean():.2f}{bold}{spread}"


def tabulate_candidates(table: pd.DataFrame) -> str:
    """Return what :func:`load_candidates` returns as a table for the README."""
    lines = [
        "| | network: what a block adds to its input | channels, blocks | between | parameters | "
        "million multiply-adds | held-out accuracy |",
        "|---:|---|---|---|---:|---:|---:|",
    ]
    for row in table.itertuples():
        block = row.block.replace(" ", "\N{NO-BREAK SPACE}")
        name = ":<br>".join(filter(None, (row.name, block)))
        stages = "<br>".join(filter(None, (row.widths, row.depths)))
        lines.append(
            f"| {row.number} | {name} | {stages} | "
            f"{row.between} | {row.parameters:,} | {row.multiply_adds / 1e6:.1f} | "
            f"{percent(row.val_accuracy)} |"
        )
    note = f"BN, {table.epochs.iloc[0]} epochs, one seed, 5,000 held-out images."
    return "\n".join([*lines, "", note])


@style
def plot_candidates(table: pd.DataFrame) -> Figure:
    """Draw held-out accuracy against parameters and multiply-adds, each network by its number.

    Args:
        table: what :func:`load_candidates` returns.
    """
    figure, axes = new_figure(1, 2, WIDTH, 3.4)
    table = table[table.block != ""]  # Session8Net is far below, and not in the race
    separable = table.block.str.contains(SEPARABLE)
    columns = {"parameters": (1e3, "thousand parameters")}
    columns["multiply_adds"] = (1e6, "million multiply-adds per image")
    for ax, (column, (unit, label)) in zip(axes, columns.items(), strict=True):
        for kind, color in ((separable, COLORS["bn"]), (~separable, GREY)):
            ax.plot(table[column][kind] / unit, 100 * table.val_accuracy[kind], "o", color=color)
        spots = pd.DataFrame({"x": table[column] / unit, "y": 100 * table.val_accuracy})
        for i, spot in spots.iterrows():
            away = ((spots - spot) / (spots.max() - spots.min())).drop(i)
            near = away.loc[away.abs().sum(axis=1).idxmin()]  # the label goes to the other side
            align = "right" if near.x > 0.01 else "left"
            ax.annotate(
                str(table.number[i]), (spot.x, spot.y),
                (-6 if align == "right" else 6, 1 if near.y < 0 else -9),
                textcoords="offset points", ha=align, fontsize=10,
            )  # fmt: skip
        ax.margins(x=0.12, y=0.12)
        ax.set(xlabel=label)
    axes[0].axvline(PARAMETER_LIMIT / 1e3, color=GREY, linestyle="--", linewidth=1)
    axes[0].set_ylabel("held-out accuracy (%)")
    title = f"After {table.epochs.iloc[0]} epochs: separable convolutions (blue), full ones (grey)"
    return finish(figure, title, [])
