"""What was measured, as the numbers and the figures of study/pages/speed.md."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from benchmarks import RESULTS
from era8.figures.style import COLORS, NAMES, finish, new_figure, place_legend, style
from era8.recipe import ACCURACY_GOAL

LABELS = {
    "course": "course loop", "tuned": "course loop, tuned", "airbench": "airbench style",
    "era8": "era8",
}  # fmt: skip
LINES = {"course": "s-", "tuned": "D--", "airbench": "^:", "era8": "o-"}
NEVER = float("nan")


def load_results(path: Path = RESULTS) -> dict[str, Any]:
    """Read what the benchmark wrote.

    Raises:
        FileNotFoundError: if it has not been run.
        ValueError: if the file is damaged.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist; python -m benchmarks --race writes it")
    try:
        results = json.loads(path.read_text())
        compare(results)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} holds no readable results of a benchmark: {error!r}") from None
    return results


def find_rows(results: dict[str, Any], part: str) -> pd.DataFrame:
    """Return the measurements of one part, a row each."""
    return pd.DataFrame([row for row in results["measurements"] if row["part"] == part])


def count_rounds(results: dict[str, Any]) -> tuple[int, str]:
    """Return the number of rounds, and what the middle of as many is called."""
    rounds = find_rows(results, "speed")["round"].nunique()
    return rounds, "mean" if rounds == 2 else "median"


def compare(results: dict[str, Any]) -> pd.DataFrame:
    """Return one row for each loop and norm, in the order in which they were measured.

    Columns: those that all rounds have in common; ``label`` of the loop; medians over the rounds
    of ``rate`` (images per second), ``ratio`` (how many times as fast era8 was with the same norm
    in the same round) and ``memory`` (bytes); and the lowest and the highest rate and ratio.
    """
    rows = find_rows(results, "speed")
    rows = rows[rows.threads == results["threads"]]
    rows = rows[(rows.loop != "era8") | (rows.batch_size == results["batch_size"])]
    rows = rows.rename(columns={"images_per_second": "rate"}).assign(label=rows.loop.map(LABELS))
    ours = rows.loc[rows.loop == "era8", ["round", "norm", "rate"]]
    rows = rows.merge(ours, on=["round", "norm"], suffixes=("", "_era8"))
    rows["ratio"] = rows.rate_era8 / rows.rate
    table = rows.groupby(["loop", "norm"], sort=False)
    changing = table[["rate", "ratio"]]
    return (
        table.first()
        .assign(**table[["rate", "ratio", "memory"]].median())
        .join([changing.min().add_suffix("_low"), changing.max().add_suffix("_high")])
        .reset_index()
    )


def compare_races(results: dict[str, Any], part: str = "race") -> pd.DataFrame:
    """Return one row for each loop that raced, era8 the last; none without a race.

    Columns: those of the measurement; ``label`` of the loop; ``passed``, the seconds of training
    after which the goal was first reached, NaN if it never was; and ``ratio``, how many times as
    long as era8 it trained, to the goal or to its end.
    """
    rows = find_rows(results, part)
    if rows.empty:
        return rows
    rows["goal"] = rows.get("goal", ACCURACY_GOAL)
    rows["passed"] = [
        min((epoch["seconds"] for epoch in history if epoch["accuracy"] >= goal), default=NEVER)
        for goal, history in zip(rows.goal, rows.history, strict=True)
    ]
    spent = rows.passed.fillna(rows.history.str[-1].str["seconds"])
    ours = rows.norm.map(dict(zip(rows.norm, spent, strict=True)))  # the last one of each norm
    return rows.assign(label=rows.loop.map(LABELS), ratio=spent / ours)


