"""One cell of a grid: trained in this process, whatever may have been left by an earlier one."""

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from era8.data import SYNTHETIC_IMAGES, Data, load_data
from era8.notebooks import NOTEBOOKS, check_parameters, run_notebook
from era8.recipe import DEFAULTS, name_run
from era8.records import CHECKPOINT, Record, claim, load_run
from era8.sweep.grid import Cell
from era8.train import fit, fit_in, refuse_other


@dataclass(frozen=True)
class Place:
    """Where the cells of a sweep run and what they share."""

    out: Path  # in which each cell has its own folder
    data_dir: str = ""  # as for era8.load_data, like the next
    device: str = "auto"
    threads: int = 1  # of the CPU, for each cell
    notebooks: bool = False  # whether a cell is its norm's notebook, run through papermill
    more: Mapping[str, Any] = field(default_factory=dict)  # parameters of the notebooks alone
    bare: frozenset[str] = frozenset()  # names of cells that another's notebook is to find trained

    @property
    def synthetic(self) -> bool:
        """Whether the cells are trained on generated pictures."""
        return self.data_dir == "synthetic"

    def is_notebook(self, cell: Cell) -> bool:
        """Return whether a cell is run as a notebook."""
        return self.notebooks and cell.name not in self.bare

    def settings(self, cell: Cell) -> dict[str, Any]:
        """Return the settings of a cell, with no more images than there are, and the data."""
        if not self.synthetic:
            return cell.settings | {"data": "cifar10"}
        images = min(cell.settings["train_images"], SYNTHETIC_IMAGES)
        return cell.settings | {"train_images": images, "data": "synthetic"}

    def folder(self, cell: Cell) -> Path:
        """Return the folder of a cell: the one that :func:`era8.train.fit_in` gives its run."""
        return self.out / name_run(self.settings(cell))


def find_open(cells: Sequence[Cell], place: Place) -> list[Cell]:
    """Return the cells that have not been trained, or were not cleared up after.

    Raises:
        ValueError: if a cell's folder holds another run, or a notebook cannot take its settings.
    """
    for cell in filter(place.is_notebook, cells):
        notebook_parameters(cell, place)
    todo = []
    for cell in cells:
        with suppress(OSError):  # one that may not be read fails alone, when its turn comes
            left = (place.folder(cell) / CHECKPOINT).exists()  # it goes last of all
            if find_finished(cell, place) and not left:
                continue
        todo.append(cell)
    return todo


def find_finished(cell: Cell, place: Place) -> Record | None:
    """Return the record of a cell that has been trained, None of one that has not.

    Neither has one whose record cannot be read, or that is to be a notebook and has none.

    Raises:
        ValueError: if the folder holds the record of another run.
    """
    folder = place.folder(cell)
    try:
        record = load_run(folder)
    except ValueError:
        return None
    refuse_other(record, place.settings(cell), folder)
    there = not place.is_notebook(cell) or (folder / NOTEBOOKS[record.norm]).exists()
    return record if there else None


def notebook_parameters(cell: Cell, place: Place) -> dict[str, Any]:
    """Return what the notebook of a cell's norm is to be given, once it is checked."""
    settings = {name: v for name, v in cell.settings.items() if v != DEFAULTS[name]}
    settings.pop("norm", None)
    shared = {"device": place.device, "data_dir": place.data_dir, "out_dir": str(place.out)}
    return check_parameters(
        cell.settings["norm"], {"compare_skip": False} | settings | shared | dict(place.more)
    )


def run_cell(cell: Cell, place: Place, log: Callable[[str], Any]) -> None:
    """Train a cell, unless it has been trained, and write its folder, from its checkpoint on.

    ``log`` is called with one line after each epoch. Raises what :func:`era8.records.claim` and
    :func:`era8.fit_in` do.
    """
    if place.is_notebook(cell):
        with claim(place.folder(cell), notebook=True) as folder:
            if not find_finished(cell, place):
                os.environ["OMP_NUM_THREADS"] = str(place.threads)  # of the notebook's own process
                parameters = notebook_parameters(cell, place)
                run_notebook(cell.settings["norm"], folder, parameters, log)
    else:
        torch.set_num_threads(place.threads)
        data = load_data(place.data_dir, place.device, cell.settings["train_images"])
        held = data.hold_out(cell.settings["val_images"])
        torch.manual_seed(cell.settings["seed"])
        fit_in(place.out, cell.make_model(), held, cell.recipe, log)


def train_cell(
    cell: Cell, data: Data, log: Callable[[str], Any] = lambda line: None
) -> tuple[Record, nn.Module]:
    """Return the record and the trained model of a cell, from the images it asked for."""
    torch.manual_seed(cell.settings["seed"])
    model = cell.make_model()
    return fit(model, data.hold_out(cell.settings["val_images"]), cell.recipe, log), model


def explain(error: BaseException) -> str:
    """Return the kind of an error and the first line of what it says."""
    return ": ".join([type(error).__name__, *str(error).strip().splitlines()[:1]])
