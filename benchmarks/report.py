"""What the benchmark found: ratios, shares of the machine's peaks, and the README's section."""

import json
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.results import RESULTS, describe_seconds, find_goal, find_rows
from era8.figures.style import NAMES
from era8.recipe import ACCURACY_GOAL
from era8.tables import percent

LABELS = {
    "course": "course loop", "tuned": "course loop, tuned", "airbench": "airbench style",
    "era8": "era8",
}  # fmt: skip


def load_results(path: Path = RESULTS) -> dict[str, Any] | None:
    """Read what the benchmark wrote; None if it has not been run.

    Raises:
        ValueError: if the file is damaged.
    """
    if not path.exists():
        return None
    try:
        results = json.loads(path.read_text())
        compare(results)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} holds no readable results of a benchmark: {error!r}") from None
    return results


def compare(results: dict[str, Any]) -> pd.DataFrame:
    """Return one row for each loop and norm, in the order in which they were measured.

    Columns: ``loop``, ``norm``, ``batch_size``, ``precision``; medians over the rounds of
    ``images_per_second``, ``memory`` (bytes), ``ratio`` (how many times as fast era8 was with the
    same norm in the same round), ``intensity`` (operations per byte), ``performance`` (operations
    per second), ``roof`` (the most that the machine's peaks allow at this intensity) and ``share``
    (performance / roof); ``slowest``, ``fastest``, ``ratio_low`` and ``ratio_high`` of the rounds.
    """
    rows, peaks = find_rows(results, "speed"), find_rows(results, "peaks")
    rows = rows[rows.threads == results["threads"]]
    rows = rows[(rows.loop != "era8") | (rows.batch_size == results["batch_size"])]
    ours = rows.loc[rows.loop == "era8", ["round", "norm", "images_per_second"]]
    rows = rows.merge(ours, on=["round", "norm"], suffixes=("", "_era8"))
    rows = rows.merge(peaks.drop(columns=["part", "threads"]), on=["round", "precision"])
    rows["ratio"] = rows.images_per_second_era8 / rows.images_per_second
    rows["intensity"] = rows.flops / rows.bytes
    rows["performance"] = rows.images_per_second * rows.flops
    rows["roof"] = (rows.intensity * rows.bytes_per_second).clip(upper=rows.flops_per_second)
    rows["share"] = rows.performance / rows.roof
    return rows.groupby(["loop", "norm"], sort=False, as_index=False).agg(
        batch_size=("batch_size", "first"),
        precision=("precision", "first"),
        memory=("memory", "median"),
        images_per_second=("images_per_second", "median"),
        slowest=("images_per_second", "min"),
        fastest=("images_per_second", "max"),
        ratio=("ratio", "median"),
        ratio_low=("ratio", "min"),
        ratio_high=("ratio", "max"),
        flops=("flops", "first"),
        bytes=("bytes", "first"),
        intensity=("intensity", "first"),
        performance=("performance", "median"),
        roof=("roof", "median"),
        share=("share", "median"),
    )


def render(results: dict[str, Any] | None) -> str:
    """Return the README's section on speed; nothing if there are no results."""
    if results is None:
        return ""
    rounds = find_rows(results, "speed")["round"].nunique()
    commit = results["versions"]["commit"]
    memory = "allocated on the GPU" if "cuda" in results["device"] else "of the process"
    parts = [
        "## Speed",
        f"The same network, trained by different loops in turns on one machine "
        f"({results['device']}; commit {commit}), each measurement in a process of its own. Whole "
        f"epochs of {results['images']:,} images are timed, loading and augmentation included. "
        f"Numbers are medians of {rounds} round{'s' * (rounds > 1)}, in brackets the lowest and "
        "the highest.",
        "![Training speed of era8 and of other loops](figures/throughput.png)",
        _table(compare(results)),
        _loops(results),
        f"Peak memory is that {memory}, without the workers of a DataLoader.",
        "![Speed against what the machine could do](figures/roofline.png)",
        _roofline(results),
        "![Speed of era8 against batch size and threads](figures/batch_size.png)",
    ]
    if any(row["part"] == "race" for row in results["measurements"]):
        parts += ["![Accuracy against seconds of training](figures/race.png)", _race(results)]
    return "\n\n".join(parts)