def numbers(results: dict[str, Any]) -> dict[str, Any]:
    """Return what the pages say of the speed, by the names of their holes."""
    table, races, speed = compare(results), compare_races(results), find_rows(results, "speed")
    others = table[(table.loop != "era8") & (table.norm == "bn")]
    sizes = speed[(speed.loop == "era8") & (speed.norm == "bn")]
    return {
        "machine": results["device"],
        "commit": results["versions"]["commit"],
        "images": results["images"],
        **dict(zip(("rounds", "average"), count_rounds(results), strict=True)),
        "table": table,
        **{f"ratio_{row.loop}": row.ratio for row in others.itertuples()},
        "sizes": sizes.groupby(["batch_size", "threads"]).images_per_second.median().reset_index(),
        "goal": ACCURACY_GOAL,
        "race": races,
        "result": compare_races(results, "result"),
    }


def list_pictures(results: dict[str, Any]) -> dict[str, Callable[[], Figure]]:
    """Return what draws each picture that there are measurements for, by its name."""
    draws = {"speed": plot_speed} | ({"race": plot_race} if len(find_rows(results, "race")) else {})
    return {name: partial(draw, results) for name, draw in draws.items()}


@style()
def plot_speed(results: dict[str, Any]) -> Figure:
    """Draw the images per second of each loop and norm, and how many times as fast era8 is."""
    table = compare(results)
    figure, (ax,) = new_figure(0.8 + 0.5 * len(table))
    names = [f"{row.label}, {NAMES[row.norm]}" for row in table.itertuples()]
    colors = [COLORS[row.norm if row.loop == "era8" else "grey"] for row in table.itertuples()]
    spread = [table.rate - table.rate_low, table.rate_high - table.rate]
    look: dict[str, Any] = {"color": colors, "ecolor": COLORS["ink"], "linewidth": 0}
    bars = ax.barh(names, table.rate, 0.7, xerr=spread, **look)
    ratios = ["" if r.loop == "era8" else f"  era8: {r.ratio:.1f} ×" for r in table.itertuples()]
    texts = [f"{rate:,.0f}{ratio}" for rate, ratio in zip(table.rate, ratios, strict=True)]
    ax.bar_label(bars, texts, padding=7, size=14)
    rounds, average = count_rounds(results)
    label = f"training images per second ({average} of {rounds}; line: lowest to highest)"
    ax.set(xlabel=label, xticks=[], xlim=(0, 1.4 * table.rate_high.max()))
    ax.tick_params(axis="y", labelsize=14)
    ax.grid(visible=False)
    ax.invert_yaxis()
    ax.spines[["top", "right", "bottom"]].set_visible(False)
    title = "Training speed"
    for ratio in table[table.loop == "course"].ratio[:1]:
        title = f"era8 trains {ratio:.1f} times as fast as the usual course loop"
    return finish(figure, title, [])


@style()
def plot_race(results: dict[str, Any]) -> Figure:
    """Draw the accuracy on held-out images against the seconds of training, a mark per epoch."""
    races = compare_races(results)
    figure, (ax,) = new_figure(4.6)
    goal, lines = f"{100 * ACCURACY_GOAL:.0f} %", []
    ax.axhline(100 * ACCURACY_GOAL, color=COLORS["ink"], linewidth=1)
    for row in races.itertuples():
        history = pd.DataFrame(row.history)
        reached = f"{goal} after {row.passed:,.0f} s" if row.passed > 0 else "not there yet"
        lines += ax.plot(history.seconds, 100 * history.accuracy, LINES[row.loop])
        lines[-1].set_label(f"{row.label}: {reached}")
        lines[-1].set_color(COLORS["bn" if row.loop == "era8" else "grey"])
    ax.set(xlabel="seconds of training", ylabel="accuracy on held-out images (%)", xlim=(0, None))
    place_legend(figure, lines[::-1], 2)
    title, ours, others = f"Training to {goal}", races.epochs.iloc[-1], races.epochs.iloc[0]
    if len(races) > 1:
        title += f": era8's schedule has {ours} epochs, the others' {others} (one seed)"
    return finish(figure, title, [])
