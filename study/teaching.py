"""What the lesson says: the short runs that a class can repeat, and what luck does to one pair."""

import math
import re
from dataclasses import asdict
from textwrap import dedent
from typing import Any

import nbformat
import pandas as pd
from scipy.stats import mannwhitneyu
from statsmodels.stats.power import TTestIndPower

from era8.notebooks import find_notebook
from era8.recipe import FAST, Recipe
from study.effects import choose_runs
from study.norms_and_skips import tabulate
from study.runs import load_part

VISIBLE = 0.005  # of accuracies: how many seeds does it take to see that difference, or half of it?


def numbers() -> dict[str, Any]:
    """Return what the lesson says."""
    short, fast, long = load_part("two_epochs"), load_part("fast"), load_part("long")
    long = long[long.norm != "none"]
    batches = choose_runs("batch_lead").groupby(["norm", "batch_size"]).test_accuracy
    return {
        "parameters": ", ".join(f"`{name} = {value}`" for name, value in list_changes().items()),
        "experiments": "\n".join(read_answers("bn")),
        "results": tabulate(short),
        "seeds": short.groupby(["norm", "skip"]).size().min(),
        "minutes": short[short.norm != "none"].train_seconds.mean() / 60,
        "fast_seconds": fast.train_seconds.mean(),
        "ahead_short": share_ahead(short.query("skip"), "norm", "bn", "gn"),
        "ahead": share_ahead(long[long["skip"]], "norm", "bn", "gn"),
        "ahead_skips": share_ahead(long[long.norm == "bn"], "skip", True, False),
        "deviation": deviation(long),
        "needed": {part: count_seeds(VISIBLE / part, deviation(long)) for part in (1, 2)},
        "batch": batches.mean(),
    }


def list_changes() -> dict[str, Any]:
    """Return the parameters of a notebook that make its recipe the preset FAST."""
    usual = asdict(Recipe())
    return {name: value for name, value in asdict(FAST).items() if value != usual[name]}


def read_answers(norm: str) -> list[str]:
    """Return the code that the answers to the exercises of a norm's notebook hold."""
    exercises = nbformat.read(find_notebook(norm), as_version=4).cells[-1].source
    return [dedent(code) for code in re.findall(r"```python\n(.*?)```", exercises, re.DOTALL)]


def share_ahead(runs: pd.DataFrame, setting: str, one: Any, other: Any) -> float:
    """Return in which part of all pairs of runs the one is ahead; a draw counts as half."""
    first, second = (runs[runs[setting] == side].test_accuracy for side in (one, other))
    return mannwhitneyu(first, second).statistic / (len(first) * len(second))


def deviation(runs: pd.DataFrame) -> float:
    """Return the standard deviation of the test accuracy among runs that differ in their seed."""
    return math.sqrt(runs.groupby(["norm", "skip"]).test_accuracy.var().mean())


def count_seeds(difference: float, deviation: float) -> int:
    """Return how many runs of each kind show a difference four times in five, at the 5 % level."""
    size = {"effect_size": difference / deviation, "alpha": 0.05, "power": 0.8}
    return math.ceil(TTestIndPower().solve_power(**size))
