"""The record of one run: what made it and what it reached, on disk."""

import csv
import io
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_origin, get_type_hints

import torch
from torch import nn

if TYPE_CHECKING:  # a sweep draws nothing, and matplotlib takes a second to import
    from matplotlib.figure import Figure

CHECKPOINT = "checkpoint.pt"  # of a run that is not finished, see era8.checkpoint


@dataclass(frozen=True)
class Record:
    """Everything that is kept of one run, but for the weights. A record is never edited.

    Attributes:
        model: class of the network; ``norm``, ``skip``, ``groups`` and ``init`` are its arguments.
        train_images: images trained on in each epoch.
        data: ``cifar10`` or ``synthetic``; ``checksum`` is that of the archive.
        precision: ``bf16``, ``fp16`` or ``fp32``.
        train_loss: mean over the images of the last epoch, augmented, as they were trained on;
            ``train_accuracy``, a fraction, likewise.
        val_accuracy: fraction, after the last epoch, on held-out training images; None without.
        test_accuracy: fraction, after the last epoch, whichever was the best; None if images were
            held out, for then the test set was not read.
        confusion: counts by true class (rows) and predicted class (columns) of the images that
            the run was tested on: the validation images where it held some out.
        misclassified: the ten most costly mistakes, see :func:`era8.evaluate.misclassified`.
        train_seconds: wall-clock time of all epochs, without the final test.
        history: one row per epoch: epoch, lr, train_loss, train_accuracy, seconds, and what the
            held-out images said after it: val_accuracy, or test_loss and test_accuracy (which
            records of before this was watched do not have).
        train_accuracy_eval: fraction, after the last epoch, on the training images as they are,
            in evaluation mode, as the held-out ones are measured; None where it was not measured.
    """

    model: str
    norm: str
    skip: bool
    groups: int
    seed: int
    epochs: int
    batch_size: int
    optimizer: str
    lr: float
    momentum: float
    weight_decay: float
    warmup: float
    crop: int
    flip: bool
    train_images: int
    n_parameters: int
    data: str
    checksum: str
    train_loss: float
    train_accuracy: float
    val_accuracy: float | None
    test_loss: float | None
    test_accuracy: float | None
    train_seconds: float
    device: str
    precision: str
    started: str
    versions: dict[str, str]
    confusion: list[list[int]]
    misclassified: list[dict[str, Any]]
    history: list[dict[str, Any]]
    train_accuracy_eval: float | None = None  # records of before these were kept lack them
    init: str = "torch"

    @property
    def accuracy(self) -> float:
        """The accuracy that the run ended with: on the test set, or on held-out images."""
        chosen = self.val_accuracy if self.test_accuracy is None else self.test_accuracy
        assert chosen is not None  # fit always fills one of the two
        return chosen


def save_run(
    folder: str | os.PathLike,
    record: Record,
    model: nn.Module,
    figures: "Mapping[str, Figure] | None" = None,
) -> Path:
    """Write ``weights.pt``, ``history.csv``, the figures and, at last, ``record.json``.

    Each file appears whole or not at all, and a folder without a record holds no finished run.
    A ``checkpoint.pt`` in the folder is deleted then, for the run is finished.

    Raises:
        OSError: if the folder cannot be made or written to.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "record.json").unlink(missing_ok=True)
    with whole(folder / "weights.pt") as path:
        buffer = io.BytesIO()  # so that a full disk is an OSError, as everywhere else
        torch.save({name: value.cpu() for name, value in model.state_dict().items()}, buffer)
        path.write_bytes(buffer.getvalue())
    names = dict.fromkeys(name for row in record.history for name in row)
    with whole(folder / "history.csv") as path, path.open("w", newline="") as file:
        rows = csv.DictWriter(file, names, lineterminator="\n")
        rows.writeheader()
        rows.writerows(record.history)
    for name, figure in (figures or {}).items():
        with whole(folder / f"{name}.png") as path:
            figure.savefig(path, format="png", dpi=120)
    settings = asdict(record)
    del settings["history"]
    with whole(folder / "record.json") as path:
        path.write_text(_dump(settings) + "\n")
    (folder / CHECKPOINT).unlink(missing_ok=True)
    return folder


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Yield a path beside the given one to write to; it is moved there whole, or not at all.

    >>> with whole(Path("record.json")) as path:
    ...     path.write_text("{}")
    """
    partial = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
    try:
        yield partial
        with partial.open("rb") as file:
            os.fsync(file.fileno())  # or a machine that loses power may keep an empty file
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def load_run(folder: str | os.PathLike) -> Record:
    """Read the record of one run back, with its history.

    Raises:
        ValueError: if the folder holds no record, or one that is damaged or of another version.
        OSError: if the record is there but may not be read.
    """
    folder = Path(folder)
    try:
        settings = json.loads((folder / "record.json").read_text())
        record = Record(**settings, history=_read_history(folder / "history.csv"))
        _check(record)
    except (
        FileNotFoundError, NotADirectoryError, ValueError, TypeError, RecursionError, csv.Error,
    ) as error:  # fmt: skip
        raise ValueError(f"{folder} holds no readable record of a run: {error}") from None
    return record


def _read_history(path: Path) -> list[dict[str, Any]]:
    """Return the rows; an empty field is None. The csv module is 15 times as fast as pandas."""
    with path.open(newline="") as file:
        return [
            {name: json.loads(value) if value else None for name, value in row.items()}
            for row in csv.DictReader(file)
        ]


def _check(record: Record) -> None:
    """Raise a ValueError if a record's values are not of their types, or epochs are missing."""
    for name, hint in get_type_hints(Record).items():
        value, origin = getattr(record, name), get_origin(hint)
        kind = origin if origin in (list, dict) else hint
        if not isinstance(value, int | float if kind is float else kind):
            raise ValueError(f"{name} is {value!r}")
    if len(record.history) != record.epochs:
        raise ValueError(f"history.csv has {len(record.history)} of {record.epochs} epochs")


def load_weights(folder: str | os.PathLike, model: nn.Module) -> nn.Module:
    """Load the weights of a run into a model of the same design, and return it.

    Raises:
        ValueError: if there are no readable weights, or they are those of another design.
    """
    path = Path(folder) / "weights.pt"
    try:
        model.load_state_dict(load_tensors(path))
    except (RuntimeError, TypeError, AttributeError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{path} does not hold the weights of this model: {reason}") from None
    return model


def load_tensors(path: Path) -> Any:
    """Read a file of tensors, on the CPU, without ever executing code.

    Raises:
        ValueError: if it cannot be read.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file makes torch raise nearly anything
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise ValueError(f"{path} cannot be read: {reason[0]}") from None


def _dump(settings: dict[str, Any]) -> str:
    """Return readable JSON, with each row of the confusion matrix on one line."""
    text = json.dumps({**settings, "confusion": None}, indent=1)
    rows = ",\n  ".join(json.dumps(row) for row in settings["confusion"])
    return text.replace('"confusion": null', f'"confusion": [\n  {rows}\n ]')
