"""The study: the runs of study.yaml, part by part, and the paired differences between them."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from era8.sweep.grid import DEFAULTS, expand, read_grid
from era8.tables import load_runs
from study.statistics import paired_differences

ROOT = Path(__file__).parents[1]
GRID = ROOT / "study" / "study.yaml"
RESULTS = ROOT / "results"
FOLDER = RESULTS / "study"  # the records of the runs
PRECISION = RESULTS / "precision"  # those of long runs in bfloat16
MECHANISMS = RESULTS / "mechanisms.csv"  # written by python -m study.mechanisms
PARTS = {  # the blocks of study.yaml, in their order
    "long runs": slice(0, 4),
    "long learning rates": slice(4, 6),
    "norms and skips": slice(6, 7),
    "depth": slice(7, 8),
    "layer norms": slice(8, 10),
    "mechanisms": slice(10, 11),
    "groups": slice(11, 14),
    "learning rates": slice(14, 17),
    "batch sizes": slice(17, 22),
    "batch learning rates": slice(22, 24),
}


def load_part(part: str = "", folder: Path = FOLDER) -> pd.DataFrame:
    """Return the runs of one part of the study, or of all, one row per run.

    Raises:
        ValueError: if a run is missing or its record cannot be read.
    """
    names = [cell.name for cell in expand(read_grid(GRID)[PARTS[part] if part else slice(None)])]
    missing = [name for name in names if not (folder / name / "record.json").is_file()]
    if missing:
        raise ValueError(
            f"{folder} must hold all runs of the {f'part {part!r}' if part else 'study'}; "
            f"{len(missing)} are missing, such as {missing[0]} "
            f"(python -m era8 sweep study.yaml --out {folder} trains them)"
        )
    tables = [load_runs(folder / name) for name in names]
    if not all(map(len, tables)):
        raise ValueError(f"{folder} holds records that cannot be read; see the warnings")
    return pd.concat(tables, ignore_index=True)


def load_long_runs() -> pd.DataFrame:
    """Return the runs of all 19 epochs: those of the notebooks, and the same with other seeds."""
    runs = [load_runs(RESULTS / norm) for norm in ("bn", "gn", "ln")]
    runs = pd.concat([*runs, load_part("long runs")], ignore_index=True)
    # The notebooks give LN one group and a grid the default: of no meaning, but they would differ.
    return runs.assign(groups=runs.groups.where(runs.norm == "gn", DEFAULTS["groups"]))


def load_precisions() -> pd.DataFrame:
    """Return the long runs in bfloat16, with BN and skips, and those in float32 of their seeds."""
    runs, others = load_long_runs(), load_runs(PRECISION)
    runs = runs[(runs.norm == "bn") & runs["skip"] & runs.seed.isin(others.seed)]
    return pd.concat([runs, others], ignore_index=True)


def load_layer_norms() -> pd.DataFrame:
    """Return the short runs with each kind of LayerNorm, with skips."""
    runs = load_part("norms and skips")
    runs = runs[(runs.norm == "ln") & runs["skip"]]
    return pd.concat([runs, load_part("layer norms")], ignore_index=True)


def load_mechanisms(path: Path = MECHANISMS) -> pd.DataFrame:
    """Return what :func:`study.mechanisms.measure_networks` measured.

    Raises:
        ValueError: if it was measured in other networks than those of the part.
    """
    table = pd.read_csv(path, dtype={"at": str}).astype({"skip": bool})
    cells = expand(read_grid(GRID)[PARTS["mechanisms"]])
    networks = {tuple(cell.settings[name] for name in ("norm", "skip", "seed")) for cell in cells}
    if networks != set(zip(table.norm, table["skip"], table.seed, strict=True)):
        raise ValueError(
            f"{path} must hold the {len(networks)} networks of the part 'mechanisms'; it holds "
            "others (python -m study.mechanisms measures them)"
        )
    return table


def skip_effects(
    runs: pd.DataFrame, measure: str = "test_accuracy", by: Sequence[str] = ("norm",)
) -> pd.DataFrame:
    """Return what skips add to the accuracy with each norm, paired by seed.

    Networks without a norm are left out: they either learn or do not, so a mean says nothing.
    """
    return paired_differences(runs[runs.norm != "none"], "skip", [(True, False)], by, measure)


def precision_effect(runs: pd.DataFrame) -> pd.Series:
    """Return what bfloat16 adds to the test accuracy, paired by seed.

    Args:
        runs: what :func:`load_precisions` returns.
    """
    return paired_differences(runs, "precision", [("bf16", "fp32")], "norm").iloc[0]


def norm_effects(
    runs: pd.DataFrame, measure: str = "test_accuracy", by: Sequence[str] = ("skip",)
) -> pd.DataFrame:
    """Return the differences between norms in the accuracy, with skips, paired by seed.

    Each norm may have a learning rate of its own: the long runs without one have a smaller one.
    """
    pairs = [("bn", "gn"), ("bn", "ln"), ("gn", "ln"), ("bn", "none")]
    return paired_differences(runs[runs["skip"]], "norm", pairs, by, measure, tuned=["lr"])


def batch_effects(runs: pd.DataFrame) -> pd.DataFrame:
    """Return what BN has over GN and LN at each size of batch, paired by seed."""
    return paired_differences(runs, "norm", [("bn", "gn"), ("bn", "ln")], by="batch_size")


def layer_norm_effects(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the differences between kinds of LayerNorm in the test accuracy, paired by seed."""
    pairs = [("ln_c", "ln"), ("ln_chw", "ln")]
    return paired_differences(runs, "norm", pairs, by="skip")
