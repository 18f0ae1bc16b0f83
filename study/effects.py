"""All comparisons of the study, which effects.yaml declares: their tables and their forest plot."""

from functools import cache
from typing import Any

import pandas as pd
import yaml
from matplotlib.figure import Figure

from era8.figures import plot_differences
from era8.figures.style import NAMES, SKIPS
from era8.tables import differences
from study.runs import ROOT, load_part, tabulate_rates
from study.statistics import combine, holm

DECLARED: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "study/effects.yaml").read_text())
OPTIMIZERS = {"muon": "Muon", "sgd": "SGD", "adamw": "AdamW"}
WORDS = {
    **SKIPS, **NAMES, "none": "none", **OPTIMIZERS,
    "ln_c": "LN per pixel", "ln_chw": "nn.LayerNorm", "bf16": "bfloat16", "fp32": "float32",
}  # fmt: skip
UNITS = {"batch_size": "{} images", "train_images": "{:,} images", "epochs": "{} epochs",
         "lr": "learning rate {:g}", "weight_decay": "{:g}", "groups": "{} groups"}  # fmt: skip


def choose_runs(name: str) -> pd.DataFrame:
    """Return the runs that one of the effects compares, and what each norm's best rate is."""
    runs = load_part(*DECLARED[name]["runs"])
    best = tabulate_rates("large_rates").idxmax(axis=1).droplevel("skip")
    return runs.assign(lr_best=runs.norm.map(best)).query(DECLARED[name].get("where", "seed >= 0"))


@cache
def measure(name: str, of: str = "test_accuracy") -> pd.DataFrame:
    """Return one of the effects: a row for each comparison, which the index says in words.

    ``of`` is what is compared where effects.yaml does not say it. Columns are those of
    :func:`era8.tables.contrast`, and ``effect``, the title.
    """
    how, runs = DECLARED[name], choose_runs(name)
    ((setting, pairs),), by = how["compare"].items(), how.get("by", [])
    common = {"measure": how.get("of", of), "free": how.get("free", [])}
    if combined := {name: how[name] for name in ("between", "over") if name in how}:
        table = combine(runs, setting, pairs, by[0] if by else "", **combined, **common)
    else:
        table = differences(runs, setting, pairs, by, **common)
    said = [_say_row(row, setting, by) for row in table.to_dict("records")]
    return table.set_index(pd.Index(said)).assign(effect=how["title"])


def _say_row(row: dict[str, Any], setting: str, by: list[str]) -> str:
    """Say what is compared; the pair alone does where it is always the same."""
    pair = f"{_say(setting, row['one'])} − {_say(setting, row['other'])}"
    words = [_say(name, row[name]) for name in by]
    return ", ".join([pair, *words] if setting in ("norm", "batch_size") or not by else words)


def _say(column: str, value: Any) -> str:
    """Say a value of a column, or of each of two values."""
    if isinstance(value, list):
        return " against ".join(_say(column, v) for v in value)
    return UNITS[column].format(value) if column in UNITS else WORDS.get(value, str(value))


def show(rows: pd.DataFrame) -> pd.DataFrame:
    """Return rows of effects as a page shows them: in points of accuracy, with intervals and p.

    An effect is named in the first of its rows. The last but one column is corrected over all rows
    of the table (Holm); the last one counts the runs of each side.
    """
    values = 100 * rows[["difference", "low", "high"]]
    text = values.map("{:+.2f}".format)  # ends that round to 0 keep their sign
    columns = {
        "effect": rows.effect.mask(rows.effect == rows.effect.shift(), ""),
        "comparison": rows.index,
        "points": values.difference.map("{:+z.2f}".format),
        "95 % interval": text.low + " to " + text.high,
        "p": rows.p.map(say_p),
        "p (Holm)": [say_p(p) for p in holm(rows.p)],
        "runs": rows.runs,
    }
    table = pd.DataFrame(columns).reset_index(drop=True)
    narrow = table.columns[2:]  # do not break lines within numbers
    return table.assign(**table[narrow].replace(" ", "\N{NO-BREAK SPACE}", regex=True))


def say_p(p: float) -> str:
    """Return a probability with three decimals, or that it is less than those can say."""
    return f"{p:.3f}" if p >= 0.001 else "< 0.001"


def collect_family() -> pd.DataFrame:
    """Return all tests that the findings of the README rest on."""
    names = sorted(DECLARED, key=lambda name: DECLARED[name].get("finding", 0))
    return pd.concat(measure(name) for name in names if "finding" in DECLARED[name])


def draw_forest() -> Figure:
    """Draw all effects on the test accuracy after 19 epochs, or 8 where batches differ."""
    parts = {how["title"]: measure(name) for name, how in DECLARED.items() if how.get("forest")}
    return plot_differences(parts, "What each choice changes")
