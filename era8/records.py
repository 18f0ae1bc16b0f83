"""The record of one run: what made it and what it reached."""

import csv
import io
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, get_origin, get_type_hints

import torch
from torch import nn

from era8 import checks
from era8.blocks import unwrap
from era8.disk import (
    HISTORY,
    RECORD,
    RESULTS,
    WEIGHTS,
    atomic_write,
    calculate_sha256,
    claim,
    dump_tensors,
    read_tensors,
    set_aside,
)
from era8.run import Run, from_record

if TYPE_CHECKING:  # a sweep draws nothing, and matplotlib takes a second to import
    from matplotlib.figure import Figure


@dataclass(frozen=True, kw_only=True)
class Record(Run):
    """Everything that is kept of one run, but for the weights. A record is never edited.

    Losses and accuracies are those after the last epoch, whichever was the best; accuracies are
    fractions. ``precision`` is the one that was computed in.

    Raises:
        ValueError: if a value is of another type.
    """

    n_parameters: int
    checksum: str  # of CIFAR-10's archive
    train_loss: float  # over the images of the epoch, augmented, as they were trained on
    train_accuracy: float  # likewise
    val_accuracy: float | None  # on held-out training images
    test_loss: float | None  # None if images were held out: the test set was not read then
    test_accuracy: float | None
    train_seconds: float  # of all epochs, without the final test
    device: str
    started: str
    versions: dict[str, str]
    confusion: list[list[int]]  # of the images tested on: row = true class, column = predicted
    misclassified: list[dict[str, Any]]  # the ten most costly mistakes among them
    history: list[dict[str, Any]]  # a row per epoch; older ones lack test_loss and test_accuracy
    train_accuracy_eval: float | None = None  # of the training images as they are; older: None
    fingerprints: dict[str, str] = field(default_factory=dict)  # see era8.run; older: none
    sha256: dict[str, str] = field(default_factory=dict, compare=False)  # of RESULTS; older: none

    def __post_init__(self) -> None:
        """Refuse values of another type; a precision may be two, one after the other."""
        for name, hint in get_type_hints(Record).items():
            value, origin = getattr(self, name), get_origin(hint)
            kind = origin if origin in (list, dict) else int | float if hint is float else hint
            if not isinstance(value, kind) or (isinstance(value, bool) and hint is not bool):
                raise ValueError(f"{name} is {checks.show(value)}")

    @property
    def accuracy(self) -> float:
        """The accuracy that the run ended with: on the test set, or on held-out images."""
        chosen = self.val_accuracy if self.test_accuracy is None else self.test_accuracy
        if chosen is None:  # fit always fills one of the two
            raise ValueError("val_accuracy and test_accuracy are both None")
        return chosen


def save_run(folder: str | os.PathLike, record: Record, model: nn.Module) -> Path:
    """Write ``weights.pt``, ``history.csv`` and, at last, ``record.json``; return the folder.

    An earlier result stays until the new one is whole, and is set aside then. A ``checkpoint.pt``
    in the folder is deleted as :func:`era8.disk.claim` gives the folder free.

    Raises:
        ValueError: if it is no folder.
        OSError: if it cannot be made or written to.
    """
    from pandas import DataFrame  # which reading a record does without

    folder = checks.folder("folder", folder)
    state = unwrap(model).state_dict()  # of tensors, and of what a model adds as its extra state
    weights = {n: v.cpu() if isinstance(v, torch.Tensor) else v for n, v in state.items()}
    history = DataFrame(record.history).to_csv(index=False, lineterminator="\n")
    contents = {WEIGHTS: dump_tensors(weights), HISTORY: history.encode()}
    sha256 = {name: calculate_sha256(content) for name, content in contents.items()}
    said = asdict(replace(record, sha256=sha256)) | {"confusion": None}
    del said["history"]
    matrix = ",\n  ".join(map(json.dumps, record.confusion))  # a row to a line
    text = json.dumps(said, indent=1).replace(
        '"confusion": null', f'"confusion": [\n  {matrix}\n ]'
    )
    contents[RECORD] = f"{text}\n".encode()
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(".partial", ".new.", folder, ignore_cleanup_errors=True) as new:
        for name, content in contents.items():
            with atomic_write(Path(new, name)) as path:
                path.write_bytes(content)
        if (folder / RECORD).exists():
            set_aside(folder, RECORD, *RESULTS)
        for name in contents:
            Path(new, name).replace(folder / name)
    return folder


