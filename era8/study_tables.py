"""What the parts of the study found, as tables and lists for the README and the notebook."""

from typing import Any

import pandas as pd

from era8.compare import seeds_for_power, seeds_for_width
from era8.recipe import PARAMETER_LIMIT
from era8.study import layer_norm_effects, norm_effects, skip_effects
from era8.style import FULL_NAMES, NAMES, SKIPS, norms_of
from era8.tables import percent

ZERO = 1e-6  # the norm of a gradient below this is as good as none
LAYER_NORMS = {  # what shares a mean and a variance, and what a scale and a shift
    "ln": ("(C, H, W), as everywhere on this page", "channel"),
    "ln_c": ("C, at each pixel", "channel"),
    "ln_chw": ("(C, H, W), `nn.LayerNorm([C, H, W])`", "channel and pixel"),
}
UNTRAINED = 0.15  # a test accuracy below this is that of a network that learnt nothing


def tabulate_long_runs(runs: pd.DataFrame) -> str:
    """Return the results of the runs of all epochs, as a table: mean and spread of the seeds."""
    lines = [
        "| | parameters | epochs | training accuracy | test accuracy | without skips |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for norm in norms_of(runs):
        ours, without = (runs[(runs.norm == norm) & (runs["skip"] == s)] for s in (True, False))
        lines.append(
            f"| {FULL_NAMES[norm]} | {ours.n_parameters.iloc[0]:,} | {ours.epochs.iloc[0]} | "
            f"{_spread(ours.train_accuracy)} | **{_spread(ours.test_accuracy)}** | "
            f"{_spread(without.test_accuracy)} |"
        )
    counts = sorted(set(runs.groupby(["norm", "skip"]).seed.nunique()))
    note = f"Mean and standard deviation over {' or '.join(map(str, counts))} seeds."
    return "\n".join([*lines, "", note])


def describe_effects(runs: pd.DataFrame) -> str:
    """Return what skips and norms change, as a list in words."""
    skips, norms = skip_effects(runs), norm_effects(runs)
    ours = [f"{points(row)} with {NAMES[row.norm]}" for row in skips.itertuples()]
    parts = [
        f"**Skips, with a norm,** change the test accuracy after {runs.epochs.iloc[0]} epochs, in "
        f"points, by {', '.join(ours)}; {_count_clear(skips)}.{_describe_luck(skips)}"
    ]
    bare = runs[runs.norm == "none"].groupby("skip").test_accuracy
    if len(bare):
        stuck, seeds = bare.agg(lambda values: (values < UNTRAINED).sum()), bare.size()
        parts.append(
            f"**Skips, without a norm:** {stuck[False]} of {seeds[False]} networks without skips "
            f"learn nothing at this learning rate, and {stuck[True]} of {seeds[True]} with skips."
        )
    pairs = [f"{NAMES[r.one]} − {NAMES[r.other]} {points(r)}" for r in norms.itertuples()]
    parts.append(
        f"**Norms, with skips,** after {runs.epochs.iloc[0]} epochs, in points: "
        f"{', '.join(pairs)}; {_count_clear(norms)}."
    )
    return "\n".join(f"- {part}" for part in parts)


def describe_intervals(skips: pd.DataFrame) -> str:
    """Return how sure the effects of skips are, and how many seeds would do for half a point."""
    std, width = skips["std"].max(), _half_width(skips)
    return (
        f"In brackets: 95 % intervals, not corrected for their number, of the mean over "
        f"{skips.seeds.min()} pairs of runs, each pair of one seed. The widest one of the skips is "
        f"±{100 * width:.1f} points; for ±0.5 it would take {seeds_for_width(std, 0.005)} seeds, "
        f"and {seeds_for_power(std, 0.005)} to find a true effect of half a point four times in "
        "five."
    )


def _describe_luck(skips: pd.DataFrame) -> str:
    """Return a sentence on what could not be seen, if nothing was."""
    if (skips.p_holm < 0.05).any():
        return ""
    least = f"{100 * _half_width(skips):.1f}"
    return f" These runs cannot tell an effect below about {least} points from none."


def _half_width(effects: pd.DataFrame) -> float:
    """Return half of the widest interval."""
    return (effects.high - effects.low).max() / 2


def tabulate_layer_norms(runs: pd.DataFrame) -> str:
    """Return what each kind of LayerNorm costs and gives, as a table.

    Args:
        runs: what :func:`era8.study.load_layer_norms` returns.
    """
    effects = layer_norm_effects(runs).set_index("one")
    lines = [
        "| mean and variance over | scale and shift per | parameters | test accuracy | minus the "
        "first |",
        "|---|---|---:|---:|---:|",
    ]
    for norm, (axes, scale) in LAYER_NORMS.items():
        some = runs[runs.norm == norm]
        n_parameters = int(some.n_parameters.iloc[0])
        more = f" ({n_parameters / PARAMETER_LIMIT:.1f} times the limit)"
        minus = points(effects.loc[norm]) if norm in effects.index else ""
        lines.append(
            f"| {axes} | {scale} | {n_parameters:,}{more * (n_parameters >= PARAMETER_LIMIT)} | "
            f"{_spread(some.test_accuracy)} | {minus} |"
        )
    counts = sorted(set(runs.groupby("norm").seed.nunique()))
    note = (
        f"{' or '.join(map(str, counts))} seeds, {runs.epochs.iloc[0]} epochs, with skips; "
        f"{_count_clear(effects)}."
    )
    return "\n".join([*lines, "", note])


def tabulate_rates(runs: pd.DataFrame, loss: float = 0.05) -> str:
    """Return what one of the parts on learning rates found, as a table.

    Args:
        runs: of that part.
        loss: accuracy that a learning rate may lose against the best one and be called good.
    """
    rows = []
    for norm, skip in ((norm, skip) for norm in norms_of(runs) for skip in (True, False)):
        line = runs[(runs.norm == norm) & (runs["skip"] == skip)].sort_values("lr")
        if line.empty:
            continue
        best = line.loc[line.val_accuracy.astype(float).idxmax()]
        good = line[line.val_accuracy.astype(float) >= best.val_accuracy - loss].lr
        learns = best.val_accuracy >= UNTRAINED
        where = f"{best.lr:g} | {good.min():g} to {good.max():g}" if learns else "none | none"
        name, skips = NAMES[norm], "yes" if skip else "no"
        rows.append(f"| {name} | {skips} | {percent(best.val_accuracy)} | {where} |")
    head = [
        "| | skips | best validation accuracy | at learning rate | within "
        f"{100 * loss:.0f} points of it |",
        "|---|---|---:|---:|---:|",
    ]
    kind = (
        f"{len(runs)} runs of {runs.epochs.iloc[0]} epochs; seeds of each: {runs.seed.nunique()}."
    )
    return "\n".join([*head, *rows, "", kind])


def tabulate_long_rates(runs: pd.DataFrame) -> str:
    """Return the validation accuracy of each norm at each learning rate, as a table."""
    table = runs.pivot(index="norm", columns="lr", values="val_accuracy").astype(float)
    lines = [
        f"| | {' | '.join(f'learning rate {lr:g}' for lr in table)} |",
        f"|---|{'---:|' * len(table.columns)}",
    ]
    for norm in norms_of(runs):
        best = table.loc[norm].max()
        cells = [f"**{percent(v)}**" if v == best else percent(v) for v in table.loc[norm]]
        lines.append(f"| {FULL_NAMES[norm]} | {' | '.join(cells)} |")
    return "\n".join(lines)


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
    if len(table) == 1:
        return f"{'' if clear else 'not '}significant (p < 0.05)"
    return f"{clear or 'none'} of these {len(table)} significant (p < 0.05, Holm's correction)"


def _spread(accuracies: pd.Series) -> str:
    """Return mean and standard deviation in percent."""
    return f"{100 * accuracies.mean():.2f} ± {100 * accuracies.std():.2f} %"


def points(row: Any) -> str:
    """Return a difference and its interval in percentage points."""
    return f"{100 * row.difference:+z.1f} ({100 * row.low:+z.1f} to {100 * row.high:+z.1f})"
