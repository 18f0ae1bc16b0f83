"""How a model is trained, and the limits of the assignment."""

from dataclasses import dataclass

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


@dataclass(frozen=True)
class Recipe:
    """How a model is trained: an optimizer with momentum and a one-cycle learning rate.

    The learning rate rises to ``lr`` in a straight line, and falls to nearly zero in another (Smith
    and Topin 2017, arXiv 1708.07120). Weights are always float32.

    Raises:
        ValueError: if a value is not of its type or out of its range.
    """

    epochs: int = 19  # passes over the training images
    seed: int = 0  # of the order of the images and of their augmentation
    batch_size: int = 128  # images in a step
    optimizer: str = "muon"  # or sgd, or adamw; see era8.optim
    lr: float = None  # type: ignore[assignment]  # the highest; None: as in OPTIMIZERS
    momentum: float = 0.9  # with Nesterov's correction; of adamw: its first beta
    weight_decay: float = None  # type: ignore[assignment]  # None: as in OPTIMIZERS
    warmup: float = 0.25  # fraction of all steps in which the learning rate rises
    max_shift: int = 2  # largest shift of an image in pixels
    flip: bool = True  # whether half of the images are mirrored
    low_res_epochs: int = 0  # the first ones, on images of half the height and width: much faster
    precision: str = "auto"  # of convolutions: bf16, fp16, fp32, or the fastest that is native
    limits: bool = True  # whether the assignment's limits on epochs and parameters stop a run

    def __post_init__(self) -> None:
        """Refuse what cannot be trained with; what numpy's numbers say is kept as Python's."""
        optimizer = one_of("optimizer", self.optimizer, OPTIMIZERS)
        for name, own in OPTIMIZERS[optimizer].items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, own)
        checked = {
            "epochs": check_int("epochs", self.epochs, 1),
            "seed": check_int("seed", self.seed, 0),
            "batch_size": check_int("batch_size", self.batch_size, 1),
            "optimizer": optimizer,
            "lr": check_real("lr", self.lr),
            "momentum": check_real("momentum", self.momentum, below=1),
            "weight_decay": check_real("weight_decay", self.weight_decay, zero=True),
            "warmup": check_real("warmup", self.warmup, below=1),
            "max_shift": check_int("max_shift", self.max_shift, 0, 31),
            "flip": flag("flip", self.flip),
            "low_res_epochs": check_int("low_res_epochs", self.low_res_epochs, 0, self.epochs - 1),
            "precision": one_of("precision", self.precision, ("auto", *PRECISIONS)),
            "limits": flag("limits", self.limits),
        }
        for name, value in checked.items():
            object.__setattr__(self, name, value)  # it is frozen from here on
        if self.limits and self.epochs >= EPOCH_LIMIT:
            raise ValueError(
                f"epochs must be below {EPOCH_LIMIT}, the assignment's limit; got {self.epochs}"
            )


FAST = Recipe(epochs=2, batch_size=64, max_shift=0)  # the shortest tried with a mean of 70 %
