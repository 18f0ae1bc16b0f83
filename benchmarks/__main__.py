"""The speed of era8 and of what a user would run instead, in turns: python -m benchmarks."""

import os
import signal
from pathlib import Path
from typing import Any

import click
import torch

from benchmarks import GOALS, RESULTS
from benchmarks.results import Job, Results
from era8.__main__ import Command
from era8.checks import check_int, one_of
from era8.data import TRAIN_IMAGES
from era8.data.download import find_or_fetch
from era8.device import best_precision, choose_device, device_name, versions
from era8.recipe import ACCURACY_GOAL, EPOCH_LIMIT, FAST, Recipe

LOOPS = ("course", "tuned", "airbench", "era8")  # what they do: benchmarks/loops.py
NORMS = ("bn", "gn", "ln")
BATCH_SIZES = (16, 32, 64, 128, 256, 512)
AIRBENCH_BATCH = 1_000
PRESET = (
    "epochs",
    "batch_size",
    "warmup",
    "max_shift",
    "low_res_epochs",
)  # what era8's say of a training
SHORT = Recipe(epochs=4, batch_size=64, warmup=0.4, max_shift=0, low_res_epochs=2)  # as good as 20
COURSE: dict[str, Any] = {"batch_size": 32, "precision": "fp32", "workers": 4}
COURSE |= {"channels_last": False, "persistent_workers": False}


@click.command(cls=Command)
@click.argument("loops", nargs=-1, metavar="[course tuned airbench]...")
@click.option("--images", default=10_000, metavar="N", help="Training images in an epoch.")
@click.option("--rounds", default=3, metavar="N", help="Times that everything is measured.")
@click.option("--all-norms", is_flag=True, help="All norms for every loop, not for era8 alone.")
@click.option("--race", is_flag=True, help="Train the loops to accuracies, too.")
@click.option("--epochs", default=EPOCH_LIMIT - 1, metavar="N", help="Epochs of a race, at most.")
@click.option("--data", "data_dir", metavar="DIR", help="Folder of CIFAR-10.")
@click.option("--device", default="auto", help="As for python -m era8 run.")
@click.option("--out", default=RESULTS, type=Path, metavar="FILE", help="The results.")
def main(
    loops: tuple[str, ...],
    images: int,
    rounds: int,
    all_norms: bool,
    race: bool,
    epochs: int,
    data_dir: str | None,
    device: str,
    out: Path,
) -> None:
    """Measure era8 beside what a user would run instead: the given loops, or all.

    A benchmark that was stopped resumes where it was.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    loops = loops or LOOPS
    _check(loops, images, rounds, epochs, out)
    target, threads = choose_device(device), torch.get_num_threads()
    place = {"device": str(target), "root": str(find_or_fetch(data_dir).resolve().parent)}
    precision = best_precision(target)
    facts = {
        "device": device_name(target), "threads": threads, "precision": precision,
        "images": images, "batch_size": Recipe.batch_size, "versions": versions(),
    }  # fmt: skip
    results = Results(out, facts, place, click.echo)
    speed = {"part": "speed", "threads": threads, "images": images, "val_images": 0}
    speed |= {"epochs": EPOCH_LIMIT - 1, "seconds": 10}  # as many of the epochs as take 10 s
    settings: dict[str, Job] = {
        "course": COURSE,
        "airbench": {"batch_size": AIRBENCH_BATCH, "precision": precision},
        "era8": {"batch_size": Recipe.batch_size, "precision": precision},
    }
    if "tuned" in loops:
        settings["tuned"] = _tune(results, speed, precision)
    settings = {name: settings[name] for name in LOOPS if name in loops or name == "era8"}

    jobs = _plan(settings, speed, all_norms, target)
    for i in range(1, rounds + 1):
        for job in jobs:
            results.measure(job | {"round": i})
    if race:  # once; a loop's schedule spans all epochs, but era8 has its presets
        held_out = {"images": 45_000, "val_images": 5_000, "round": 1}
        races = [("race", "bn", ACCURACY_GOAL, epochs, FAST, settings)]
        both = {loop: own for loop, own in settings.items() if loop in ("course", "era8")}
        races += [("result", norm, goal, 20, SHORT, both) for norm, goal in GOALS.items()]
        for part, norm, goal, most, preset, racers in races:
            job = speed | held_out | {"part": part, "norm": norm, "goal": goal, "epochs": most}
            ours = {n: getattr(preset, n) for n in PRESET}
            for loop, own in racers.items():
                results.measure(job | {"loop": loop} | own | (ours if loop == "era8" else {}))
    results.finish()


def _plan(loops: dict[str, Job], speed: Job, all_norms: bool, device: torch.device) -> list[Job]:
    """Return what is measured in a round: each loop, and era8 in other ways."""
    jobs = [
        speed | {"loop": loop, "norm": norm} | loops[loop]
        for loop in loops
        for norm in (NORMS if all_norms or loop == "era8" else NORMS[:1])
    ]
    era8, threads = jobs[-len(NORMS)], speed["threads"]
    jobs += [era8 | {"batch_size": n} for n in BATCH_SIZES if n != era8["batch_size"]]
    if device.type == "cpu":
        jobs += [era8 | {"threads": 2**i} for i in range(threads.bit_length()) if 2**i < threads]
    return jobs


def _tune(results: Results, speed: Job, precision: str) -> dict[str, Any]:
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
        return results.measure(speed | short | settings)["images_per_second"]

    best = (rate(COURSE), COURSE)
    for name, values in search.items():
        tried = [best[1] | {name: value} for value in values if best[1][name] != value]
        best = max([best, *((rate(settings), settings) for settings in tried)], key=lambda b: b[0])
    results.log(f"best settings of the course's loop: {best[1]}")
    return best[1]


def _check(loops: tuple[str, ...], images: int, rounds: int, epochs: int, out: Path) -> None:
    """Refuse what cannot be measured."""
    for name in loops:
        one_of("loops", name, LOOPS)
    check_int("images", images, AIRBENCH_BATCH, TRAIN_IMAGES)
    check_int("rounds", rounds, 1)
    Recipe(epochs=epochs)
    if out.is_dir():
        raise ValueError(f"out must be a file; got the folder {out}; name a file in that folder")


if __name__ == "__main__":
    main(prog_name="python -m benchmarks")
