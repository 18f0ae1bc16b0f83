"""How a model is trained, and the limits of the assignment."""

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from functools import partial
from typing import Any

from era8.checks import check_int, check_real, flag, one_of
from era8.device import PRECISIONS

# The learning rate and the weight decay of each optimizer where none are given; Muon and SGD have
# the decay in the gradient, AdamW takes lr times it off the weights in each step
OPTIMIZERS = {
    "muon": {"lr": 0.05, "weight_decay": 1e-4},
    "sgd": {"lr": 0.1, "weight_decay": 1e-4},
    "adamw": {"lr": 0.008, "weight_decay": 0.01},
}
PARAMETER_LIMIT = 50_000  # the assignment: fewer parameters than this
EPOCH_LIMIT = 20  # and fewer epochs than this
ACCURACY_GOAL = 0.70  # and at least this fraction of the test images right


def setting(default: Any, check: Callable[..., Any], **limits: Any) -> Any:
    """Return the field of a setting: its default, and what its values must be."""
    return field(default=default, metadata={"check": partial(check, **limits)})


@dataclass(frozen=True)
class Recipe:
    """How a model is trained: an optimizer with momentum and a one-cycle learning rate.

    The learning rate rises to ``lr`` in a straight line, and falls to nearly zero in another (Smith
    and Topin 2017, arXiv 1708.07120). Weights are always float32.

    Raises:
        ValueError: if a value is not of its type or out of its range.
    """

    epochs: int = setting(19, check_int, low=1)  # passes over the training images
    seed: int = setting(0, check_int, low=0)  # of the order of the images, and their augmentation
    batch_size: int = setting(128, check_int, low=1)  # images in a step
    optimizer: str = setting("muon", one_of, allowed=OPTIMIZERS)  # see era8.optim
    lr: float = setting(None, check_real)  # the highest; None: as in OPTIMIZERS
    momentum: float = setting(0.9, check_real, below=1)  # Nesterov's; of adamw: its first beta
    weight_decay: float = setting(None, check_real, zero=True)  # None: as in OPTIMIZERS
    warmup: float = setting(0.25, check_real, below=1)  # part of all steps in which lr rises
    max_shift: int = setting(2, check_int, low=0, high=31)  # largest shift of an image in pixels
    flip: bool = setting(True, flag)  # whether half of the images are mirrored
    low_res_epochs: int = setting(0, check_int, low=0)  # the first, on images of half the size
    precision: str = setting("auto", one_of, allowed=("auto", *PRECISIONS))  # of convolutions
    limits: bool = setting(True, flag)  # whether the assignment's limits stop a run

    def __post_init__(self) -> None:
        """Refuse what cannot be trained with; what numpy's numbers say is kept as Python's."""
        own = OPTIMIZERS[one_of("optimizer", self.optimizer, OPTIMIZERS)]
        for one in fields(self):
            value = getattr(self, one.name)
            value = own.get(one.name) if value is None else value
            if check := one.metadata.get("check"):
                object.__setattr__(self, one.name, check(one.name, value))  # frozen from here on
        check_int("low_res_epochs", self.low_res_epochs, 0, self.epochs - 1)
        if self.limits and self.epochs >= EPOCH_LIMIT:
            raise ValueError(
                f"epochs must be below {EPOCH_LIMIT}, the assignment's limit; got {self.epochs}"
            )


FAST = Recipe(epochs=2, batch_size=64, max_shift=0)  # the shortest tried with a mean of 70 %
