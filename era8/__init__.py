"""What normalisation and skip connections do to a small convolutional network."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from era8.data import load_cifar10, load_data
    from era8.models import Session8Net, make_model
    from era8.norms import make_norm
    from era8.recipe import FAST, Recipe
    from era8.tables import load_epochs, load_runs
    from era8.train import fit

_HOMES = {  # imported when first asked for: torch takes seconds, and --help needs none of it
    "FAST": "recipe",
    "Recipe": "recipe",
    "Session8Net": "models",
    "fit": "train",
    "load_cifar10": "data",
    "load_data": "data",
    "load_epochs": "tables",
    "load_runs": "tables",
    "make_model": "models",
    "make_norm": "norms",
}

__all__ = [
    "FAST",
    "Recipe",
    "Session8Net",
    "fit",
    "load_cifar10",
    "load_data",
    "load_epochs",
    "load_runs",
    "make_model",
    "make_norm",
]


def __getattr__(name: str) -> Any:
    """Return what the package offers under a name (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'era8' has no attribute {name!r}")
    return getattr(import_module(f"era8.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
