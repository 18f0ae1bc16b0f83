"""How fast 70 % is reached: what the README shows of the runs with the preset ``FAST``."""

import json
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from benchmarks import scaling_report as scaling
from era8.figures.style import COLORS, GREY, NAMES, WIDTH, finish, new_figure, style
from era8.recipe import ACCURACY_GOAL, FAST
from era8.tables import load_runs, percent
from study.runs import RESULTS

FOLDER = RESULTS / "fast"  # the records of the runs


def load_fast() -> pd.DataFrame:
    """Return the runs with the preset that are timed, one row per run."""
    return load_runs(FOLDER)


def summarise(runs: pd.DataFrame) -> pd.DataFrame:
    """Return one row per norm, in the order of ``NAMES``.

    Args:
        runs: one row per run with the preset, as :func:`load_fast` returns them.

    Returns:
        ``norm``; ``seeds``; ``mean`` and ``std`` of the test accuracy, ``accuracies`` of all seeds;
        mean ``seconds`` of training; and ``total``, with what a run costs beyond training: start,
        loading, test and record, as :mod:`benchmarks.scaling` measured it.
    """
    runs = runs.assign(norm=pd.Categorical(runs.norm, list(NAMES))).sort_values(["norm", "seed"])
    table = runs.groupby("norm", observed=True).agg(
        seeds=("seed", "nunique"),
        mean=("test_accuracy", "mean"),
        std=("test_accuracy", "std"),
        accuracies=("test_accuracy", list),
        seconds=("train_seconds", "mean"),
        device=("device", "first"),
        precision=("precision", "first"),
    )
    overhead = json.loads(scaling.RESULTS.read_text())["local_seconds"]
    return table.assign(total=table.seconds + overhead).reset_index()


def render(table: pd.DataFrame) -> str:
    """Return the README's table of what :func:`summarise` returns."""
    lines = [
        f"| | seeds | test accuracy after {FAST.epochs} epochs | training | in all |",
        "|---|---:|---:|---:|---:|",
    ]
    for row in table.itertuples():
        lines.append(
            f"| {NAMES[row.norm]} | {row.seeds} | **{percent(row.mean)}** ± {100 * row.std:.1f} | "
            f"{row.seconds:.0f} s | {row.total:.0f} s |"
        )
    return "\n".join(
        [
            *lines,
            "",
            f"Mean and standard deviation over the seeds; {table.device[0]}, {table.precision[0]}.",
        ]
    )


@style
def plot_fast(table: pd.DataFrame) -> Figure:
    """Draw the test accuracy of each run with the preset, and the seconds that it takes."""
    figure, (ax,) = new_figure(1, 1, WIDTH, 2.6)
    goal = 100 * ACCURACY_GOAL
    ax.axvline(goal, color=GREY, linestyle="--", linewidth=1)
    for y, row in enumerate(table.itertuples()):
        look: dict[str, Any] = {"color": COLORS[row.norm]}
        ax.plot([100 * a for a in row.accuracies], [y] * row.seeds, "o", **look, alpha=0.55)
        ax.plot(100 * row.mean, y, "|", **look, markersize=24, markeredgewidth=3)
    labels = [f"{NAMES[row.norm]}, {row.total:.0f} s" for row in table.itertuples()]
    ax.set_yticks(range(len(table)), labels, fontsize=11)
    ax.set(
        ylim=(len(table) - 0.5, -0.5), xlabel="test accuracy (%): a dot per seed, a bar the mean"
    )
    ax.grid(axis="y", visible=False)
    slowest = max(table.total)
    return finish(
        figure, f"A mean of {goal:.0f} % in at most {slowest:.0f} seconds, test included", []
    )
