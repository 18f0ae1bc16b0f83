"""What normalisation and skip connections do to a small convolutional network."""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from era8.data import load_cifar10, load_data
    from era8.models import Session8Net, make_model
    from era8.norms import make_norm
    from era8.pretrained import load_pretrained
    from era8.recipe import FAST, Recipe
    from era8.tables import load_epochs, load_runs
    from era8.train import fit, fit_in, train_epoch

__version__ = "1.0.0"

# Threads of GNU's OpenMP that wait by spinning keep the cores from whatever else runs; read when
# torch is loaded, here and in the processes that are started from here.
if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & os.environ.keys():
    os.environ["GOMP_SPINCOUNT"] = "1000"

# Large pages of memory make a training step a few percent faster. glibc reads this when a process
# starts, so it holds for the kernels and the cells of a sweep, not here.
os.environ.setdefault("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1")

_HOMES = {  # imported when first asked for: torch takes seconds, and --help needs none of it
    "data": ("load_cifar10", "load_data"),
    "models": ("Session8Net", "make_model"),
    "norms": ("make_norm",),
    "pretrained": ("load_pretrained",),
    "recipe": ("FAST", "Recipe"),
    "tables": ("load_epochs", "load_runs"),
    "train": ("fit", "fit_in", "train_epoch"),
}
__all__ = sorted(name for names in _HOMES.values() for name in names)


def __getattr__(name: str) -> Any:
    """Return what the package offers under a name (PEP 562)."""
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"era8.{home}"), name)
    raise AttributeError(f"module 'era8' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
