"""What a sweep is going to do, how long it will take, and how far it is."""

import os
import re
import sys
from collections import Counter
from collections.abc import Sequence
from statistics import median
from typing import TextIO

import pandas as pd
import torch
from tqdm import tqdm

from era8 import WAITING
from era8.data import load_synthetic
from era8.device import choose_device
from era8.recipe import Recipe
from era8.records import CHECKPOINT
from era8.sweep.cell import Place, find_open
from era8.sweep.grid import Cell
from era8.train import fit

# What the speed depends on
KIND = ("model", "norm", "skip", "groups", "batch_size", "precision", "optimizer")
AT_ONCE = 5_000  # images that are trained on in less time than it takes to find out how long


def share_threads(workers: int) -> int:
    """Return how many threads each of several processes is to have on this machine."""
    return max(1, _count_cores() // workers)


def share_workers(wanted: str, cells: int, device: str) -> int:
    """Return how many cells to train at a time; ``auto``: one on a GPU, else one for each core."""
    if wanted.isdecimal() and int(wanted):
        return min(cells, int(wanted))
    if wanted != "auto":
        raise ValueError(f"workers must be auto or a whole number of at least 1; got {wanted!r}")
    return 1 if choose_device(device).type != "cpu" else min(cells, _count_cores())


def _count_cores() -> int:
    there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return there or 1


def announce(cells: Sequence[Cell], place: Place, workers: int, trainings: int) -> str:
    """Return what is going to be trained and about how long it takes, from a short try.

    Args:
        cells: what is to be trained.
        place: where.
        workers: cells at a time.
        trainings: of each cell; a notebook may have two.
    """
    torch.set_num_threads(place.threads)
    epochs = cells[0].settings["epochs"]  # as of each other cell, and as many images
    images = -(-len(cells) // workers) * trainings * epochs * cells[0].images
    said = "less than a minute"
    if images > AT_ONCE:
        minutes = max(1, round(images / _images_per_second(cells[0], place.device) / 60))
        said = f"about {minutes} min here (shorter: --epochs 2 --train-images 5000)"
    return (
        f"{trainings * len(cells)} trainings (epochs: {epochs}), {workers} at a time: {said}"
        f"{WAITING}"
    )


def estimate(cells: Sequence[Cell], place: Place) -> pd.DataFrame:
    """Return one row per cell: its name, what is there of it, and the minutes that it will take.

    Each kind of network and batch is trained for a few steps on generated pictures, to be timed
    with the threads of one worker. What a checkpoint has saved is not taken off.
    """
    torch.set_num_threads(place.threads)
    open_names = {cell.name for cell in find_open(cells, place)}
    speeds: dict[tuple, float] = {}
    rows = []
    for cell in cells:
        minutes, state = 0.0, "finished"
        if cell.name in open_names:
            kind = tuple(cell.settings[name] for name in KIND)
            if kind not in speeds:
                speeds[kind] = _images_per_second(cell, place.device)
            minutes = cell.settings["epochs"] * cell.images / speeds[kind] / 60
            state = "begun" if (place.folder(cell) / CHECKPOINT).exists() else "open"
        rows.append((cell.name, state, minutes))
    return pd.DataFrame(rows, columns=["cell", "state", "minutes"])


def _images_per_second(cell: Cell, device: str) -> float:
    """Return the median of a few short epochs: whatever else the machine does comes and goes."""
    data = load_synthetic(device, max(256, 3 * cell.settings["batch_size"]))
    names = ("batch_size", "precision", "optimizer", "limits")
    recipe = Recipe(6, **{name: cell.settings[name] for name in names})
    record = fit(cell.make_model(), data, recipe, log=lambda line: None)
    return len(data.train) / median(row["seconds"] for row in record.history[1:])  # 1: warms up


def say(text: str, file: TextIO | None = None) -> None:
    """Print a text; if whoever read it has gone, as ``| head -1`` does, all goes on in silence."""
    file = file or sys.stdout
    try:
        print(text, file=file, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), file.fileno())


class SweepBar(tqdm):
    """A progress bar over the images that the cells are trained on; lines without a terminal."""

    def __init__(self, cells: Sequence[Cell], trainings: int = 1) -> None:
        self.last, self.seen, self.ended = Counter[str](), Counter[str](), 0
        self.cells, self.trainings = len(cells), trainings  # of each cell: a notebook may have two
        total = trainings * sum(cell.settings["epochs"] * cell.images for cell in cells)
        form = "{percentage:3.0f} %|{bar}| {elapsed}, {remaining} left{postfix}"
        super().__init__(total=total, disable=None, bar_format=form)

    def show(self, cell: Cell, line: str) -> None:
        """Advance by the epoch that a line of a cell reports; an empty line is the cell's end."""
        left = self.trainings * cell.settings["epochs"] - self.seen[cell.name]
        epochs = 0 if line else left
        if said := re.match(r"epoch +(\d+)/", line):
            epoch, last = int(said[1]), self.last[cell.name]
            self.last[cell.name] = epoch
            epochs = min(left, epoch - last if epoch > last else epoch)  # or a second training's
        self.seen[cell.name] += epochs
        self.ended += not line
        if self.disable or (line and not said):
            (say if self.disable else self.write)(f"{cell.name}: {line or 'end'}")
        self.set_postfix_str(f"{self.ended} of {self.cells}", refresh=False)
        self.update(epochs * cell.images)
