"""The study: the runs of study.yaml, part by part, and what this page says of them."""

from pathlib import Path
from typing import Any

import pandas as pd

from era8.compare import paired_differences, seeds_for_power, seeds_for_width
from era8.grid import expand, read_grid
from era8.style import NAMES, SKIPS, norms_of
from era8.tables import load_runs, percent

ROOT = Path(__file__).parents[1]
GRID = ROOT / "study.yaml"
FOLDER = ROOT / "results" / "study"  # the records of the runs
MECHANISMS = ROOT / "results" / "mechanisms.csv"  # written by python -m era8.mechanisms
PARTS = {  # the blocks of study.yaml, in their order
    "norms and skips": slice(0, 1),
    "mechanisms": slice(1, 2),
    "groups": slice(2, 5),
    "learning rates": slice(5, 8),
    "batch sizes": slice(8, 11),
}
ZERO = 1e-6  # the norm of a gradient below this is as good as none
UNTRAINED = 0.15  # a test accuracy below this is that of a network that learnt nothing


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
    runs = load_runs(folder)
    runs = runs[[Path(name).name in names for name in runs.folder]]
    if len(runs) < len(names):
        raise ValueError(f"{folder} holds records that cannot be read; see the warnings")
    return runs


def load_mechanisms(path: Path = MECHANISMS) -> pd.DataFrame:
    """Return what :func:`era8.mechanisms.measure_networks` measured."""
    return pd.read_csv(path, dtype={"at": str}).astype({"skip": bool})


def skip_effects(runs: pd.DataFrame) -> pd.DataFrame:
    """Return what skips add to the test accuracy with each norm, paired by seed.

    Networks without a norm are left out: they either learn or do not, so a mean says nothing.
    """
    return paired_differences(runs[runs.norm != "none"], "skip", [(True, False)], by="norm")


