"""The speed of era8 and of what a user would run instead, in turns: python -m benchmarks."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import click
import torch

from benchmarks import GOALS, RESULTS, ROOT
from benchmarks.loops import LOOPS
from benchmarks.measure import SETTINGS
from era8.__main__ import Command
from era8.data import TRAIN_IMAGES
from era8.data.download import find_or_fetch
from era8.device import best_precision, choose_device, device_name, versions
from era8.disk import atomic_write
from era8.recipe import ACCURACY_GOAL, EPOCH_LIMIT, FAST, Recipe
from era8.tables import percent

BATCH_SIZES = (16, 32, 64, 128, 256, 512)
AIRBENCH_BATCH = 1_000
PRESET = ("epochs", "batch_size", "warmup", "max_shift", "low_res_epochs")
SHORT = Recipe(epochs=4, batch_size=64, warmup=0.4, max_shift=0, low_res_epochs=2)  # as good as 20
COURSE: dict[str, Any] = {"batch_size": 32, "precision": "fp32", "workers": 4}
COURSE |= {"channels_last": False, "persistent_workers": False}
SHOWN = ("part", "loop", "norm", *SETTINGS, "threads", "round")  # of a job, in the terminal
Job = dict[str, Any]  # what to measure, as benchmarks/measure.py reads it, and what was measured


@click.command(cls=Command)
@click.argument("loops", nargs=-1, type=click.Choice(LOOPS))
@click.option(
    "--images",
    default=10_000,
    type=click.IntRange(AIRBENCH_BATCH, TRAIN_IMAGES),
    help="Training images in an epoch.",
)
@click.option("--rounds", default=3, type=click.IntRange(1), help="Repetitions of everything.")
@click.option("--race", is_flag=True, help="Train the loops to accuracies, too.")
@click.option("--data", "data_dir", metavar="DIR", help="Folder of CIFAR-10.")
@click.option("--device", default="auto", help="As for python -m era8 run.")
@click.option("--out", default=RESULTS, type=click.Path(dir_okay=False, path_type=Path),
              help="The results.")  # fmt: skip
def main(
    loops: tuple[str, ...],
    images: int,
    rounds: int,
    race: bool,
    data_dir: str | None,
    device: str,
    out: Path,
) -> None:
    """Measure era8 beside what a user would run instead: the given loops, or all."""
    loops = loops or tuple(LOOPS)
    target, threads = choose_device(device), torch.get_num_threads()
    place = {"device": str(target), "root": str(find_or_fetch(data_dir).resolve().parent)}
    precision = best_precision(target)
    facts = {
        "device": device_name(target), "threads": threads, "precision": precision,
        "images": images, "batch_size": Recipe.batch_size, "versions": versions(),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }  # fmt: skip
    rows = list[Job]()
    out.parent.mkdir(parents=True, exist_ok=True)
    TemporaryFile(dir=out.parent).close()  # what cannot be kept is not measured

    def measure(job: Job) -> Job:
        rows.append(job | measure_apart(job | place))
        click.echo(describe(rows[-1]))
        return rows[-1]

    speed = {"part": "speed", "threads": threads, "images": images, "val_images": 0}
    speed |= {"epochs": EPOCH_LIMIT - 1, "seconds": 10}  # as many of the epochs as take 10 s
    settings: dict[str, Job] = {
        "course": COURSE,
        "airbench": {"batch_size": AIRBENCH_BATCH, "precision": precision},
        "era8": {"batch_size": Recipe.batch_size, "precision": precision},
    }
    if "tuned" in loops:
        settings["tuned"] = _tune(measure, speed, precision)
    settings = {name: settings[name] for name in LOOPS if name in loops or name == "era8"}

    jobs = _plan(settings, speed, target)
    for i in range(1, rounds + 1):
        for job in jobs:
            measure(job | {"round": i})
    if race:  # once; a loop's schedule spans all epochs, but era8 has its presets
        held_out = {"images": 45_000, "val_images": 5_000, "round": 1}
        races = [("race", "bn", ACCURACY_GOAL, EPOCH_LIMIT - 1, FAST, settings)]
        both = {loop: own for loop, own in settings.items() if loop in ("course", "era8")}
        races += [("result", norm, goal, 20, SHORT, both) for norm, goal in GOALS.items()]
        for part, norm, goal, most, preset, racers in races:
            job = speed | held_out | {"part": part, "norm": norm, "goal": goal, "epochs": most}
            ours = {n: getattr(preset, n) for n in PRESET}
            for loop, own in racers.items():
                measure(job | {"loop": loop} | own | (ours if loop == "era8" else {}))
    head = json.dumps(facts, indent=1).removesuffix("\n}")
    measured = ",\n  ".join(map(json.dumps, rows))
    with atomic_write(out) as path:  # readable, with each measurement on one line
        path.write_text(f'{head},\n "measurements": [\n  {measured}\n ]\n}}\n')
    click.echo(f"written to {out}")


def _plan(loops: dict[str, Job], speed: Job, device: torch.device) -> list[Job]:
    """Return what is measured in a round: each loop, and era8 in other ways."""
    jobs = [
        speed | {"loop": loop, "norm": norm} | loops[loop]
        for loop in loops
        for norm in (GOALS if loop == "era8" else ["bn"])
    ]
    era8, threads = jobs[-len(GOALS)], speed["threads"]
    jobs += [era8 | {"batch_size": n} for n in BATCH_SIZES if n != era8["batch_size"]]
    if device.type == "cpu":
        jobs += [era8 | {"threads": 2**i} for i in range(threads.bit_length()) if 2**i < threads]
    return jobs


def _tune(measure: Callable[[Job], Job], speed: Job, precision: str) -> dict[str, Any]:
    """Return the fastest settings of the course's loop, found one after another.

    Each setting is tried with the best of those before it, shortly and on half of the images.
    """
    search: dict[str, list[Any]] = {
        "precision": [precision],
        "channels_last": [True],
        "batch_size": [64, 128, 512],
        "workers": sorted({0, 1, 2, os.cpu_count() or 1}),
        "persistent_workers": [True],
    }
    short = {"part": "tune", "loop": "tuned", "norm": "bn", "round": 0, "seconds": 3}
    short["images"] = speed["images"] // 2

    def rate(settings: dict[str, Any]) -> float:
        return measure(speed | short | settings)["images_per_second"]

    best = (rate(COURSE), COURSE)
    for name, values in search.items():
        tried = [best[1] | {name: value} for value in values if best[1][name] != value]
        best = max([best, *((rate(settings), settings) for settings in tried)], key=lambda b: b[0])
    click.echo(f"best settings of the course's loop: {best[1]}")
    return best[1]


def measure_apart(job: Job) -> dict[str, Any]:
    """Measure in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.measure", json.dumps(job)]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if process.returncode:
        reason = (process.stderr.strip().splitlines() or [f"exit status {process.returncode}"])[-1]
        raise ChildProcessError(f"the measurement {describe(job)} failed: {reason}")
    return json.loads(process.stdout)


def describe(row: Job) -> str:
    """Return one line on a measurement that was made, or is to be made."""
    words = [row[n] if isinstance(row[n], str) else f"{n} {row[n]}" for n in SHOWN if n in row]
    if "images_per_second" in row:
        words += [f"{row['images_per_second']:,.0f} images/s", f"{row['memory'] / 2**20:,.0f} MiB"]
    elif "history" in row:
        last = row["history"][-1]
        words += [f"{percent(last['accuracy'])} after {last['seconds']:,.1f} s"]
    return "  ".join(words)


if __name__ == "__main__":
    main(prog_name="python -m benchmarks")
