"""The benchmark: era8 and what a user would run instead, in turns, each in its own process."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.results import RESULTS, ROOT, Job, Results
from era8.data import TRAIN_IMAGES
from era8.data.download import find_or_fetch
from era8.device import best_precision, choose_device, device_name, versions
from era8.recipe import EPOCH_LIMIT, FAST, Recipe

LOOPS = ("course", "tuned", "airbench", "era8")  # what they do: benchmarks/loops.py
NORMS = ("bn", "gn", "ln")
BATCH_SIZES = (16, 32, 64, 128, 256, 512)
AIRBENCH_BATCH = 1_000
VAL_IMAGES = 5_000  # held out in a race
COURSE: dict[str, Any] = {
    "batch_size": 32, "precision": "fp32", "workers": 4, "channels_last": False,
    "persistent_workers": False,
}  # fmt: skip


def run_benchmark(
    loops: Sequence[str] = LOOPS,
    images: int = 10_000,
    rounds: int = 3,
    all_norms: bool = False,
    race: bool = False,
    epochs: int = EPOCH_LIMIT - 1,
    device: str = "auto",
    data_dir: str | None = None,
    out: Path = RESULTS,
    log: Callable[[str], Any] = print,
) -> None:
    """Measure era8 and what a user would run instead, in turns, and write the results to a file.

    Args:
        loops: which of ``LOOPS``; era8 is always among them, for the others are compared with it.
        images: training images in an epoch.
        rounds: how many times everything is measured.
        all_norms: whether the other loops train all three norms too, and not BatchNorm alone.
        race: whether each loop is then trained to 70 % on held-out images, once.
        epochs: of the race, at most; a loop's schedule spans all of them. era8 has its preset
            :data:`era8.FAST` there.
        device: as for :func:`era8.load_cifar10`, and so is ``data_dir``.
        data_dir: folder of CIFAR-10.
        out: the file of the results. A benchmark that was stopped goes on where it was.
        log: called with one line after each measurement.

    Raises:
        ValueError: if an argument is out of its range.
        FileNotFoundError: if there is no CIFAR-10, or era8 was installed without its repository.
        ChildProcessError: if a measurement failed.
    """
    _check(loops, images, rounds, epochs)
    target, threads = choose_device(device), torch.get_num_threads()
    place = {"device": str(target), "root": str(find_or_fetch(data_dir).resolve().parent)}
    precision = best_precision(target)
    facts = {
        "device": device_name(target), "threads": threads, "precision": precision,
        "images": images, "batch_size": Recipe.batch_size, "versions": versions(),
    }  # fmt: skip
    results = Results(out, facts, place, log)

    speed = {"part": "speed", "threads": threads, "images": images, "val_images": 0}
    speed |= {"epochs": EPOCH_LIMIT - 1, "seconds": 10}  # as many of the epochs as take 10 s
    settings: dict[str, dict[str, Any]] = {
        "course": COURSE,
        "airbench": {"batch_size": AIRBENCH_BATCH, "precision": precision},
        "era8": {"batch_size": Recipe.batch_size, "precision": precision},
    }
    if "tuned" in loops:
        settings["tuned"] = tune(results, speed, precision)
    settings = {name: settings[name] for name in LOOPS if name in loops or name == "era8"}
    jobs = [
        speed | {"loop": loop, "norm": norm} | settings[loop]
        for loop in settings
        for norm in (NORMS if all_norms or loop == "era8" else NORMS[:1])
    ]
    era8 = jobs[-len(NORMS)]
    jobs += [era8 | {"batch_size": n} for n in BATCH_SIZES if n != Recipe.batch_size]
    if target.type == "cpu":
        jobs += [era8 | {"threads": 2**i} for i in range(threads.bit_length()) if 2**i < threads]
    kinds = dict.fromkeys(("fp32", precision))
    jobs += [{"part": "peaks", "threads": threads, "precision": kind} for kind in kinds]
    for i in range(1, rounds + 1):
        for job in jobs:
            results.measure(job | {"round": i})
    if race:
        held_out = {"images": TRAIN_IMAGES - VAL_IMAGES, "val_images": VAL_IMAGES}
        job = speed | {"part": "race", "norm": "bn", "epochs": epochs, "round": 1} | held_out
        preset = {name: getattr(FAST, name) for name in ("epochs", "batch_size", "lr", "crop")}
        for loop in settings:
            own = preset if loop == "era8" else {}
            results.measure(job | {"loop": loop} | settings[loop] | own)
    results.finish()


def tune(results: Results, speed: Job, precision: str) -> dict[str, Any]:
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


def _check(loops: Sequence[str], images: int, rounds: int, epochs: int) -> None:
    """Refuse what cannot be measured."""
    for name in loops:
        if name not in LOOPS:
            raise ValueError(f"loops must be among {', '.join(LOOPS)}; got {name!r}")
    if not AIRBENCH_BATCH <= images <= TRAIN_IMAGES:
        raise ValueError(
            f"images must be between {AIRBENCH_BATCH:,} and {TRAIN_IMAGES:,}; got {images}"
        )
    if rounds < 1:
        raise ValueError(f"rounds must be at least 1; got {rounds}")
    Recipe(epochs=epochs)
    if not (ROOT / "benchmarks" / "measure.py").is_file():
        raise FileNotFoundError(
            f"{ROOT / 'benchmarks'} does not exist; run era8 from a clone of its repository"
        )