def _table(table: pd.DataFrame) -> str:
    lines = [
        "| | norm | batch | precision | images/s | era8 against it | peak memory |",
        "|---|---|---:|---|---:|---:|---:|",
    ]
    for row in table.itertuples():
        ratio = f"**{row.ratio:.2f} ×** ({row.ratio_low:.2f} to {row.ratio_high:.2f})"
        lines.append(
            f"| {LABELS[row.loop]} | {NAMES[row.norm]} | {row.batch_size:,} | {row.precision} | "
            f"{row.images_per_second:,.0f} ({row.slowest:,.0f} to {row.fastest:,.0f}) | "
            f"{'' if row.loop == 'era8' else ratio} | {row.memory / 2**20:,.0f} MiB |"
        )
    return "\n".join(lines)


def _loops(results: dict[str, Any]) -> str:
    rows = find_rows(results, "speed").drop_duplicates("loop").set_index("loop")
    texts = {
        "course": "torchvision's `CIFAR10` and a `DataLoader` with {workers:.0f} workers, random "
        "crop and flip of PIL images, two `item()` in each step",
        "tuned": "the same with the fastest settings that a short search found here: batches of "
        "{batch_size}, {precision}, {workers:.0f} workers{kept}{layout}",
        "airbench": "all images on the device, normalised once, moved and mirrored a whole epoch "
        "at a time; written for this comparison in the style of "
        "[airbench](https://arxiv.org/abs/2404.00498)",
    }
    lines = []
    for loop, text in texts.items():
        if loop in rows.index:
            row = rows.loc[loop].to_dict()
            row["kept"] = " kept from epoch to epoch" if row.get("persistent_workers") else ""
            row["layout"] = ", channels last" if row.get("channels_last") else ""
            lines.append(f"- *{LABELS[loop]}*: {text.format(**row)}")
    return "\n".join(lines)


def _roofline(results: dict[str, Any]) -> str:
    table = compare(results)
    ours = table[table.loop == "era8"]
    peaks = find_rows(results, "peaks").groupby("precision").median(numeric_only=True)
    first, peak = ours.iloc[0], peaks.loc[results["precision"]]
    ridge = peak.flops_per_second / peak.bytes_per_second
    limit = "memory bandwidth" if first.intensity < ridge else "arithmetic"
    shares = [f"{percent(row.share, 0)} with {NAMES[row.norm]}" for row in ours.itertuples()]
    return (
        f"Per image, a training step with {NAMES[first.norm]} makes {first.flops / 1e6:.0f} "
        f"million operations and moves {first.bytes / 1e6:.1f} MB if nothing stays in a cache: "
        f"{first.intensity:.1f} operations per byte. This machine computes as fast as it moves "
        f"data at {ridge:.0f}, so {limit} is the limit. Of what that allows era8 reaches "
        f"{', '.join(shares)}."
    )


def _race(results: dict[str, Any]) -> str:
    rows, times = find_rows(results, "race"), list[str]()
    ends = rows[rows.loop == "era8"].epochs.tolist() + rows[rows.loop != "era8"].epochs.tolist()
    others = f", those of the others after {ends[-1]}" if len(ends) > 1 else ""
    passed = {row.loop: find_goal(row.history) for row in rows.itertuples()}
    for row in rows.itertuples():
        seconds, ours = passed[row.loop], passed.get("era8")
        reached = describe_seconds(seconds) if seconds else f"not in {len(row.history)} epochs"
        if seconds and ours and row.loop != "era8":
            reached += f" ({seconds / ours:.1f} times as long)"
        times.append(f"{LABELS[row.loop]}: {reached}")
    return (
        f"Training until an epoch ends with {percent(ACCURACY_GOAL, 0)} of {row.val_images:,} "
        f"held-out training images recognised: {'; '.join(times)}. Each loop has its own recipe, "
        f"all have the same first weights; one seed. era8's schedule ends after {ends[0]} "
        f"epochs{others}. The clock stands still while the network is tested."
    )
