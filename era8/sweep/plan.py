"""What a sweep is going to do: which cells are open, and how long they will take."""

import os
from collections.abc import Sequence

import pandas as pd
import torch

from era8.data import load_synthetic
from era8.recipe import Recipe
from era8.records import CHECKPOINT
from era8.sweep.cell import Place, find_finished, notebook_parameters
from era8.sweep.grid import Cell
from era8.train import fit

KIND = ("model", "norm", "skip", "groups", "batch_size", "precision")  # what the speed depends on


def share_threads(workers: int) -> int:
    """Return how many threads each of several processes is to have on this machine."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, (cores or 1) // workers)


def find_open(cells: Sequence[Cell], place: Place) -> list[Cell]:
    """Return the cells that have not been trained.

    Raises:
        ValueError: if a cell's folder holds another run, or a notebook cannot take its settings.
    """
    if place.notebooks:
        for cell in cells:
            notebook_parameters(cell, place)
    return [cell for cell in cells if not find_finished(cell, place)]


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
        settings, minutes, state = cell.settings, 0.0, "finished"
        if cell.name in open_names:
            kind = tuple(settings[name] for name in KIND)
            if kind not in speeds:
                speeds[kind] = _images_per_second(cell, place.device)
            images = settings["epochs"] * (settings["train_images"] - settings["val_images"])
            minutes = images / speeds[kind] / 60
            state = "begun" if (place.out / cell.name / CHECKPOINT).exists() else "open"
        rows.append((cell.name, state, minutes))
    return pd.DataFrame(rows, columns=["cell", "state", "minutes"])


def _images_per_second(cell: Cell, device: str) -> float:
    """Return how many images a second a network like the cell's is trained on."""
    batch_size = cell.settings["batch_size"]
    data = load_synthetic(device, max(256, 3 * batch_size))
    names = ("batch_size", "precision", "limits")
    recipe = Recipe(2, **{name: cell.settings[name] for name in names})
    record = fit(cell.make_model(), data, recipe, log=lambda line: None)
    return len(data.train) / record.history[-1]["seconds"]  # the first epoch warms up
