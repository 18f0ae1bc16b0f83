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

    Losses and accuracies are those after the last epoch, whichever was the best; accuracies are
    fractions. The settings are those of :class:`era8.recipe.Recipe` and of the network.
    """

    model: str  # class of the network; the next three and `init` are its arguments
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
    train_images: int  # trained on in each epoch
    n_parameters: int
    data: str  # cifar10 or synthetic
    checksum: str  # of CIFAR-10's archive
    train_loss: float  # over the images of the epoch, augmented, as they were trained on
    train_accuracy: float  # likewise
    val_accuracy: float | None  # on held-out training images
    test_loss: float | None  # None if images were held out: the test set was not read then
    test_accuracy: float | None
    train_seconds: float  # of all epochs, without the final test
    device: str
    precision: str  # bf16, fp16 or fp32
    started: str
    versions: dict[str, str]
    confusion: list[list[int]]  # of the images tested on: row = true class, column = predicted
    misclassified: list[dict[str, Any]]  # the ten most costly mistakes among them
    history: list[dict[str, Any]]  # a row per epoch; older ones lack test_loss and test_accuracy
    train_accuracy_eval: float | None = None  # of the training images as they are; older: None
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
    save_tensors(
        folder / "weights.pt", {name: value.cpu() for name, value in model.state_dict().items()}
    )
    names = dict.fromkeys(name for row in record.history for name in row)
    with whole(folder / "history.csv") as path, path.open("w", newline="") as file:
        rows = csv.DictWriter(file, names, lineterminator="\n")
        rows.writeheader()
        rows.writerows(record.history)
    for name, figure in (figures or {}).items():
        with whole(folder / f"{name}.png") as path:
            figure.savefig(path, format="png", dpi=120)
    settings = {name: value for name, value in asdict(record).items() if name != "history"}
    text = json.dumps(settings | {"confusion": None}, indent=1)
    matrix = ",\n  ".join(json.dumps(row) for row in record.confusion)  # a row to a line
    with whole(folder / "record.json") as path:
        path.write_text(text.replace('"confusion": null', f'"confusion": [\n  {matrix}\n ]') + "\n")
    (folder / CHECKPOINT).unlink(missing_ok=True)
    return folder


def load_run(folder: str | os.PathLike) -> Record:
    """Read the record of one run back, with its history.

    Raises:
        ValueError: if the folder holds no record, or one that is damaged or of another version.
        OSError: if the record is there but may not be read.
    """
    folder = Path(folder)
    try:
        settings = json.loads((folder / "record.json").read_text())
        with (folder / "history.csv").open(newline="") as file:  # 15 times as fast as pandas
            history = [
                {name: json.loads(value) if value else None for name, value in row.items()}
                for row in csv.DictReader(file)
            ]
        record = Record(**settings, history=history)
        for name, hint in get_type_hints(Record).items():
            value, origin = getattr(record, name), get_origin(hint)
            kind = origin if origin in (list, dict) else int | float if hint is float else hint
            if not isinstance(value, kind):
                raise ValueError(f"{name} is {value!r}")
        if len(history) != record.epochs:
            raise ValueError(f"history.csv has {len(history)} of {record.epochs} epochs")
    except (
        FileNotFoundError, NotADirectoryError, ValueError, TypeError, RecursionError, csv.Error,
    ) as error:  # fmt: skip
        raise ValueError(f"{folder} holds no readable record of a run: {error}") from None
    return record


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


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Yield a path beside the given one to write to; it is moved there whole, or not at all.

    The library for it, atomicwrites, is no longer kept.

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


def save_tensors(path: Path, values: Any) -> None:
    """Write tensors and plain values to a file, whole or not at all."""
    buffer = io.BytesIO()  # so that a full disk is an OSError, as everywhere else
    torch.save(values, buffer)
    with whole(path) as partial:
        partial.write_bytes(buffer.getvalue())


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
