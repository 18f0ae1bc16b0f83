"""How a model is trained, and the limits of the assignment."""

import math
from dataclasses import asdict, dataclass
from typing import Any

from torch import nn

from era8.data import Data
from era8.device import PRECISIONS, best_precision

OPTIMIZERS = ("muon", "muonw", "sgd")
PARAMETER_LIMIT = 50_000  # the assignment: fewer parameters than this
EPOCH_LIMIT = 20  # and fewer epochs than this
ACCURACY_GOAL = 0.70  # and at least this fraction of the test images right


@dataclass(frozen=True)
class Recipe:
    """How a model is trained: Nesterov momentum and a one-cycle learning rate.

    Attributes:
        epochs: passes over the training images.
        seed: of the order of the images and of their augmentation.
        batch_size: images in a step.
        optimizer: ``muon``, which makes the steps of the convolutions orthogonal, see
            :class:`era8.optim.Muon`, ``muonw``, the same with decoupled weight decay, or ``sgd``,
            plain SGD (with which a higher lr is good).
        lr: the highest learning rate, reached after ``warmup`` of all steps (Smith and Topin 2017,
            arXiv 1708.07120); from there it falls in a straight line to nearly zero.
        momentum: with Nesterov's correction.
        weight_decay: factor of the L2 penalty on all parameters; with ``muonw`` they shrink by
            this fraction of the lr in each step.
        warmup: fraction of all steps in which the learning rate rises.
        crop: largest shift of an image in pixels, see :func:`era8.data.batches.train_batches`.
        flip: whether half of the images are mirrored.
        precision: ``bf16``, ``fp16`` or ``fp32`` for the convolutions; ``auto`` takes the fastest
            that the hardware computes natively. Weights are always float32.
        limits: whether the assignment's limits on epochs and parameters stop a run.

    Raises:
        ValueError: if a value is not of its type or out of its range.
    """

    epochs: int = 19
    seed: int = 0
    batch_size: int = 128
    optimizer: str = "muon"
    lr: float = 0.05
    momentum: float = 0.9
    weight_decay: float = 1e-4
    warmup: float = 0.25
    crop: int = 2
    flip: bool = True
    precision: str = "auto"
    limits: bool = True

    def __post_init__(self) -> None:
        """Refuse what cannot be trained with."""
        for name in ("flip", "limits"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"{name} must be True or False; got {getattr(self, name)!r}")
        self._check_whole("epochs", 1)
        self._check_whole("seed", 0)
        self._check_whole("batch_size", 1)
        self._check_whole("crop", 0, 31)
        self._check_real("lr", 0, math.inf, low_allowed=False)
        self._check_real("momentum", 0, 1, low_allowed=False)
        self._check_real("weight_decay", 0, math.inf)
        self._check_real("warmup", 0, 1, low_allowed=False)
        if self.optimizer not in OPTIMIZERS:
            allowed = ", ".join(OPTIMIZERS)
            raise ValueError(f"optimizer must be one of {allowed}; got {self.optimizer!r}")
        if self.precision not in ("auto", *PRECISIONS):
            allowed = ", ".join(PRECISIONS)
            raise ValueError(f"precision must be one of auto, {allowed}; got {self.precision!r}")
        if self.limits and self.epochs >= EPOCH_LIMIT:
            raise ValueError(
                f"epochs must be below {EPOCH_LIMIT}, the assignment's limit; got {self.epochs} "
                "(limits=False allows more)"
            )

    def _check_whole(self, name: str, low: int, high: float = 2**63 - 1) -> None:
        value = getattr(self, name)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            upper = f" and at most {high}" if high < 2**63 - 1 else ""
            raise ValueError(
                f"{name} must be a whole number of at least {low}{upper}; got {value!r}"
            )

    def _check_real(self, name: str, low: float, high: float, low_allowed: bool = True) -> None:
        value = getattr(self, name)
        real = isinstance(value, int | float) and not isinstance(value, bool)
        if not real or not (low <= value if low_allowed else low < value) or not value < high:
            least = f"at least {low}" if low_allowed else f"above {low}"
            most = "finite" if high == math.inf else f"below {high}"
            raise ValueError(f"{name} must be a number {least} and {most}; got {value!r}")


FAST = Recipe(epochs=2, batch_size=64, crop=0)  # the shortest tried that has a mean of 70 %


def check_model(model: nn.Module, recipe: Recipe) -> int:
    """Return the number of trainable parameters of a model that the recipe may train.

    Raises:
        ValueError: if it has as many as the assignment forbids, and the recipe keeps the limits.
    """
    n_parameters = sum(p.numel() for p in model.parameters() if p.requires_grad)
    if recipe.limits and n_parameters >= PARAMETER_LIMIT:
        raise ValueError(
            f"the model must have fewer than {PARAMETER_LIMIT:,} parameters, the assignment's "
            f"limit; got {n_parameters:,} (Recipe(limits=False) allows more)"
        )
    return n_parameters


def settings_of(model: nn.Module, data: Data, recipe: Recipe) -> dict[str, Any]:
    """Return what :class:`era8.records.Record` says of a run before it starts.

    Raises:
        ValueError: if the model has too many parameters or the batch more images than the data.
    """
    n_parameters, n_images = check_model(model, recipe), len(data.train)
    if recipe.batch_size > n_images:
        raise ValueError(
            f"batch_size must be at most the {n_images} training images; got {recipe.batch_size}"
        )
    settings = asdict(recipe) | {
        "model": type(model).__name__,
        "norm": getattr(model, "norm", ""),
        "skip": getattr(model, "skip", False),
        "groups": getattr(model, "groups", 1),
        "init": getattr(model, "init", "torch"),
        "train_images": n_images,
        "n_parameters": n_parameters,
        "data": data.name,
        "checksum": data.checksum,
    }
    del settings["limits"]
    if recipe.precision == "auto":
        settings["precision"] = best_precision(data.device)
    return settings
