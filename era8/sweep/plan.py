"""What a sweep is going to do, how long it will take, and how far it is."""

import os
import re
from collections import Counter
from collections.abc import Sequence

import pandas as pd
import torch
from tqdm import tqdm

from era8.data import load_synthetic
from era8.recipe import Recipe
from era8.records import CHECKPOINT
from era8.sweep.cell import Place, find_open
from era8.sweep.grid import Cell
from era8.train import fit

KIND = ("model", "norm", "skip", "groups", "batch_size", "precision")  # what the speed depends on


def share_threads(workers: int) -> int:
    """Return how many threads each of several processes is to have on this machine."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, (cores or 1) // workers)


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
            state = "begun" if (place.out / cell.name / CHECKPOINT).exists() else "open"
        rows.append((cell.name, state, minutes))
    return pd.DataFrame(rows, columns=["cell", "state", "minutes"])


def _images_per_second(cell: Cell, device: str) -> float:
    data = load_synthetic(device, max(256, 3 * cell.settings["batch_size"]))
    names = ("batch_size", "precision", "limits")
    recipe = Recipe(2, **{name: cell.settings[name] for name in names})
    record = fit(cell.make_model(), data, recipe, log=lambda line: None)
    return len(data.train) / record.history[-1]["seconds"]  # the first epoch warms up


class SweepBar(tqdm):
    """A progress bar over the images that the cells are trained on; lines without a terminal."""

    def __init__(self, cells: Sequence[Cell]) -> None:
        self.seen, self.ended, self.cells = Counter[str](), 0, len(cells)
        total = sum(cell.settings["epochs"] * cell.images for cell in cells)
        form = "{percentage:3.0f} %|{bar}| {elapsed}, {remaining} left{postfix}"
        super().__init__(total=total, disable=None, bar_format=form)

    def show(self, cell: Cell, line: str) -> None:
        """Advance by the epoch that a line of a cell reports; an empty line is the cell's end."""
        said = re.match(r"epoch +(\d+)/", line)  # a cell may go on from a checkpoint, or fail
        epochs = int(said[1]) if said else cell.settings["epochs"]
        epochs = max(0, epochs - self.seen[cell.name])
        self.seen[cell.name] += epochs
        self.ended += not line
        if self.disable:
            print(f"{cell.name}: {line or 'end'}", flush=True)
        self.set_postfix_str(f"{self.ended} of {self.cells} cells", refresh=False)
        self.update(epochs * cell.images)