def save_figures(folder: str | os.PathLike, figures: "Mapping[str, Figure]") -> None:
    """Write figures into a folder as PNGs, by their names."""
    with claim(Path(folder), timeout=-1):
        for name, figure in figures.items():
            with atomic_write(Path(folder) / f"{name}.png") as path:
                figure.savefig(path, format="png", dpi=120)


def _read_results(folder: Path, *names: str) -> dict[str, Any]:
    """Return what a record says, once some files of its run are found to be those that it names."""
    said = from_record(json.loads((folder / RECORD).read_bytes()))
    for name in names:
        found = calculate_sha256((folder / name).read_bytes())
        if found != said["sha256"].get(name, found):
            raise ValueError(f"{name} is not the file that {RECORD} names")
    return said


def load_run(folder: str | os.PathLike) -> Record:
    """Read the record of one run back, with its history.

    Raises:
        ValueError: if the folder holds no record, or one of another version, or if a file of the
            run is not as it was written.
        OSError: if the record is there but may not be read.
    """
    folder = Path(folder)
    try:
        weights = [WEIGHTS] if (folder / WEIGHTS).exists() else []  # not all runs keep them
        said = _read_results(folder, HISTORY, *weights)
        rows = csv.DictReader(io.StringIO((folder / HISTORY).read_text()))  # faster than pandas
        history = [{name: json.loads(v) if v else None for name, v in row.items()} for row in rows]
        record = Record(**said, history=history)
        _check_results(record)
    except (
        FileNotFoundError, NotADirectoryError, ValueError, TypeError, AttributeError, KeyError,
        IndexError, RecursionError, csv.Error,
    ) as error:  # fmt: skip
        raise ValueError(f"{folder} holds no readable record of a run: {error}") from None
    return record


def _check_results(record: Record) -> None:
    """Raise a ValueError if a record is not as its history and its confusion matrix have it."""
    found = [row.get("epoch") for row in record.history]
    if record.epochs != len(found) or found != list(range(1, len(found) + 1)):
        raise ValueError(f"the history must have the epochs 1 to {record.epochs}")
    for name in ("train_loss", "train_accuracy", "train_seconds"):
        if not 0 <= getattr(record, name) < 1e300:  # nor NaN
            raise ValueError(f"{name} is {getattr(record, name)}")
    measure = "val_accuracy" if record.test_accuracy is None else "test_accuracy"
    images = sum(map(sum, record.confusion))
    right = sum(row[i] for i, row in enumerate(record.confusion))
    last = record.history[-1].get(measure, record.accuracy)
    if not images or not record.accuracy == last == right / images:
        raise ValueError(
            f"{measure} is {record.accuracy}, {last} in the history, and {right} of {images} in "
            "the confusion matrix"
        )


def load_weights(folder: str | os.PathLike, model: nn.Module) -> nn.Module:
    """Load the weights of a run into a model of the same design, and return it.

    Raises:
        ValueError: if there are no readable weights, or they are those of another design.
    """
    path = Path(folder) / WEIGHTS
    try:
        if (path.parent / RECORD).exists():
            _read_results(path.parent, WEIGHTS)
        unwrap(model).load_state_dict(read_tensors(path.read_bytes(), path))
    except (RuntimeError, TypeError, AttributeError, KeyError, OSError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{path} does not hold the weights of this model: {reason}") from None
    return model
