"""What norms and skips change in the runs of the study, in words and as tables."""

from typing import Any

import pandas as pd

from era8.figures.style import FULL_NAMES, NAMES, norms_of
from era8.recipe import PARAMETER_LIMIT
from era8.tables import span
from study.runs import (
    batch_effects,
    layer_norm_effects,
    norm_effects,
    precision_effect,
    skip_effects,
)
from study.statistics import effect_for_power, seeds_for_power

LAYER_NORMS = {  # what shares a mean and a variance, and what a scale and a shift
    "ln": ("(C, H, W), as everywhere on this page", "channel"),
    "ln_c": ("C, at each pixel", "channel"),
    "ln_chw": ("(C, H, W), `nn.LayerNorm([C, H, W])`", "channel and pixel"),
}
UNTRAINED = 0.15  # a test accuracy below this is that of a network that learnt nothing


def tabulate_long_runs(runs: pd.DataFrame) -> str:
    """Return the results of the runs of all epochs, as a table: mean and spread of the seeds."""
    lines = [
        "| | parameters | learning rate | seeds | training accuracy | test accuracy | without "
        "skips |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for norm in norms_of(runs):
        ours, without = (runs[(runs.norm == norm) & (runs["skip"] == s)] for s in (True, False))
        lines.append(
            f"| {FULL_NAMES.get(norm, NAMES[norm])} | {ours.n_parameters.iloc[0]:,} | "
            f"{ours.lr.iloc[0]:g} | {len(ours)} | {_spread(ours.train_accuracy)} | "
            f"**{_spread(ours.test_accuracy)}** | {_spread(without.test_accuracy)} |"
        )
    note = f"{runs.epochs.iloc[0]} epochs; mean and standard deviation over the seeds."
    return "\n".join([*lines, "", note])


def describe_effects(runs: pd.DataFrame) -> str:
    """Return what skips and norms change, as a list in words."""
    skips, norms = skip_effects(runs), norm_effects(runs)
    ours = [f"{points(row)} with {NAMES[row.norm]}" for row in skips.itertuples()]
    parts = [
        f"**Skips, with a norm,** change the test accuracy after {runs.epochs.iloc[0]} epochs, in "
        f"points, by {', '.join(ours)}; {_count_clear(skips)}.{_describe_luck(skips)}"
    ]
    bare = runs[runs.norm == "none"]
    if len(bare):
        accuracies = bare.groupby("skip").test_accuracy
        stuck, seeds = accuracies.agg(lambda a: (a < UNTRAINED).sum()), accuracies.size()
        parts.append(
            f"**Skips, without a norm:** {stuck[False]} of {seeds[False]} networks without skips "
            f"learn nothing at a learning rate of {bare.lr.iloc[0]:g}, and {stuck[True]} of "
            f"{seeds[True]} with skips."
        )
    names = norms.one.map(NAMES) + " − " + norms.other.map(NAMES)
    pairs = [f"{name} {points(r)}" for name, r in zip(names, norms.itertuples(), strict=True)]
    some = names[norms.p_holm < 0.05].tolist() if (norms.p_holm >= 0.05).any() else []
    parts.append(
        f"**Norms, with skips,** after {runs.epochs.iloc[0]} epochs, in points: "
        f"{', '.join(pairs)}; {_count_clear(norms)}{': ' if some else ''}{', '.join(some)}."
    )
    return "\n".join(f"- {part}" for part in parts)


def describe_intervals(skips: pd.DataFrame) -> str:
    """Return how sure the effects of skips are, and how many seeds would do for half a point."""
    std, width = skips["std"].max(), (skips.high - skips.low).max() / 2
    return (
        f"In brackets: 95 % intervals, not corrected for their number, of the mean over "
        f"{span(skips.seeds)} pairs of runs, each pair of one seed; seeds that only one side has "
        "are left out, so it need not be the difference of two means above. The widest one of the "
        f"skips is ±{100 * width:.1f} points; it would take {seeds_for_power(std, 0.005)} seeds to "
        "find a true effect of half a point four times in five."
    )


def describe_precision(runs: pd.DataFrame) -> str:
    """Return what bfloat16 changes, in words.

    Args:
        runs: what :func:`study.runs.load_precisions` returns.
    """
    effect, accuracies = precision_effect(runs), runs.groupby("precision").test_accuracy
    bf16, fp32 = (_spread(accuracies.get_group(name)) for name in ("bf16", "fp32"))
    return (
        f"bfloat16 instead of float32 changes the test accuracy of {runs.model.iloc[0]} with "
        f"{NAMES[effect.norm]} after {runs.epochs.iloc[0]} epochs by {points(effect)} points: "
        f"{bf16} and {fp32}, {effect.seeds} paired seeds."
    )


def tabulate_layer_norms(runs: pd.DataFrame) -> str:
    """Return what each kind of LayerNorm costs and gives, as a table.

    Args:
        runs: what :func:`study.runs.load_layer_norms` returns.
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
    seeds = span(runs.groupby("norm").seed.nunique())
    note = f"{seeds} seeds, {runs.epochs.iloc[0]} epochs, with skips; {_count_clear(effects)}."
    return "\n".join([*lines, "", note])


def tabulate_batch_sizes(runs: pd.DataFrame) -> str:
    """Return the test accuracy of each norm by the images in a batch, as a table.

    Args:
        runs: of the part ``batch sizes``.
    """
    effects = batch_effects(runs)
    leads = {(row.batch_size, row.other): points(row) for row in effects.itertuples()}
    norms = norms_of(runs)
    others = list(dict.fromkeys(effects.other))
    head = [NAMES[norm] for norm in norms] + [f"BN − {NAMES[norm]}" for norm in others]
    lines = [
        f"| images in a batch | learning rate | {' | '.join(head)} |",
        f"|{'---:|' * (2 + len(head))}",
    ]
    for size, some in runs.groupby("batch_size"):
        cells = [_spread(some[some.norm == norm].test_accuracy) for norm in norms]
        cells += [leads[size, norm] for norm in others]
        lines.append(f"| {size} | {some.lr.iloc[0]:g} | {' | '.join(cells)} |")
    seeds = span(runs.groupby(["norm", "batch_size"]).seed.nunique())
    note = f"{seeds} seeds, {runs.epochs.iloc[0]} epochs, with skips; {_count_clear(effects)}"
    fewest = runs.groupby(["norm", "batch_size"]).seed.nunique().min()
    if fewest < runs.seed.nunique():
        first = batch_effects(runs[runs.seed < fewest])
        note += f"; with the first {fewest} seeds alone {_count_clear(first)}"
    return "\n".join([*lines, "", f"{note}."])


def points(row: Any) -> str:
    """Return a difference and its interval in percentage points."""
    return f"{100 * row.difference:+z.1f} ({100 * row.low:+z.1f} to {100 * row.high:+z.1f})"


def _describe_luck(skips: pd.DataFrame) -> str:
    """Return a sentence on what could not be seen, if nothing was."""
    if (skips.p_holm < 0.05).any():
        return ""
    least = max(effect_for_power(row["std"], row.seeds) for _, row in skips.iterrows())
    return (
        f" So many seeds find a true effect four times in five if it is {100 * least:.1f} points "
        "or more."
    )


def _count_clear(table: pd.DataFrame) -> str:
    """Return how many differences of a table are more than luck."""
    clear = (table.p_holm < 0.05).sum()
    if len(table) == 1:
        return f"{'' if clear else 'not '}significant (p < 0.05)"
    return f"{clear or 'none'} of these {len(table)} significant (p < 0.05, Holm's correction)"


def _spread(accuracies: pd.Series) -> str:
    """Return mean and standard deviation in percent, or how many networks learnt nothing."""
    if stuck := (accuracies < UNTRAINED).sum():
        return f"{stuck} of {len(accuracies)} learn nothing"
    return f"{100 * accuracies.mean():.2f} ± {100 * accuracies.std():.2f} %"
