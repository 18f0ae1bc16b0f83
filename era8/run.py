"""What a run is: its settings, its name, what it is made from, and when two are the same."""

import hashlib
import inspect
import sys
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cache
from typing import Any, Self

import torch
from torch import Tensor, nn

from era8.blocks import unwrap
from era8.checks import check_int, check_name, flag, show
from era8.data import SYNTHETIC_IMAGES, TRAIN_IMAGES, Data
from era8.models import MODELS, TAKEN, make_model
from era8.recipe import PARAMETER_LIMIT, Recipe, setting

# What the name of a folder leaves out. It stays as it is when a default changes, so that no folder
# changes its name; neither do the names of settings in it.
USUAL = {
    "model": "session8", "skip": True, "groups": 2, "init": "torch", "train_images": 50_000,
    "val_images": 0, "batch_size": 128, "optimizer": "muon", "lr": 0.05, "momentum": 0.9,
    "weight_decay": 1e-4, "warmup": 0.25, "max_shift": 2, "flip": True, "low_res_epochs": 0,
    "precision": "auto", "limits": True, "data": "cifar10",
}  # fmt: skip
FORMER = {"crop": "max_shift", "small": "low_res_epochs"}  # names that settings had before
FINGERPRINTS = ("initialisation", "images", "code")  # of what a run is made from


@dataclass(frozen=True, kw_only=True)
class Run(Recipe):
    """One run: a recipe, and the network and the images that it is applied to.

    Raises:
        ValueError: if a value is not of its type or out of its range.
    """

    model: str = "session8"  # a name in era8.models.MODELS, or module:Class of one's own
    norm: str = "bn"  # a name in era8.norms.NORMS, or module:Class of one's own
    skip: bool = setting(True, flag)
    groups: int = setting(2, check_int, low=1)  # of gn; the default elsewhere, where they mean none
    init: str = "torch"
    train_images: int = setting(TRAIN_IMAGES, check_int, low=1)  # taken, val_images held out of it
    val_images: int = setting(0, check_int, low=0)
    data: str = "cifar10"  # or synthetic, or the name of one's own

    def __post_init__(self) -> None:
        """Refuse what is of another type; what numpy's numbers say is kept as Python's."""
        super().__post_init__()
        check_int("val_images", self.val_images, 0, self.train_images - 1)
        if self.norm != "gn":
            object.__setattr__(self, "groups", USUAL["groups"])

    @property
    def name(self) -> str:
        """What the folder of the run is called, such as ``gn-seed=1-epochs=19-groups=4``.

        Every other setting that is not as in ``USUAL`` is in it; a name that is too long for a
        folder ends in a checksum instead.
        """
        words = {new: old for old, new in FORMER.items()}
        model, norm = (name.rpartition(":")[2] for name in (self.model, self.norm))
        parts = [norm or model, f"seed={self.seed}", f"epochs={self.epochs}"]
        for word, usual in USUAL.items():
            value = model if word == "model" else getattr(self, word)
            if value != usual:
                parts.append(f"{words.get(word, word)}={value}")
        name = "-".join(parts).replace("/", "_")
        long = len(name.encode()) > 255
        return f"{name[:50]}-{zlib.crc32(name.encode()):08x}" if long else name

    @property
    def settings(self) -> dict[str, Any]:
        """All settings by name."""
        return {name: getattr(self, name) for name in SETTINGS}

    @property
    def images(self) -> int:
        """How many images it is trained on in each epoch."""
        return self.train_images - self.val_images

    def make_model(self) -> nn.Module:
        """Return the network, its weights drawn from torch's generator."""
        return make_model(self.model, self.norm, self.skip, self.groups, self.init)

    def on_synthetic(self) -> Self:
        """Return the same run on synthetic images, of which there are fewer."""
        images = min(self.train_images, SYNTHETIC_IMAGES)
        return replace(self, data="synthetic", train_images=images)

    def check(self) -> Self:
        """Return the run as its network has it, which may fix its norm, once it can be trained.

        Raises:
            ValueError: if nothing can be trained with it; says why, and what is allowed.
        """
        if self.low_res_epochs and self.norm == "ln_chw":
            raise ValueError(
                "low_res_epochs must be 0 with ln_chw, for maps of one size; got "
                f"{self.low_res_epochs}"
            )
        check_int("train_images", self.train_images, 1, TRAIN_IMAGES)
        model = _make_once(self.model, self.norm, self.skip, self.groups, self.init)
        check_size(model, self, self.images)
        return replace(self, **_describe(model))

    def difference(self, other: "Run") -> dict[str, tuple[Any, Any]]:
        """Return the settings in which two runs differ, and both values.

        A precision that is left to the device may be any, and limits do not change a run. Records
        of before name a network of one's own by its class alone.
        """
        mine, theirs = self.settings, other.settings
        for settings, one in ((mine, self), (theirs, other)):
            del settings["limits"]
            if ":" not in self.model or ":" not in other.model:
                settings["model"] = one.model.rpartition(":")[2]
        if "auto" in (self.precision, other.precision):
            del mine["precision"]
        return {n: (v, theirs[n]) for n, v in mine.items() if v != theirs[n]}


SETTINGS = tuple(field.name for field in fields(Run))
DEFAULTS = Run().settings
KINDS = {name: type(value).__name__ for name, value in DEFAULTS.items()}
_make_once = cache(make_model)  # to be looked at: a grid may have thousands of runs


