"""How a model is trained, and the limits of the assignment."""

import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import cache
from typing import Any

import torch
from torch import nn

from era8.blocks import unwrap
from era8.checks import flag, one_of, real, whole
from era8.data import TRAIN_IMAGES, Data
from era8.device import PRECISIONS
from era8.models import MODELS, make_model

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
    crop: int = 2  # largest shift of an image in pixels
    flip: bool = True  # whether half of the images are mirrored
    small: int = 0  # epochs, the first ones, on images of half the height and width: much faster
    precision: str = "auto"  # of convolutions: bf16, fp16, fp32, or the fastest that is native
    limits: bool = True  # whether the assignment's limits on epochs and parameters stop a run

    def __post_init__(self) -> None:
        """Refuse what cannot be trained with; what numpy's numbers say is kept as Python's."""
        for name, own in OPTIMIZERS[one_of("optimizer", self.optimizer, OPTIMIZERS)].items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, own)
        checked = {
            "epochs": whole("epochs", self.epochs, 1),
            "seed": whole("seed", self.seed, 0),
            "batch_size": whole("batch_size", self.batch_size, 1),
            "lr": real("lr", self.lr),
            "momentum": real("momentum", self.momentum, below=1),
            "weight_decay": real("weight_decay", self.weight_decay, zero=True),
            "warmup": real("warmup", self.warmup, below=1),
            "crop": whole("crop", self.crop, 0, 31),
            "flip": flag("flip", self.flip),
            "small": whole("small", self.small, 0, self.epochs - 1),
            "precision": one_of("precision", self.precision, ("auto", *PRECISIONS)),
            "limits": flag("limits", self.limits),
        }
        for name, value in checked.items():
            object.__setattr__(self, name, value)  # it is frozen from here on
        if self.limits and self.epochs >= EPOCH_LIMIT:
            raise ValueError(
                f"epochs must be below {EPOCH_LIMIT}, the assignment's limit; got {self.epochs} "
                "(limits=False allows more)"
            )


NETWORK = {"model": "session8", "norm": "bn", "skip": True, "groups": 2, "init": "torch"}
RECIPE = tuple(field.name for field in fields(Recipe))
DEFAULTS: dict[str, Any] = (
    NETWORK | {"train_images": TRAIN_IMAGES, "val_images": 0} | asdict(Recipe())
)
FAST = Recipe(epochs=2, batch_size=64, crop=0)  # the shortest tried that has a mean of 70 %
SHORT = Recipe(epochs=4, batch_size=64, warmup=0.4, crop=0, small=2)  # about as 20 of a usual loop


def complete(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return all settings of a run, by the names of ``DEFAULTS``: those given, and the others.

    Groups mean something with gn alone, and are the default elsewhere.

    Raises:
        ValueError: if nothing can be trained with them; says which one, and what is allowed.
    """
    recipe = Recipe(**{name: given[name] for name in RECIPE if name in given})
    settings = DEFAULTS | dict(given) | asdict(recipe)
    if settings["norm"] != "gn":
        settings["groups"] = DEFAULTS["groups"]
    if recipe.small and settings["norm"] == "ln_chw":
        raise ValueError(f"small must be 0 with ln_chw, for maps of one size; got {recipe.small}")
    images = whole("train_images", settings["train_images"], 1, TRAIN_IMAGES)
    held = whole("val_images", settings["val_images"], 0, images - 1)
    check_run(_make_once(*(settings[name] for name in NETWORK)), recipe, images - held)
    return settings


_make_once = cache(make_model)  # to be looked at: a grid may have thousands of cells


def check_run(model: nn.Module, recipe: Recipe, n_images: int) -> int:
    """Return the number of trainable parameters of a model that a recipe may train on images.

    Raises:
        ValueError: if they are more than the assignment allows, or not float32, or the batch is
            larger than all images.
    """
    if kinds := {p.dtype for p in model.parameters()} - {torch.float32}:
        raise ValueError(
            f"the model's weights must be torch.float32; got {', '.join(map(str, kinds))}; make it "
            "with that default dtype, or call its float()"
        )
    n_parameters = sum(p.numel() for p in model.parameters() if p.requires_grad)
    if not n_parameters:
        raise ValueError("the model must have parameters; got none that require a gradient")
    if recipe.limits and n_parameters >= PARAMETER_LIMIT:
        raise ValueError(
            f"the model must have fewer than {PARAMETER_LIMIT:,} parameters, the assignment's "
            f"limit; got {n_parameters:,} (Recipe(limits=False) allows more)"
        )
    if recipe.batch_size > n_images:
        raise ValueError(
            f"batch_size must be at most the {n_images} training images; got {recipe.batch_size}"
        )
    return n_parameters


def name_run(settings: Mapping[str, Any]) -> str:
    """Return what the folder of a run is called, such as ``gn-seed=1-epochs=19-groups=4``.

    That is its norm, its seed, its epochs, and every other setting that is not the default; a name
    that is too long for a folder ends in a checksum instead.

    Args:
        settings: by the names of ``DEFAULTS``, and ``data`` where that is not cifar10.
    """
    always, usual = ("seed", "epochs"), DEFAULTS | {"data": "cifar10"}
    rest = [name for name in usual if name not in ("norm", *always)]
    changed = [name for name in rest if settings.get(name, usual[name]) != usual[name]]
    said = {**settings, "model": settings["model"].rpartition(":")[2]}
    parts = [f"{name}={said[name]}" for name in (*always, *changed)]
    name = "-".join([said["norm"] or said["model"], *parts]).replace("/", "_")
    long = len(name.encode()) > 255
    return f"{name[:50]}-{zlib.crc32(name.encode()):08x}" if long else name


def settings_of(model: nn.Module, data: Data, recipe: Recipe) -> dict[str, Any]:
    """Return the settings of a run by the names of ``DEFAULTS``, and what comes of them.

    That is ``data``, ``checksum`` and ``n_parameters``, as in :class:`era8.records.Record`.

    Raises:
        ValueError: as :func:`check_run`, or if the data is odd.
    """
    data.check()
    model, held = unwrap(model), len(data.val or ())
    names: dict[type, str] = {network: name for name, network in MODELS.items()}
    given: dict[str, Any] = {"model": names.get(type(model), type(model).__name__)}
    missing = {"norm": "", "skip": False, "groups": DEFAULTS["groups"], "init": "torch"}
    for name, other in missing.items():  # of one that is not era8's own, or has a layer there
        value = getattr(model, name, None)
        given[name] = value if type(value) is type(other) else other
    if given["norm"] != "gn":
        given["groups"] = DEFAULTS["groups"]  # they have no meaning there
    return asdict(recipe) | given | {
        "train_images": len(data.train) + held,
        "val_images": held,
        "data": data.name,
        "checksum": data.checksum,
        "n_parameters": check_run(model, recipe, len(data.train)),
    }  # fmt: skip


def as_recorded(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings by the names of ``DEFAULTS`` as :class:`era8.records.Record` says them."""
    model = settings["model"]
    said = {name: v for name, v in settings.items() if name not in ("limits", "val_images")}
    said["model"] = MODELS[model].__name__ if model in MODELS else model.rpartition(":")[2]
    said["train_images"] = settings["train_images"] - settings["val_images"]
    return said
