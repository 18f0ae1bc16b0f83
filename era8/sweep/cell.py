"""One cell of a grid: trained in this process, whatever may have been left by an earlier one."""

import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from torch import nn

from era8.data import SYNTHETIC_IMAGES, TRAIN_IMAGES, Data, load_data
from era8.notebooks import NOTEBOOKS, check_parameters, run_notebook
from era8.records import CHECKPOINT, Record, load_run, save_run
from era8.sweep.grid import DEFAULTS, Cell
from era8.train import fit


@dataclass(frozen=True)
class Place:
    """Where the cells of a sweep run and what they share."""

    out: Path  # in which each cell has its own folder
    data_dir: str = ""  # as for era8.load_data, like the next
    device: str = "auto"
    threads: int = 1  # of the CPU, for each cell
    notebooks: bool = False  # whether a cell is its norm's notebook, run through papermill

    @property
    def synthetic(self) -> bool:
        """Whether the cells are trained on generated pictures."""
        return self.data_dir == "synthetic"


def find_open(cells: Sequence[Cell], place: Place) -> list[Cell]:
    """Return the cells that have not been trained.

    Raises:
        ValueError: if a cell's folder holds another run, or a notebook cannot take its settings.
    """
    if place.notebooks:
        for cell in cells:
            notebook_parameters(cell, place)
    return [cell for cell in cells if not find_finished(cell, place)]


def find_finished(cell: Cell, place: Place) -> Record | None:
    """Return the record of a cell that has been trained, None of one that has not.

    Neither has one whose record cannot be read, or that is to be a notebook and has none.

    Raises:
        ValueError: if the folder holds the record of another run.
    """
    folder = place.out / cell.name
    try:
        record = load_run(folder)
    except ValueError:
        return None
    data, most = ("synthetic", SYNTHETIC_IMAGES) if place.synthetic else ("cifar10", TRAIN_IMAGES)
    difference = cell.differs_from(record, most)
    if record.data != data:
        difference = f"data is {record.data}, not {data}"
    if difference:
        raise ValueError(f"{folder} holds the record of another run ({difference}); move it away")
    there = not place.notebooks or (folder / NOTEBOOKS[record.norm]).exists()
    return record if there else None


@contextmanager
def claim(cell: Cell, place: Place) -> Iterator[Path | None]:
    """Yield the folder of a cell, ready to be written to by this process alone.

    Yields None if the cell has been trained. What an earlier try left is cleared, but a record
    that cannot be read, which is renamed with what belongs to it.

    Raises:
        filelock.Timeout: if another process is at it.
        ValueError: as :func:`find_finished`.
    """
    folder = place.out / cell.name
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".lock", timeout=0):
        if find_finished(cell, place):
            yield None
            return
        for leftover in folder.glob(".*.partial*"):  # of a process that was killed as it wrote
            leftover.unlink()
        if (folder / "record.json").exists():
            numbers = itertools.count()
            aside = next(f"aside-{i}-" for i in numbers if not any(folder.glob(f"aside-{i}-*")))
            for path in folder.glob("[!.]*.*"):
                if path.name != CHECKPOINT and not path.name.startswith("aside-"):
                    path.rename(folder / f"{aside}{path.name}")
        yield folder


def notebook_parameters(cell: Cell, place: Place) -> dict[str, Any]:
    """Return what the notebook of a cell's norm is to be given, once it is checked."""
    norm = cell.settings["norm"]
    known = check_parameters(norm, {})  # its own defaults may be others than those of a grid
    settings = {
        name: value
        for name, value in cell.settings.items()
        if name in known or (value != DEFAULTS[name] and name != "norm")
    }
    shared = {"device": place.device, "data_dir": place.data_dir}
    return check_parameters(norm, settings | shared | {"compare_skip": False})


def run_cell(cell: Cell, place: Place, log: Callable[[str], Any]) -> None:
    """Train a cell, unless it has been trained, and write its folder, from its checkpoint on.

    ``log`` is called with one line after each epoch. Raises what :func:`claim` and
    :func:`era8.fit` do.
    """
    with claim(cell, place) as folder:
        if folder and place.notebooks:
            os.environ["OMP_NUM_THREADS"] = str(place.threads)  # the notebook's own process has it
            run_notebook(cell.settings["norm"], folder, notebook_parameters(cell, place), log)
        elif folder:
            torch.set_num_threads(place.threads)
            data = load_data(place.data_dir, place.device, cell.settings["train_images"])
            save_run(folder, *train_cell(cell, data, log, folder / CHECKPOINT))


def train_cell(
    cell: Cell, data: Data, log: Callable[[str], Any], checkpoint: Path | None = None
) -> tuple[Record, nn.Module]:
    """Return the record and the trained model of a cell, from the images it asked for."""
    torch.manual_seed(cell.settings["seed"])
    model = cell.make_model()
    held = data.hold_out(cell.settings["val_images"])
    return fit(model, held, cell.recipe, log, checkpoint), model


def explain(error: BaseException) -> str:
    """Return the kind of an error and the first line of what it says."""
    return ": ".join([type(error).__name__, *str(error).strip().splitlines()[:1]])