def run_of(model: nn.Module, data: Data, recipe: Recipe) -> Run:
    """Return the run that training a model on data by a recipe is.

    Raises:
        ValueError: as :func:`check_size`, or if one of the three is of another kind, the data is
            odd, or the model is one's own and has the name of one of era8's.
    """
    kinds = ("model", model, nn.Module), ("data", data, Data), ("recipe", recipe, Recipe)
    for name, value, kind in kinds:
        if not isinstance(value, kind):
            raise ValueError(f"{name} must be an instance of {kind.__name__}; got {show(value)}")
    data.check()
    held = len(data.val or ())
    check_size(model, recipe, len(data.train))
    given = {field.name: getattr(recipe, field.name) for field in fields(Recipe)}
    return Run(
        **given | _describe(model),
        train_images=len(data.train) + held,
        val_images=held,
        data=data.name,
    )


def check_size(model: nn.Module, recipe: Recipe, n_images: int) -> int:
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
            f"limit; got {n_parameters:,}"
        )
    if recipe.batch_size > n_images:
        raise ValueError(
            f"batch_size must be at most the {n_images} training images; got {recipe.batch_size}"
        )
    return n_parameters


def _describe(model: nn.Module) -> dict[str, Any]:
    """Return the settings of a run that its network knows."""
    model = unwrap(model)
    names: dict[type, str] = {network: name for name, network in MODELS.items()}
    kind = type(model)
    if kind not in names:
        names[kind] = f"{kind.__module__}:{kind.__name__}"
        check_name("model", names[kind], TAKEN)
    given: dict[str, Any] = {"model": names[kind]}
    missing = {"norm": "", "skip": False, "groups": USUAL["groups"], "init": "torch"}
    for name, other in missing.items():  # of one that is not era8's own, or has a layer there
        value = getattr(model, name, None)
        given[name] = value if type(value) is type(other) else other
    return given


def fingerprint(model: nn.Module, data: Data) -> dict[str, str]:
    """Return checksums of what a run is made from, by ``FINGERPRINTS``.

    That is the model's initialisation, the images, and the source of the classes of its layers
    that neither era8 nor torch has ("" if there are none).
    """
    model = unwrap(model)
    weights = zlib.crc32(repr(model).encode())
    for value in model.state_dict().values():
        weights = zlib.crc32(_bytes(value), weights)
    images = 0
    for split in filter(None, (data.train, data.val)):
        images = zlib.crc32(_bytes(split.labels), zlib.crc32(_bytes(split.images), images))
    return {
        "initialisation": f"{weights:08x}",
        "images": f"{images:08x}",
        "code": fingerprint_code(model),
    }


def fingerprint_code(model: nn.Module) -> str:
    """Return a checksum of the source of the classes of a model that are one's own, "" of none."""
    kinds = dict.fromkeys(kind for layer in model.modules() for kind in type(layer).__mro__)
    others = {"era8", "torch", *sys.stdlib_module_names}
    sources = [_source(kind) for kind in kinds if kind.__module__.split(".")[0] not in others]
    return hashlib.sha256("\n".join(sources).encode()).hexdigest()[:16] if sources else ""


@cache  # a file that is edited later is not what the class in memory does
def _source(kind: type) -> str:
    """Return the source of a class, or what is compiled of it where there is no file of it."""
    try:
        return inspect.getsource(kind)
    except (OSError, TypeError):
        own = {n: v for n, v in vars(kind).items() if n[:2] != "__" or inspect.isfunction(v)}
        return "\n".join(f"{name} {_content(value)}" for name, value in own.items())


def _content(value: Any) -> str:
    """Return what a function does or a constant is, "" of what is neither."""
    value = value.fget if isinstance(value, property) else getattr(value, "__func__", value)
    if inspect.isfunction(value):
        return f"{_content(value.__defaults__)}, {_content(value.__code__)}"
    if inspect.iscode(value):
        return f"{value.co_code!r} {value.co_names} {_content(value.co_consts)}"
    if isinstance(value, tuple):
        return f"({', '.join(map(_content, value))})"
    return repr(value) if isinstance(value, int | float | str) else ""


def _bytes(value: Any) -> bytes:
    if not isinstance(value, Tensor):  # what a get_extra_state returned
        return repr(value).encode()
    dense = value.detach().to_dense() if value.layout != torch.strided else value.detach()
    return dense.cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes()


def rename(name: str) -> str:
    """Return the name that a setting has today."""
    return FORMER.get(name, name)


def from_record(said: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a record on disk says in today's form.

    Older ones name a network by its class, count the images without those held out, and have
    neither ``val_images`` nor ``limits``; ``sums`` and ``files`` were the fingerprints and the
    SHA-256 of the files, among them one of the record itself.
    """
    new = {rename(name): value for name, value in said.items()}
    if "val_images" in new:
        return {name: new[name] for name in SETTINGS} | new
    classes = {network.__name__: name for name, network in MODELS.items()}
    held = 0 if new["test_accuracy"] is not None else sum(map(sum, new["confusion"]))
    new |= {
        "model": classes.get(new["model"], new["model"]),
        "train_images": new["train_images"] + held,
        "val_images": held,
        "limits": new["epochs"] < 20 and new["n_parameters"] < PARAMETER_LIMIT,
        "groups": new["groups"] if new["norm"] == "gn" else USUAL["groups"],
        "init": new.get("init", "torch"),
        "low_res_epochs": new.get("low_res_epochs", 0),
    }
    sums = new.pop("sums", {})
    new["fingerprints"] = {n.replace("first weights", FINGERPRINTS[0]): v for n, v in sums.items()}
    new["sha256"] = {n: v for n, v in new.pop("files", {}).items() if n != "record.json"}
    return {name: new[name] for name in SETTINGS} | new