def norm_effects(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the differences between norms in the test accuracy, with skips, paired by seed."""
    pairs = [("bn", "gn"), ("bn", "ln"), ("gn", "ln"), ("bn", "none")]
    return paired_differences(runs[runs["skip"]], "norm", pairs, by="skip")


def describe_effects(runs: pd.DataFrame) -> str:
    """Return what the part ``norms and skips`` found, as a list in words."""
    skips, norms = skip_effects(runs), norm_effects(runs)
    ours = [f"{_points(row)} with {NAMES[row.norm]}" for row in skips.itertuples()]
    pairs = [f"{NAMES[r.one]} − {NAMES[r.other]} {_points(r)}" for r in norms.itertuples()]
    std, width = skips["std"].max(), (skips.high - skips.low).max() / 2
    luck = f" These runs cannot tell an effect below about {100 * width:.1f} points from none."
    bare = runs[runs.norm == "none"].groupby("skip").test_accuracy
    stuck, seeds = bare.agg(lambda values: (values < UNTRAINED).sum()), bare.size()
    return (
        f"- **Skips, with a norm,** change the test accuracy after {runs.epochs.iloc[0]} epochs, "
        f"in points, by {', '.join(ours)}; {_count_clear(skips)}."
        f"{'' if (skips.p_holm < 0.05).any() else luck}\n"
        f"- **Skips, without a norm:** {stuck[False]} of {seeds[False]} networks without skips "
        f"learn nothing at this learning rate, and {stuck[True]} of {seeds[True]} with skips.\n"
        f"- **Norms, with skips,** in points: {', '.join(pairs)}; {_count_clear(norms)}.\n"
        f"- In brackets: 95 % intervals, not corrected for their number, of the mean over "
        f"{skips.seeds.min()} pairs of runs, each "
        f"pair of one seed. The widest one of the skips is ±{100 * width:.1f} points; for ±0.5 it "
        f"would take {seeds_for_width(std, 0.005)} seeds, and {seeds_for_power(std, 0.005)} to "
        "find a true effect of half a point four times in five."
    )


def tabulate_rates(runs: pd.DataFrame, loss: float = 0.05) -> str:
    """Return what the part ``learning rates`` found, as a table.

    Args:
        runs: of that part.
        loss: accuracy that a learning rate may lose against the best one and be called good.
    """
    parts = []
    for norm, skip in ((norm, skip) for norm in NAMES for skip in (True, False)):
        line = runs[(runs.norm == norm) & (runs["skip"] == skip)].sort_values("lr")
        best = line.loc[line.val_accuracy.astype(float).idxmax()]
        good = line[line.val_accuracy.astype(float) >= best.val_accuracy - loss].lr
        learns = best.val_accuracy >= UNTRAINED
        where = f"{best.lr:g} | {good.min():g} to {good.max():g}" if learns else "none | none"
        name, skips = NAMES[norm], "yes" if skip else "no"
        parts.append(f"| {name} | {skips} | {percent(best.val_accuracy)} | {where} |")
    head = [
        "| | skips | best validation accuracy | at learning rate | within "
        f"{100 * loss:.0f} points of it |",
        "|---|---|---:|---:|---:|",
    ]
    kind = (
        f"{len(runs)} runs of {runs.epochs.iloc[0]} epochs; seeds of each: {runs.seed.nunique()}."
    )
    return "\n".join([*head, *parts, "", kind])


def describe_time(runs: pd.DataFrame) -> str:
    """Return how long the trainings took."""
    parts = [
        f"{len(some)} runs took {some.train_seconds.sum() / 3600:.1f} hours of training ({machine})"
        for machine, some in runs.groupby(runs.device + ", " + runs.precision)
    ]
    return f"{' and '.join(parts)}."


def describe_groups(runs: pd.DataFrame) -> str:
    """Return what the part ``groups`` found, in words."""
    runs = runs.assign(groups=runs.groups.where(runs.norm == "gn", 1))
    means = runs.groupby(["skip", "groups"]).test_accuracy.mean()
    parts = [
        f"{SKIPS[skip]}: {', '.join(f'{percent(a)} with {g}' for g, a in means[skip].items())}"
        for skip in (True, False)
    ]
    return f"Test accuracy by groups, of which LayerNorm has one: {'; '.join(parts)}."


def describe_batch_sizes(runs: pd.DataFrame) -> str:
    """Return what the part ``batch sizes`` found, in words."""
    means = runs.groupby(["norm", "batch_size"]).test_accuracy.mean()
    parts = []
    for norm in norms_of(runs):
        line = means[norm]
        parts.append(
            f"{NAMES[norm]} " + ", ".join(f"{percent(a)} with {size}" for size, a in line.items())
        )
    return f"Test accuracy by images in a batch: {'; '.join(parts)}."


def describe_mechanisms(table: pd.DataFrame) -> str:
    """Return what the part ``mechanisms`` found, as a list in words."""
    mean = table.groupby(["measure", "norm", "skip", "at"]).value.mean()
    dead = (mean["end_gradient"] < ZERO).groupby(["norm", "skip"]).agg(["sum", "size"])
    ratios, cuts = [], []
    for norm, name in NAMES.items():
        first, rest = (mean["start_gradient", norm, skip, "C1"] for skip in (True, False))
        ratios.append(f"{first / rest:,.{int(first < 10 * rest)}f} times with {name}")
        whole, both = (percent(mean["cut", norm, True, at], 0) for at in ("whole", "both"))
        cuts.append(f"from {whole} to {both} with {name}")
    bare, normed = dead.loc["none"], dead.drop("none")["sum"].max()
    used, two = (percent(mean["batch", "bn", True, at], 0) for at in ("0", "2"))
    return (
        f"- Before training, skips multiply the gradient that reaches the first convolution: "
        f"{', '.join(ratios)}.\n"
        f"- Without a norm, the gradient of {bare['sum'][True]} of {bare['size'][True]} "
        f"convolutions is as good as zero (below {ZERO:g}) after training with skips, and of "
        f"{bare['sum'][False]} without skips; with a norm, of {normed or 'none'}.\n"
        f"- When both skips of a trained network are cut, accuracy goes {', '.join(cuts)}.\n"
        f"- Normalised by batches of two instead of the running statistics, the BN network "
        f"recognises {two} of the images instead of {used}; GN and LN give each image the same "
        "answer in any batch."
    )


def _count_clear(table: pd.DataFrame) -> str:
    """Return how many differences of a table are more than luck."""
    clear = (table.p_holm < 0.05).sum()
    return f"{clear or 'none'} of these {len(table)} significant (p < 0.05, Holm's correction)"


def _points(row: Any) -> str:
    """Return a difference and its interval in percentage points."""
    return f"{100 * row.difference:+z.1f} ({100 * row.low:+z.1f} to {100 * row.high:+z.1f})"
